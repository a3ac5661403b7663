import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { until } from '../e2e/clients.js';
import { Plane } from './plane.js';

/*
 * Rows that go from one partition to another while the backfill is between the two.
 *
 * What was broken on purpose, and how it failed:
 *
 * | broken                                                    | fails                                |
 * | --------------------------------------------------------- | ------------------------------------ |
 * | the guard leaves rows alone that come into a partition    | those that came into the filled one  |
 */

const ROWS = 60_000;
const ALTER = 'ALTER TABLE item ALTER COLUMN amount TYPE bigint';

t.test('rows that move to a partition that is filled, and back, are filled', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  await plane.query(`CREATE TABLE item (id int NOT NULL, side text NOT NULL, amount int NOT NULL,
      pad text NOT NULL DEFAULT repeat('x', 50)) PARTITION BY LIST (side);
    CREATE TABLE item_a PARTITION OF item FOR VALUES IN ('a');
    CREATE TABLE item_b PARTITION OF item FOR VALUES IN ('b');
    INSERT INTO item SELECT i, CASE WHEN i <= 500 THEN 'a' ELSE 'b' END, i
    FROM generate_series(1, ${ROWS}) i`);
  const one = async (sql: string) => Number(Object.values((await plane.query(sql))[0]!)[0]);
  const wrong = (table: string) =>
    one(`SELECT count(*) FROM ${table} WHERE _pgtandem_new_amount IS DISTINCT FROM amount`);
  // It stands still by itself when the second partition is filled in part.
  const query = 'SELECT count(*) FROM item_b WHERE _pgtandem_new_amount IS NOT NULL';
  await plane.start('m', ALTER, { chunkTargetMs: 1, maxWalRate: 1024 ** 2, query, queryMax: 100 });
  await until('it stands still in the second partition', async () => {
    const { progress } = await plane.reach(
      'm',
      'backfilling',
      'planned',
      'expanding',
      'dual-writing',
    );
    const { throttled } = (progress.backfill ?? {}) as { throttled?: { name: string } | null };
    return throttled?.name === 'query';
  });
  t.equal(await wrong('item_a'), 0, 'the first is filled');
  const left = await wrong('item_b');
  t.ok(left > 10_000 && left < ROWS - 600, `${left} of the second are not`);

  // From the one that is filled to before and behind the place where the fill stands in the other.
  const there = await plane.query(`UPDATE item SET side = 'b' WHERE id <= 100 RETURNING id`);
  // From there, of what is filled and of what is not.
  const back = await plane.query(`UPDATE item SET side = 'a'
    WHERE side = 'b' AND (id BETWEEN 501 AND 600 OR id > ${ROWS - 100}) RETURNING id`);
  t.same([there.length, back.length], [100, 200]);
  t.equal(await wrong('item_a'), 0, 'what came into the filled one is in order');
  t.equal(
    await wrong(`(SELECT * FROM item_b WHERE id <= 100) b`),
    0,
    'as is what came into the other',
  );
  // And there and back again, by one that is changed at the same time.
  await plane.query(`UPDATE item SET side = 'a', amount = -amount WHERE id = ${ROWS - 5_000}`);
  await plane.query(`UPDATE item SET side = 'b' WHERE id = ${ROWS - 5_000}`);
  t.equal(await wrong(`(SELECT * FROM item_b WHERE id = ${ROWS - 5_000}) b`), 0);

  await plane.query(`UPDATE pgtandem.migration
    SET settings = settings || '{"query": null, "maxWalRate": null}' WHERE name = 'm'`);
  const { progress } = await plane.reach('m', 'ready');
  t.equal(await wrong('item'), 0);
  t.equal(progress.disproved, undefined, 'the database found nothing to repair');
  t.equal(await one('SELECT count(*) FROM item'), ROWS);
  t.equal(await one(`SELECT count(*) FROM item WHERE side = 'a'`), 500 - 100 + 200);
});
