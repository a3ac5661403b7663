/**
 * Control connections to a server that hangs. What was broken to see this test fail: questions of the login have no
 * time limit; what the login has opened stays open; an end is waited for however long; a coordinator that connects
 * waits although its database has moved.
 */
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { installSchema } from '../../db/schema.js';
import { Metrics } from '../../metrics/registry.js';
import { Coordinator } from '../../migration/coordinator.js';
import { loadParser } from '../../sql/rewriter.js';
import { until } from '../backfill/setup.js';
import { Address } from '../proxy/address.js';
import { startMigration, untilMigration } from './drive.js';

let [here, there]: Cluster[] = [];
t.before(async () => {
  [here, there] = await Promise.all([Cluster.create(), Cluster.create()]);
});
t.teardown(() => Promise.all([here?.destroy(), there?.destroy()]));

async function addressOf(t: { teardown(fn: () => void): void }) {
  const address = await Address.open(here!.port);
  t.teardown(() => address.close());
  const url = here!.url().replace(`:${here!.port}/`, `:${address.port}/`);
  return { address, url };
}

/** Runs a coordinator; what it warns of is in the list. */
function coordinating(t: { teardown(fn: () => unknown): void }, url: string) {
  const warned: string[] = [];
  const log = {
    info: () => undefined,
    warn: (fields: Record<string, unknown>) => void warned.push(String(fields.error)),
    error: () => undefined,
  };
  const coordinator = new Coordinator({ url, metrics: new Metrics(), log });
  const stopping = new AbortController();
  const running = coordinator.run(stopping.signal);
  t.teardown(async () => {
    stopping.abort();
    await running;
  });
  return { coordinator, warned };
}

async function untilCoordinated(cluster: Cluster): Promise<void> {
  const client = await cluster.client();
  await until('the coordinator is there', async () => {
    const { rowCount } = await client.query(
      `SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'pgtandem coordinator'`,
    );
    return rowCount === 1;
  });
  await client.end();
}

t.test('one that hangs as soon as it has let us in is given up', async (t) => {
  const { address, url } = await addressOf(t);
  address.hangAfterLogin();
  await t.rejects(connect({ url, role: 'test', timeoutMs: 500 }), { message: /timeout/ });
  await until('nothing is open', () => address.open === 0);
});

t.test('one that hangs lets nobody wait for the end of a connection', async (t) => {
  const { address, url } = await addressOf(t);
  const connection = await connect({ url, role: 'test' });
  address.hang();
  await connection.end();
  await t.rejects(connection.query('SELECT 1'));
});

t.test('a coordinator that connects to it goes where its database is now', async (t) => {
  const { address, url } = await addressOf(t);
  address.hang();
  const { coordinator, warned } = coordinating(t, url);
  await until('it connects', () => address.open === 1);
  address.turn(there!.port);
  coordinator.moved();
  await untilCoordinated(there!);
  t.match(warned, [/the database is at another server now/]);
});

t.test('so does one with a migration under way', async (t) => {
  await loadParser();
  const { address, url } = await addressOf(t);
  const control = await here!.client();
  t.teardown(() => control.end());
  await installSchema(control);
  await control.query('CREATE TABLE t (id int PRIMARY KEY, n int)');
  const { coordinator } = coordinating(t, url);
  await startMigration(control, 'm', 'ALTER TABLE t ALTER COLUMN n TYPE bigint');
  await untilMigration(here!.url(), 'm', ({ phase }) => phase.name === 'ready');
  address.hang();
  address.turn(there!.port);
  coordinator.moved();
  await untilCoordinated(there!);
  t.pass();
});
