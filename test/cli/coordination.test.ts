import t from 'tap';
import { Coordination } from '../../cli/coordination.js';
import { Cluster } from '../../cli/demo/cluster.js';
import type { Numbers } from '../../metrics/aggregate.js';
import { loadParser } from '../../sql/rewriter.js';
import { Link } from '../backfill/link.js';
import { until } from '../e2e/clients.js';
import { startMigration, untilMigration } from '../migration/drive.js';

/*
 * The coordinators' thread, at real servers. What was broken to see this fail: `moved` not passed on,
 * `stray` not passed on or of another database, `resign` not passed on, its numbers left out, those of a thread that has ended
 * with gauges, or without the last of them.
 */

const phasesIn = (numbers: Numbers) => {
  const values = numbers.find(({ name }) => name === 'pgtandem_migration_phase')?.values ?? [];
  return values.filter(({ value }) => value === 1).map(({ labels }) => labels);
};

t.test('coordinators work in a thread, and tell of it', async (t) => {
  await loadParser();
  const [first, second] = await Promise.all([Cluster.create(), Cluster.create()]);
  t.teardown(() => Promise.all([first.destroy(), second.destroy()]));
  const link = await Link.open(first.port);
  t.teardown(() => link.close());
  const [here, there] = await Promise.all([first.client(), second.client()]);
  t.teardown(() => Promise.all([here.end(), there.end()]));
  await here.query('CREATE DATABASE other');
  await here.query('CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (n int)');
  await here.query('INSERT INTO a SELECT i, i FROM generate_series(1, 100) i');
  const coordinators = async (client: typeof here) => {
    const { rows } = await client.query(
      `SELECT datname FROM pg_stat_activity WHERE application_name = 'pgtandem coordinator'
       ORDER BY datname`,
    );
    return rows.map(({ datname }) => datname).join();
  };
  const linked = first.url('postgres').replace(`:${first.port}/`, `:${link.port}/`);
  const strays: number[] = [];
  const coordination = new Coordination(
    { urls: [first.url('other'), linked], logLevel: 'silent' },
    (database) => strays.push(database),
  );
  t.teardown(() => coordination.resign());
  await until('it has made its schema', async () => {
    const { rows } = await here.query("SELECT to_regclass('pgtandem.migration') AS made");
    return rows[0].made !== null && (await coordinators(here)) === 'other,postgres';
  });
  await startMigration(here, 'm', 'ALTER TABLE a ALTER COLUMN n TYPE bigint');
  await untilMigration(first.url(), 'm', ({ phase }) => phase.name === 'ready');
  let told: Numbers = [];
  await until('it tells of the phase', async () => {
    told = await coordination.numbers();
    return phasesIn(told).some(({ phase }) => phase === 'ready');
  });
  t.same(phasesIn(told), [{ migration: 'm', phase: 'ready' }]);
  const rowsOf = (numbers: Numbers) => {
    const values = numbers.find(({ name }) => name === 'pgtandem_backfill_rows_total')?.values;
    return values?.map(({ labels, value }) => `${labels.migration} ${value}`);
  };
  t.same(rowsOf(told), ['m 100']);
  t.notOk(
    told.some(({ name }) => name === 'pgtandem_client_connections'),
    'nothing of a relay',
  );

  link.to = second.port;
  await startMigration(here, 'n', 'ALTER TABLE b ALTER COLUMN n TYPE bigint');
  await until('a connection is found to lead elsewhere', () => strays.length > 0);
  t.same([...new Set(strays)], [1]);
  coordination.moved(1);
  await until('it is where the address leads', async () => {
    return (await coordinators(there)) === 'postgres' && (await coordinators(here)) === 'other';
  });
  t.same(phasesIn(await coordination.numbers()), [], 'nothing is under way there');

  // What it has done since it was asked last is in its last numbers.
  const other = await first.client('other');
  await other.query('CREATE TABLE c (id int PRIMARY KEY, n int)');
  await other.query('INSERT INTO c SELECT i, i FROM generate_series(1, 7) i');
  await startMigration(other, 'o', 'ALTER TABLE c ALTER COLUMN n TYPE bigint');
  await untilMigration(first.url('other'), 'o', ({ phase }) => phase.name === 'ready');
  await other.end();
  await coordination.resign();
  t.equal(await coordinators(here), '');
  t.equal(await coordinators(there), '');
  const last = await coordination.numbers();
  t.same(rowsOf(last)?.sort(), ['m 100', 'o 7'], 'what has grown stays');
  t.notOk(last.some(({ type }) => type === 'gauge'));
});
