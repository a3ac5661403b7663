import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { describeMigration } from '../../cli/print.js';
import { UserError } from '../../migration/errors.js';
import { requestMove } from '../../migration/request.js';
import { readHistory } from '../../migration/store.js';
import { verificationOf } from '../../migration/verification.js';
import { untilMigration } from './drive.js';
import { Plane } from './plane.js';

/**
 * Rows that disagree although nothing that writes by the rules can have written them: behind the
 * guard's back (its trigger off, its constraint gone), or because a function gives something else
 * than it did. They are found, counted, named, repaired, and no cutover is taken before.
 *
 * What was broken on purpose, and where it showed: the proof not withdrawn (they are found again and
 * again, and never repaired); the comparison of one range only (it pauses with the server's message).
 */

t.test('rows that disagree', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const lines: string[] = [];
  const note = (_: object, message: string) => lines.push(message);
  const plane = await Plane.open(cluster, 'postgres', { info: note, warn: note, error: note });
  t.teardown(() => plane.close());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const url = cluster.url();
  const wrongRows = async () => {
    const [row] = await plane.query(
      'SELECT count(*)::int AS n FROM orders WHERE _pgtandem_new_amount IS DISTINCT FROM amount + 0',
    );
    return row!.n;
  };
  /** Writes past proxy and guard, as a superuser who wants to can. */
  const behindTheGuard = async (sql: string) => {
    await client.query(`BEGIN;
      SET LOCAL session_replication_role = replica;
      ALTER TABLE orders DISABLE TRIGGER "~~pgtandem_guard";
      ALTER TABLE orders DROP CONSTRAINT IF EXISTS _pgtandem_proof_0;
      ${sql};
      ALTER TABLE orders ENABLE ALWAYS TRIGGER "~~pgtandem_guard";
      COMMIT`);
  };
  const made = async (name: string, up = '') => {
    await plane.query(`DROP TABLE IF EXISTS orders; CREATE TABLE orders
        (id int PRIMARY KEY, amount int, pad text DEFAULT repeat('x', 500));
      INSERT INTO orders SELECT i, i FROM generate_series(1, 20000) i`);
    await plane.start(name, `ALTER TABLE orders ALTER COLUMN amount TYPE bigint ${up}`, {
      verifyEveryMs: 0,
    });
    return plane.reach(name, 'ready');
  };

  t.test('are found before a cutover, and repaired; it is not taken before', async (t) => {
    const clean = await made('behind');
    t.match(verificationOf(clean), { disagreed: 0, repaired: 0, now: null });
    t.ok(Date.parse(verificationOf(clean).cleanAt!) > 0, 'the proof is a clean pass');
    const ids = '(7, 8000, 15001)';
    await behindTheGuard(`UPDATE orders SET _pgtandem_new_amount = -1 WHERE id IN ${ids}`);
    t.equal(await wrongRows(), 3);
    // A standby that is not there: no repair may be made yet.
    await plane.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
    await requestMove(plane.control, 'behind', 'cutover');
    const waitsFor = (reason: string) =>
      untilMigration(url, 'behind', (migration) => {
        const { now } = verificationOf(migration);
        return migration.phase.name === 'verifying' && now?.waiting?.name === reason;
      });
    const held = await waitsFor('standby-lost');
    await t.rejects(requestMove(plane.control, 'behind', 'cutover'), UserError);
    t.equal(verificationOf(held).now!.repaired, 0);
    t.equal(await wrongRows(), 3);
    // Then one of them is locked.
    await client.query('BEGIN; SELECT FROM orders WHERE id = 15001 FOR UPDATE');
    await plane.query(`DELETE FROM pgtandem.standby WHERE name = 'ghost'`);
    const locked = await waitsFor('lock-wait');
    await t.rejects(requestMove(plane.control, 'behind', 'cutover'), UserError);
    t.ok(await wrongRows(), 'where they lie decides which are repaired before it');
    t.match(
      describeMigration(locked, []),
      /\n {2}verify {4}\d\d%: \d[\d,]+ rows compared, \d disagreed, \d repaired: id \d.*; waiting: lock-wait: /,
    );
    await client.query('COMMIT');
    // The cutover that was asked for is taken as soon as every row agrees.
    const done = await plane.reach('behind', 'soaking');
    const { cleanAt, samples, ...found } = verificationOf(done);
    t.same(found, { disagreed: 3, repaired: 3, now: null });
    t.same([...samples].sort(), ['id 15001', 'id 7', 'id 8000']);
    t.ok(Date.parse(cleanAt!) > Date.parse(verificationOf(clean).cleanAt!));
    const [row] = await plane.query('SELECT count(*)::int AS n FROM orders WHERE amount = id');
    t.equal(row!.n, 20_000, 'nothing was lost');
    const status = describeMigration(done, await readHistory(plane.control, done.id));
    t.match(status, /\n {12}every row agreed at 20/);
    t.match(status, /3 rows disagreed, 3 were repaired: id \d+, id \d+, id \d+\n/);
    t.match(status, /verifying -> verifying \(disproved\): 100%: 20,000 rows compared, 3 disag/);
    t.match(lines.join('\n'), /^verification 100%: 20,000 rows compared, 3 disagreed, 3 rep/m);
    const text = await plane.metrics.expose();
    for (const [outcome, rows] of [
      ['disagreed', 3],
      ['repaired', 3],
      ['compared', 20_000],
    ] as const) {
      const labels = `migration="behind",outcome="${outcome}"`;
      t.ok(text.includes(`\npgtandem_verification_rows_total{${labels}} ${rows}\n`), outcome);
    }
    await plane.ask('behind', 'complete', 'completed');
  });

  t.test('are found again and again while the cutover waits', async (t) => {
    await plane.query(`CREATE FUNCTION twice(int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql
      AS 'BEGIN RETURN $1 * 2; END'`);
    const ready = await made(
      'later',
      'USING public.twice(amount); -- pgtandem: down((amount / 2)::int)',
    );
    // The constraint is valid, and not true any more: PostgreSQL does not look again.
    await plane.query(`CREATE OR REPLACE FUNCTION twice(int) RETURNS bigint IMMUTABLE
      LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN $1 < 6 THEN 0 ELSE $1 * 2 END; END'`);
    const every = (ms: number) =>
      plane.query(
        `UPDATE pgtandem.migration SET settings = settings || '{"verifyEveryMs": ${ms}}'
         WHERE name = 'later'`,
      );
    await every(1);
    const repaired = await untilMigration(url, 'later', (migration) => {
      const { repaired, cleanAt } = verificationOf(migration);
      return migration.phase.name === 'ready' && repaired > 0 && cleanAt !== null;
    });
    t.match(verificationOf(repaired), { disagreed: 5, repaired: 5, samples: ['id 1', 'id 2'] });
    const [row] = await plane.query(
      'SELECT count(*)::int AS n FROM orders WHERE _pgtandem_new_amount IS DISTINCT FROM twice(amount)',
    );
    t.equal(row!.n, 0);
    const { cleanAt } = verificationOf(repaired);
    await untilMigration(url, 'later', (migration) => {
      const { cleanAt: later } = verificationOf(migration);
      return later !== null && later !== cleanAt;
    });
    t.pass('and compared again when there is nothing to find');
    const history = await readHistory(plane.control, ready.id);
    t.same(
      history.filter(({ event }) => event === 'disproved').map(({ from, to }) => [from, to]),
      [
        ['ready', 'verifying'],
        ['verifying', 'verifying'],
      ],
    );
    await every(0);
    await plane.ask('later', 'abort', 'aborted');
  });

  t.test('no cutover is taken on a proof that was withdrawn', async (t) => {
    await made('withdrawn');
    // As after a crash between the two steps of the coordinator that found a row.
    await behindTheGuard(`UPDATE orders SET _pgtandem_new_amount = -1 WHERE id = 4;
      ALTER TABLE orders ADD CONSTRAINT _pgtandem_proof_0
        CHECK (_pgtandem_new_amount IS NOT DISTINCT FROM amount::bigint) NOT VALID`);
    await requestMove(plane.control, 'withdrawn', 'cutover');
    const done = await plane.reach('withdrawn', 'soaking');
    t.match(verificationOf(done), { disagreed: 1, repaired: 1, samples: ['id 4'] });
    await plane.ask('withdrawn', 'complete', 'completed');
  });
});
