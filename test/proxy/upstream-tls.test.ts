import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { reloadUpstream, upstreamOf } from '../../cli/upstream.js';
import { connect } from '../../db/connect.js';
import { dial } from '../../proxy/dial.js';
import { DEFAULT_LIMITS } from '../../proxy/limits.js';
import { makeCertificate } from './certificates.js';
import { front, RawClient, until } from './harness.js';
import { secureCluster } from './secure.js';
import { error, Q, startupPacket } from './wire.js';

t.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), 'pgtandem-tls-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const ca = makeCertificate({ name: 'test authority' });
const other = makeCertificate({ name: 'another authority' });
/** Good for the address alone: by the name `localhost` it is somebody else's. */
const server = makeCertificate({ name: 'server', hosts: ['127.0.0.1'], issuer: ca });
const client = makeCertificate({ name: 'postgres', issuer: ca });
const root = `sslrootcert=${file('ca.pem', ca.cert)}`;
const wrong = `sslrootcert=${file('other.pem', other.cert)}`;
const identity = `sslcert=${file('client.pem', client.cert)}&sslkey=${file('client.key', client.key)}`;

let cluster: Cluster;
let plain: Cluster;
t.before(async () => {
  [cluster, plain] = await Promise.all([Cluster.create(), Cluster.create({ major: 14 })]);
  await secureCluster(cluster, server, ca);
});
t.teardown(() => Promise.all([cluster.destroy(), plain.destroy()]));

const urlOf = (to: Cluster, query: string, host = '127.0.0.1') =>
  `postgres://postgres@${host}:${to.port}/postgres?${query}`;

/** What each leg comes to: `tls`, `plain` or `refused`. */
async function legs(url: string): Promise<{ relay: string; control: string }> {
  const relay = dial(upstreamOf(url), DEFAULT_LIMITS, AbortSignal.timeout(10_000)).then(
    (socket) => {
      socket.destroy();
      return 'encrypted' in socket ? 'tls' : 'plain';
    },
    () => 'refused',
  );
  const control = connect({ url, role: 'test' }).then(
    async (connection) => {
      const { rows } = await connection.query(
        'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
      );
      await connection.end();
      return rows[0].ssl ? 'tls' : 'plain';
    },
    () => 'refused',
  );
  return { relay: await relay, control: await control };
}

const CASES: [query: string, secured: string, without: string, byName?: string][] = [
  ['', 'tls', 'plain'],
  ['sslmode=disable', 'plain', 'plain'],
  ['sslmode=prefer', 'tls', 'plain'],
  ['sslmode=require', 'tls', 'refused'],
  [`sslmode=require&${root}`, 'tls', 'refused'],
  [`sslmode=require&${wrong}`, 'refused', 'refused'],
  [`sslmode=verify-ca&${root}`, 'tls', 'refused', 'tls'],
  [`sslmode=verify-ca&${wrong}`, 'refused', 'refused'],
  [`sslmode=verify-full&${root}`, 'tls', 'refused', 'refused'],
  [`sslmode=verify-full&${wrong}`, 'refused', 'refused'],
  ['sslmode=require&sslnegotiation=direct', 'tls', 'refused'],
  [`sslmode=require&${identity}`, 'tls', 'refused'],
];

t.test('sslmode means the same for the relay and for control', async (t) => {
  for (const [query, secured, without, byName] of CASES) {
    const both = (outcome: string) => ({ relay: outcome, control: outcome });
    t.same(await legs(urlOf(cluster, query)), both(secured), `${query}, server with TLS`);
    t.same(await legs(urlOf(plain, query)), both(without), `${query}, server without`);
    if (!byName) continue;
    t.same(await legs(urlOf(cluster, query, 'localhost')), both(byName), `${query}, by name`);
  }
});

t.test('parameters that cannot be followed are refused, with what to do', async (t) => {
  for (const [query, message] of [
    ['sslmode=allow', /sslmode=allow is not/],
    ['sslmode=verify-full', /needs the certificate authority/],
    ['sslmode=verify-ca&sslrootcert=system', /would trust/],
    ['sslnegotiation=direct', /cannot be done/],
    ['sslmode=require&sslcert=x', /belong together/],
    ['sslmode=verify-ca&sslrootcert=/nowhere.pem', /sslrootcert cannot be read.*nowhere/],
    [`sslmode=require&sslcert=${join(folder, 'ca.pem')}&sslkey=${join(folder, 'client.key')}`, /./],
  ] as const) {
    const url = `postgres://postgres@127.0.0.1/postgres?${query}`;
    t.throws(() => upstreamOf(url), { name: 'UserError', message, hint: /./ }, query);
  }
  t.same(upstreamOf('postgres://u@h/d?sslmode=disable'), { host: 'h', port: 5432 });
  t.same(upstreamOf('postgres:///d?host=/run/pg&sslmode=require'), {
    path: '/run/pg/.s.PGSQL.5432',
  });
});

t.test('sessions and cancels go through TLS above', async (t) => {
  const upstream = upstreamOf(urlOf(cluster, `sslmode=verify-full&${root}&${identity}`));
  const b = await front(t, cluster, {}, { upstream });
  const driver = new pg.Client({ connectionString: b.url() });
  await driver.connect();
  const seen = await driver.query(
    'SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
  );
  t.same(seen.rows, [{ ssl: true, client_dn: '/CN=postgres' }]);
  const text = `SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, 20000)`;
  t.same((await driver.query(text)).rows, [{ length: 20_000_000 }]);
  const big = await driver.query('SELECT repeat($1, 20000000) AS big', ['z']);
  t.equal(big.rows[0].big.length, 20_000_000);
  const sleeping = driver.query('SELECT pg_sleep(60)');
  const { processID, secretKey } = driver as unknown as { processID: number; secretKey: number };
  const control = await cluster.client();
  await until('it sleeps', async () => {
    const { rows } = await control.query(
      `SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND pid = ${processID}`,
    );
    return rows.length === 1;
  });
  const packet = Buffer.alloc(16);
  for (const [i, word] of [16, 80877102, processID, secretKey].entries()) {
    packet.writeInt32BE(word, 4 * i);
  }
  const canceller = await RawClient.open(b.port);
  canceller.send(packet);
  await t.rejects(sleeping, { code: '57014' });
  canceller.destroy();
  const polite = await RawClient.login(b.port);
  polite.send(Q("SELECT repeat('y', 1000) FROM generate_series(1, 3000)"));
  polite.socket.end();
  t.equal((await polite.end()).at(-1)?.type, 'Z', 'half-closed through TLS');
  await driver.end();
  await control.end();
  t.same(b.errors, []);
});

t.test('a server that cannot be trusted: the client is told, the log knows why', async (t) => {
  const upstream = upstreamOf(urlOf(cluster, `sslmode=verify-ca&${wrong}`));
  const b = await front(t, cluster, {}, { upstream });
  const refused = await RawClient.open(b.port);
  refused.send(startupPacket({ user: 'postgres', database: 'postgres' }));
  const [fatal] = await refused.end();
  t.match(error(fatal!), { code: '08006', message: /could not connect to the PostgreSQL server/ });
  t.match(b.errors.at(-1), /127\.0\.0\.1:\d+: .*certificate/);
  file('other.pem', ca.cert);
  reloadUpstream(upstream, urlOf(cluster, `sslmode=verify-ca&${wrong}`));
  (await RawClient.login(b.port)).destroy();
  file('other.pem', 'broken');
  const again = () => reloadUpstream(upstream, urlOf(cluster, `sslmode=verify-ca&${wrong}`));
  t.throws(again, { name: 'UserError', message: /other\.pem/ });
  (await RawClient.login(b.port)).destroy();
});

/** A server that answers the request for TLS with these bytes. */
async function answering(t: { teardown(fn: () => unknown): void }, bytes: Buffer): Promise<number> {
  const open = new Set<Socket>();
  const fake = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write(bytes));
  });
  await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    fake.close();
  });
  return (fake.address() as { port: number }).port;
}

t.test('answers to the request that are not to be taken', async (t) => {
  const attempt = async (bytes: Buffer, mode: string, host = '127.0.0.1') => {
    const port = await answering(t, bytes);
    const url = `postgres://postgres@${host}:${port}/postgres?sslmode=${mode}`;
    const socket = await dial(upstreamOf(url), DEFAULT_LIMITS, AbortSignal.timeout(10_000));
    socket.destroy();
  };
  await t.rejects(attempt(Buffer.from('SE\0\0'), 'require'), /did not understand/, 'more than S');
  await t.rejects(attempt(Buffer.from('Nx'), 'prefer'), /did not understand/, 'more than N');
  await t.rejects(attempt(Buffer.from('E\0\0\0\x05\0'), 'prefer'), /did not understand/);
  await t.rejects(
    attempt(Buffer.from('N'), 'require'),
    /does not support TLS, and sslmode=require/,
  );
  await attempt(Buffer.from('N'), 'prefer');
});

t.test('the server is told its name, if it has one and sslsni is not 0', async (t) => {
  const names: (string | false | null)[] = [];
  const secured = createTlsServer({
    cert: server.cert,
    key: server.key,
    ALPNProtocols: ['postgresql'],
  });
  secured.on('secureConnection', (socket) => {
    names.push(socket.servername);
    socket.on('error', () => undefined);
    socket.resume();
  });
  const fake = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.pause();
      socket.write('S');
      secured.emit('connection', socket);
    });
  });
  await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
  t.teardown(() => fake.close());
  const { port } = fake.address() as { port: number };
  for (const [host, query] of [
    ['localhost', ''],
    ['localhost', '&sslsni=0'],
    ['127.0.0.1', ''],
  ]) {
    const url = `postgres://postgres@${host}:${port}/postgres?sslmode=require${query}`;
    const { length } = names;
    const socket = await dial(upstreamOf(url), DEFAULT_LIMITS, AbortSignal.timeout(10_000));
    await until('the server has heard', () => names.length > length);
    socket.destroy();
  }
  t.same(names, ['localhost', false, false]);
});

t.test('giving up in the middle of a handshake leaves nothing', async (t) => {
  const port = await answering(t, Buffer.from('S'));
  const upstream = upstreamOf(`postgres://postgres@127.0.0.1:${port}/postgres?sslmode=require`);
  await t.rejects(
    dial(upstream, { ...DEFAULT_LIMITS, connectTimeoutMs: 100 }, new AbortController().signal),
    /timed out/,
  );
  const abort = new AbortController();
  const calling = dial(upstream, DEFAULT_LIMITS, abort.signal);
  abort.abort();
  await t.rejects(calling, /given up/);
  const probe = netConnect(port, '127.0.0.1');
  probe.destroy();
});
