/**
 * Lists of hosts, and addresses, in bad times: TLS with names that have to be right, hosts that
 * accept and say nothing, that do not accept, and that hang while they are used.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                         | fails              |
 * | ---------------------------------------------- | ------------------ |
 * | connect: a look at a host may take ten minutes | say nothing; hangs |
 * | follower: a renewal may take for ever          | hangs              |
 * | ssl: the name is not looked at                 | verify-full        |
 * | follower: no process is missing                | live on            |
 * | target: it is not told when a server started   | live on            |
 * | target: the coordinator is not told            | live on            |
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import t, { type Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect } from '../../db/connect.js';
import { requestMove } from '../../migration/request.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration, untilMigration } from '../migration/drive.js';
import { Address } from '../proxy/address.js';
import { makeCertificate } from '../proxy/certificates.js';
import { secureCluster } from '../proxy/secure.js';
import { guest, until } from './clients.js';

t.setTimeout(180_000);
t.jobs = 2;

const folder = mkdtempSync(join(tmpdir(), 'pgtandem-hosts-'));
t.teardown(() => rmSync(folder, { recursive: true }));

async function pair(t: Test): Promise<{ primary: Cluster; standby: () => Promise<Cluster> }> {
  const primary = await Cluster.create();
  t.teardown(() => primary.destroy());
  const standby = async () => {
    const made = await primary.standby('s1');
    t.teardown(() => made.destroy());
    return made;
  };
  return { primary, standby };
}

async function start(t: Test, url: string): Promise<ProxyProcess> {
  const proxy = await ProxyProcess.start(url);
  t.teardown(() => proxy.end('SIGKILL'));
  return proxy;
}

/** Where a new session gets; null: nowhere. */
async function where(proxy: ProxyProcess): Promise<{ port: number; ssl: boolean } | null> {
  const client = new pg.Client({ connectionString: proxy.url() });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const sql = `SELECT current_setting('port')::int AS port, ssl
      FROM pg_stat_ssl WHERE pid = pg_backend_pid()`;
    return (await client.query(sql)).rows[0];
  } catch {
    return null;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Whether a query has one row there. */
async function holds(cluster: Cluster, sql: string): Promise<boolean> {
  const client = await cluster.client();
  const { rowCount } = await client.query(sql);
  await client.end();
  return rowCount === 1;
}

const registered = (cluster: Cluster) =>
  holds(cluster, 'SELECT FROM pgtandem.proxy WHERE lease_until > clock_timestamp()');

/** Whether the coordinator has its lock there. */
const coordinated = (cluster: Cluster) =>
  holds(
    cluster,
    `SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'pgtandem coordinator'`,
  );

async function promote(standby: Cluster): Promise<void> {
  const client = await standby.client();
  const { rows } = await client.query('SELECT pg_promote() AS done');
  await client.end();
  if (!rows[0].done) throw new Error('the standby was not promoted in time');
}

t.test('verify-full with a list: whose name is right is used, and followed', async (t) => {
  const { primary, standby: makeStandby } = await pair(t);
  const ca = makeCertificate({ name: 'test authority' });
  await secureCluster(primary, makeCertificate({ name: 's', hosts: ['localhost'], issuer: ca }));
  const standby = await makeStandby();
  const root = join(folder, 'ca.pem');
  writeFileSync(root, ca.cert);
  const tls = `sslmode=verify-full&sslrootcert=${root}&target_session_attrs=read-write`;
  const list = (...hosts: string[]) => `postgres://postgres@${hosts.join()}/postgres?${tls}`;
  const names = [`localhost:${standby.port}`, `localhost:${primary.port}`];
  await t.rejects(
    connect({ url: list(`127.0.0.1:${primary.port}`, names[0]!), role: 'test' }),
    { message: /no host is read-write: 127\.0\.0\.1:\d+: .*does not match/ },
    'the primary, by a name that is not its own, and a standby',
  );
  const proxy = await start(t, list(...names, `127.0.0.1:${primary.port}`));
  t.same(await where(proxy), { port: primary.port, ssl: true });
  const old = await guest(proxy.url());
  await primary.end('SIGQUIT');
  await promote(standby);
  await old.ended;
  await until('the promoted one is followed', async () => {
    return (await where(proxy))?.port === standby.port;
  });
  t.same(await where(proxy), { port: standby.port, ssl: true });
});

/** A port whose queue of connections is full: a process listens, and sleeps. */
async function full(t: Test): Promise<number> {
  const program = `const s = require('net').createServer().listen(
    { port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      require('fs').writeSync(1, String(s.address().port));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    })`;
  const child: ChildProcess = spawn(process.execPath, ['-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [text] = await once(child.stdout!, 'data');
  const port = Number(text);
  let waiting = false;
  for (let i = 0; !waiting; i++) {
    if (i > 20) throw new Error('the queue does not fill');
    const socket = netConnect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
    const connected = once(socket, 'connect').then(() => false);
    const late = new Promise<boolean>((resolve) => setTimeout(resolve, 500, true));
    waiting = await Promise.race([connected, late]);
  }
  return port;
}

t.test('hosts that accept and say nothing, or do not accept, are no obstacle', async (t) => {
  const { primary } = await pair(t);
  const mute = await Address.open(primary.port);
  t.teardown(() => mute.close());
  mute.hang();
  const deaf = await full(t);
  const hosts = [mute.port, deaf, primary.port].map((port) => `127.0.0.1:${port}`).join();
  const proxy = await start(t, `postgres://postgres@${hosts}/postgres`);
  t.same(await where(proxy), { port: primary.port, ssl: false });
  const looked = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'pgtandem survey'`;
  const control = await primary.client();
  await until('all hosts have been looked at', async () => {
    return ((await control.query(looked)).rowCount ?? 0) > 0;
  });
  t.same(await where(proxy), { port: primary.port, ssl: false });
  t.equal((await proxy.health()).lease, 'held');
  await control.end();
});

t.test('a primary that hangs while it is used, and a standby that is promoted', async (t) => {
  const { primary, standby: makeStandby } = await pair(t);
  const standby = await makeStandby();
  const address = await Address.open(primary.port);
  t.teardown(() => address.close());
  const hosts = [address.port, standby.port].map((port) => `127.0.0.1:${port}`).join();
  const proxy = await start(t, `postgres://postgres@${hosts}/postgres`);
  t.equal((await where(proxy))?.port, primary.port);
  const old = await guest(proxy.url());
  address.hang();
  await promote(standby);
  t.match(await old.ended, { code: '57P01' }, 'whoever is at the old one is ended');
  await until('the promoted one is followed', async () => {
    return (await where(proxy))?.port === standby.port;
  });
  address.lead(primary.port);
  await until('the coordinator is there', () => coordinated(standby));
  await until('two primaries are seen', async () => {
    return (await proxy.metric('pgtandem_errors_total', { kind: 'split-brain' })) > 0;
  });
  t.equal((await where(proxy))?.port, standby.port, 'it is stayed with');
});

t.test('an address that moves: a promoted standby is behind it', async (t) => {
  const { primary, standby: makeStandby } = await pair(t);
  const standby = await makeStandby();
  const address = await Address.open(primary.port);
  t.teardown(() => address.close());
  const proxy = await start(t, `postgres://postgres@127.0.0.1:${address.port}/postgres`);
  const old = await guest(proxy.url());
  await promote(standby);
  address.lead(standby.port);
  await old.ended;
  await until('its lease is there', () => registered(standby));
  t.same(await where(proxy), { port: standby.port, ssl: false });
  t.equal((await proxy.health()).lease, 'held');
});

t.test('an address that moves, and the connections that there are live on', async (t) => {
  const { primary, standby: makeStandby } = await pair(t);
  const standby = await makeStandby();
  const address = await Address.open(primary.port);
  t.teardown(() => address.close());
  const proxy = await start(t, `postgres://postgres@127.0.0.1:${address.port}/postgres`);
  await until('the coordinator is there', () => coordinated(primary));
  await loadParser();
  const control = await connect({ url: primary.url(), role: 'test' });
  await control.query('CREATE TABLE moving (id int PRIMARY KEY, n int)');
  await startMigration(control, 'm', 'ALTER TABLE moving ALTER COLUMN n TYPE bigint');
  await untilMigration(primary.url(), 'm', ({ phase }) => phase.name === 'ready');
  await control.end();
  const ready = `SELECT FROM pgtandem.migration WHERE phase ->> 'name' = 'ready'`;
  await until('the standby has it', () => holds(standby, ready));
  const old = await guest(proxy.url());
  await promote(standby);
  address.turn(standby.port);
  const stranger = await guest(proxy.url());
  const write = 'INSERT INTO moving VALUES (1, 1)';
  await t.rejects(
    stranger.client.query(write),
    { code: '57P01' },
    'nobody writes to it where the lease is not',
  );
  await stranger.ended;
  t.match(await old.ended, { code: '57P01' }, 'and then who is at the old one');
  t.same(await where(proxy), { port: standby.port, ssl: false });
  t.ok(await registered(standby), 'where sessions are, the lease is');
  await until('the coordinator is there', () => coordinated(standby));
  await until('nothing of the proxy is at the old one', () =>
    holds(
      primary,
      `SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name ~ 'pgtandem')`,
    ),
  );
  t.equal((await proxy.health()).lease, 'held');
  const client = new pg.Client({ connectionString: proxy.url() });
  await client.connect();
  await client.query(write);
  const there = await connect({ url: standby.url(), role: 'test' });
  await requestMove(there, 'm', 'cutover');
  await untilMigration(standby.url(), 'm', ({ phase }) => phase.name === 'soaking');
  await client.query('UPDATE moving SET n = 5000000000');
  t.same((await client.query('SELECT * FROM moving')).rows, [{ id: 1, n: '5000000000' }]);
  await client.end();
  await there.end();
});
