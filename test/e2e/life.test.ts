import pg from 'pg';
import t, { type Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration, untilMigration } from '../migration/drive.js';
import { RawClient } from '../proxy/harness.js';
import { brief, Q, startupPacket } from '../proxy/wire.js';
import { guest, hammer, until } from './clients.js';

t.setTimeout(120_000);

let cluster: Cluster;
t.before(async () => {
  cluster = await Cluster.create();
});
t.teardown(() => cluster.destroy());

const LOGIN = startupPacket({ user: 'postgres', database: 'postgres' });

async function start(t: Test, options: string[], upstream = cluster.url(), listen?: string) {
  const proxy = await ProxyProcess.start(upstream, listen, options);
  t.teardown(() => proxy.end('SIGKILL'));
  return proxy;
}

const portOf = (proxy: ProxyProcess) => Number(proxy.address.split(':').at(-1));

/** What a server says until it closes, when a client sends this and no more. */
async function silence(port: number, bytes: Buffer): Promise<string> {
  const client = await RawClient.open(port);
  if (bytes.length > 0) client.send(bytes);
  const said = brief(await client.end());
  client.destroy();
  return said;
}

t.test('SIGTERM: new clients refused, idle ones ended, running ones finish', async (t) => {
  const proxy = await start(t, ['--grace', '10s', '--workers', '2']);
  const [idle, busy, open] = [
    await guest(proxy.url()),
    await guest(proxy.url(), 'busy'),
    await guest(proxy.url()),
  ];
  await open.client.query('BEGIN');
  const asked = busy.client.query('SELECT pg_sleep(1), 1 AS one');
  proxy.signal('SIGTERM');
  t.match(await idle.ended, { code: '57P01' });
  await t.rejects(RawClient.open(portOf(proxy)), { code: 'ECONNREFUSED' });
  t.equal((await fetch(`${proxy.metricsUrl}/readyz`)).status, 503);
  t.match((await asked).rows, [{ one: 1 }], 'what ran has finished');
  t.match(await busy.ended, { code: '57P01' });
  t.same((await open.client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  await open.client.query('COMMIT');
  t.match(await open.ended, { code: '57P01' });
  t.equal(await proxy.ended(), 0);
});

t.test('at the end of the grace what still runs is ended; a second signal waits not', async (t) => {
  const limited = await start(t, ['--grace', '300ms']);
  const stuck = await guest(limited.url());
  await stuck.client.query('BEGIN');
  limited.signal('SIGTERM');
  t.match(await stuck.ended, { code: '57P01' });
  t.equal(await limited.ended(), 0);
  const patient = await start(t, ['--grace', '1h']);
  const cut = await guest(patient.url());
  await cut.client.query('BEGIN');
  patient.signal('SIGTERM');
  await until('nobody gets in', () =>
    RawClient.open(portOf(patient)).then(
      () => false,
      () => true,
    ),
  );
  t.notOk(cut.gone());
  patient.signal('SIGTERM');
  await cut.ended;
  t.equal(await patient.ended(), 1);
});

t.test('the limit on connections is of all workers, in the words of the server', async (t) => {
  const proxy = await start(t, ['--workers', '2', '--max-connections', '3']);
  const guests = [];
  for (let i = 0; i < 3; i++) guests.push(await guest(proxy.url()));
  const refused = new pg.Client({ connectionString: proxy.url() });
  await t.rejects(refused.connect(), {
    severity: 'FATAL',
    code: '53300',
    message: 'sorry, too many clients already',
  });
  const slow = guests[0]!.client;
  const { processID, secretKey } = slow as pg.Client & { processID: number; secretKey: number };
  const cancelled = t.rejects(slow.query('SELECT pg_sleep(60)'), { code: '57014' });
  const running = guests[1]!.client;
  await until('it runs', async () => {
    const sql = `SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'`;
    return (await running.query(sql, [processID])).rowCount === 1;
  });
  const packet = Buffer.alloc(16);
  [16, 80877102, processID, secretKey].forEach((word, i) => {
    packet.writeInt32BE(word, 4 * i);
  });
  t.equal(await silence(portOf(proxy), packet), '', 'a cancel gets through');
  await cancelled;
  await guests[2]!.client.end();
  await until('there is room again', async () => {
    const client = new pg.Client({ connectionString: proxy.url() });
    const there = await client.connect().then(
      () => true,
      () => false,
    );
    await client.end().catch(() => undefined);
    return there;
  });
  for (const { client } of guests.slice(0, 2)) await client.end();
});

t.test('silent and idle clients are ended as the server would end them', async (t) => {
  const server = await Cluster.create({
    settings: { authentication_timeout: '1s', idle_session_timeout: '700ms' },
    hba: 'host all slow 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n',
  });
  t.teardown(() => server.destroy());
  const observe = async (port: number, url: string) => {
    const asked = startupPacket({ user: 'slow', database: 'postgres' });
    const begun = async () => {
      const client = await RawClient.login(port);
      client.send(Q('SELECT 1').subarray(0, 9));
      const said = brief(await client.end());
      client.destroy();
      return said;
    };
    const [nothing, half, password, part, idle] = await Promise.all([
      silence(port, Buffer.alloc(0)),
      silence(port, LOGIN.subarray(0, 9)),
      silence(port, asked),
      begun(),
      guest(url).then(({ ended }) => ended),
    ]);
    const { code, message, severity } = idle as Error & pg.DatabaseError;
    return { said: [nothing, half, password, part], idle: { code, message, severity } };
  };
  const direct = await observe(server.port, server.url());
  const control = await server.client();
  control.on('error', () => undefined);
  await control.query(`SET idle_session_timeout = 0`);
  await control.query(`ALTER SYSTEM SET authentication_timeout = '1min'`);
  await control.query(`ALTER SYSTEM SET idle_session_timeout = 0`);
  await control.query('SELECT pg_reload_conf()');
  await control.end();
  const options = ['--login-timeout', '1s', '--idle-timeout', '700ms'];
  const proxy = await start(t, options, server.url());
  const through = await observe(portOf(proxy), proxy.url());
  t.same(through, direct);
  t.same(direct.idle.code, '57P05', JSON.stringify(direct));
  const used = await guest(proxy.url());
  for (let i = 0; i < 6; i++) await used.client.query('SELECT pg_sleep(0.25)');
  t.notOk(used.gone(), 'a session that is used is not idle');
  await used.client.query('BEGIN');
  await until('an idle one is ended meanwhile', async () => {
    const { ended } = await guest(proxy.url());
    return ((await ended) as pg.DatabaseError).code === '57P05';
  });
  t.notOk(used.gone(), 'nor is one within a transaction');
  await used.client.query('COMMIT');
  t.match(await used.ended, { code: '57P05' });
});

t.test('the database goes away and comes back', async (t) => {
  const server = await Cluster.create();
  t.teardown(() => server.destroy());
  const parser = loadParser();
  const control = await server.client();
  await control.query('CREATE TABLE orders (id serial PRIMARY KEY, n int)');
  await control.query('INSERT INTO orders (n) SELECT generate_series(1, 1000)');
  await control.end();
  const proxy = await start(t, ['--workers', '2'], server.url());
  const load = hammer(proxy.url(), 4);
  await load.more(50);
  for (const migration of [false, true]) {
    const witnesses = await Promise.all([1, 2, 3].map(() => guest(proxy.url())));
    t.comment(migration ? 'with a migration' : 'without one');
    load.failed.clear();
    const stopped = server.end('SIGQUIT');
    await Promise.all([stopped, ...witnesses.map(({ ended }) => ended)]);
    // A backend that is killed right after does not always get to say it.
    const heard = witnesses.map(({ notices }) => notices).filter(({ length }) => length > 0);
    const message = 'terminating connection due to immediate shutdown command';
    t.ok(heard.length > 0, 'the last words of the server are passed on');
    for (const notices of heard) t.same(notices, [{ code: '57P01', message }]);
    const refused = new pg.Client({ connectionString: proxy.url() });
    await t.rejects(refused.connect(), { code: '08006' });
    await server.start();
    await load.more(50);
    const unexpected = [...load.failed.keys()].filter(
      (what) => !/^(57P0[123]|08006|ECONNRESET|undefined: Connection terminated)/.test(what),
    );
    t.same(unexpected, [], [...load.failed.keys()].join('; '));
    await until('the lease is held', async () => (await proxy.health()).lease === 'held');
    if (migration) break;
    await parser;
    const held = await server.client();
    await held.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
    await startMigration(held, 'm', 'ALTER TABLE orders ALTER COLUMN n TYPE bigint');
    await held.end();
    await untilMigration(server.url(), 'm', ({ phase }) => phase.name === 'backfilling');
  }
  const release = await server.client();
  await release.query('DELETE FROM pgtandem.standby');
  await release.end();
  await untilMigration(server.url(), 'm', ({ phase }) => phase.name === 'ready');
  await load.stop();
  const { client } = await guest(proxy.url());
  await client.query('UPDATE orders SET n = n + 1 WHERE id = 1');
  const after = await server.client();
  const { rows } = await after.query('SELECT _pgtandem_new_n::int AS n FROM orders WHERE id = 1');
  t.same(rows, [{ n: 2 }], 'the rules are in force, and the coordinator went on');
  await after.end();
  await client.end();
});
