import { createServer, connect as netConnect, type Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import type { ClientTls } from '../../proxy/tls.js';
import { makeCertificate, type TestCertificate } from './certificates.js';
import { type Bench, front, RawClient, until } from './harness.js';
import {
  brief,
  copyData,
  copyDone,
  error,
  GSS_REQUEST,
  Q,
  SSL_REQUEST,
  startupPacket,
} from './wire.js';

t.setTimeout(120_000);

const ca = makeCertificate({ name: 'test authority' });
const own = makeCertificate({ name: 'proxy', hosts: ['localhost', '127.0.0.1'], issuer: ca });
const settings: ClientTls = {
  cert: own.cert + ca.cert,
  key: own.key,
  clientCert: 'none',
  required: false,
};
const LOGIN = startupPacket({ user: 'postgres', database: 'postgres' });

/** Shakes hands on a connection that is there, and checks whose it is. */
function shake(socket: Socket, more: object = {}): Promise<TLSSocket> {
  const options = { socket, host: 'localhost', ca: ca.cert, highWaterMark: 65_536, ...more };
  const secured = tlsConnect(options);
  return new Promise((resolve, reject) => {
    secured.once('secureConnect', () => resolve(secured));
    secured.once('error', reject);
    secured.once('close', () => reject(new Error('closed')));
  });
}

function open(port: number): Promise<Socket> {
  const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Asks for TLS as drivers do. */
async function ask(port: number, more: object = {}): Promise<TLSSocket> {
  const socket = await open(port);
  socket.write(SSL_REQUEST);
  const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  t.equal(answer.toString(), 'S');
  socket.pause();
  return shake(socket, more);
}

async function login(b: Bench, more: object = {}): Promise<RawClient> {
  const client = RawClient.through(await ask(b.port, more));
  client.send(LOGIN);
  await client.ready();
  return client;
}

let cluster: Cluster;
t.before(async () => {
  cluster = await Cluster.create();
});
t.teardown(() => cluster.destroy());
const served = (t: { teardown(fn: () => unknown): void }, more: Partial<ClientTls> = {}) =>
  front(t, cluster, {}, { tls: { ...settings, ...more } });

t.test('drivers work through TLS, and a cancel gets through', async (t) => {
  const b = await served(t);
  const ssl = { ca: ca.cert };
  const client = new pg.Client({ host: 'localhost', port: b.port, user: 'postgres', ssl });
  await client.connect();
  t.same((await client.query('SELECT $1::int + 1 AS n', [41])).rows, [{ n: 42 }]);
  await t.rejects(client.query('SELECT * FROM nowhere'), { code: '42P01', position: '15' });
  const sleeping = client.query('SELECT pg_sleep(60)');
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const packet = Buffer.alloc(16);
  for (const [i, word] of [16, 80877102, processID, secretKey].entries()) {
    packet.writeInt32BE(word, 4 * i);
  }
  await until('it sleeps', async () => {
    const control = await cluster.client();
    const { rows } = await control.query(
      `SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND pid = ${processID}`,
    );
    await control.end();
    return rows.length === 1;
  });
  const canceller = RawClient.through(await ask(b.port));
  canceller.send(packet);
  await t.rejects(sleeping, { code: '57014' });
  t.same(await canceller.end(), [], 'closed when it was done');
  await client.end();
  t.same(b.errors, []);
});

t.test('large COPY both ways, records of at most 8 KiB', async (t) => {
  const b = await served(t);
  // A wire tap between: it sees the records that the proxy writes.
  let longest = 0;
  const tap = createServer((left) => {
    const right = netConnect(b.port, '127.0.0.1');
    let bytes = Buffer.alloc(0);
    let answered = false;
    right.on('data', (chunk) => {
      left.write(chunk);
      bytes = Buffer.concat([bytes, answered ? chunk : chunk.subarray(1)]);
      answered = true;
      while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt16BE(3)) {
        longest = Math.max(longest, bytes.readUInt16BE(3));
        bytes = bytes.subarray(5 + bytes.readUInt16BE(3));
      }
    });
    left.pipe(right);
    right.on('end', () => left.end());
    for (const socket of [left, right]) socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => tap.listen(0, '127.0.0.1', resolve));
  t.teardown(() => tap.close());
  const { port } = tap.address() as { port: number };
  const client = RawClient.through(await ask(port));
  client.send(LOGIN);
  await client.ready();
  client.send(Q('CREATE TABLE lines (line text); COPY lines FROM STDIN'));
  await client.wait(() => client.messages.some((m) => m.type === 'G'));
  const line = `${'0123456789'.repeat(200)}\n`;
  for (let i = 0; i < 100; i++) client.send(...Array(100).fill(copyData(line)));
  client.send(copyDone);
  t.match(brief(await client.ready()), /C:COPY 10000 Z:I$/);
  client.send(Q('COPY lines TO STDOUT'));
  const out = await client.ready();
  const copied = out.filter((m) => m.type === 'd');
  t.equal(copied.length, 10_000);
  t.ok(copied.every(({ body }) => body.toString() === line));
  t.ok(longest > 8000 && longest <= 8192 + 64, `longest record ${longest}`);
  client.destroy();
});

t.test('a slow reader of a large result does not grow memory', async (t) => {
  const b = await served(t);
  const client = await login(b);
  client.socket.pause();
  const before = process.memoryUsage().rss;
  client.send(Q("SELECT repeat('x', 100000) FROM generate_series(1, 2000)"));
  await until('the server waits for the client', async () => {
    const control = await cluster.client();
    const { rows } = await control.query(
      "SELECT FROM pg_stat_activity WHERE wait_event = 'ClientWrite'",
    );
    await control.end();
    return rows.length === 1;
  });
  const grown = process.memoryUsage().rss - before;
  t.ok(grown < 60_000_000, `${grown} bytes`);
  client.socket.resume();
  await client.wait(() => client.messages.some((m) => m.type === 'Z'), 30_000);
  t.equal(client.messages.filter((m) => m.type === 'D').length, 2000);
  client.destroy();
});

t.test('a client that has said its last is still answered; one that goes is gone', async (t) => {
  const b = await served(t);
  const client = await login(b);
  client.send(Q("SELECT repeat('y', 1000) FROM generate_series(1, 3000)"));
  client.socket.end();
  const said = await client.end();
  t.equal(said.filter((m) => m.type === 'D').length, 3000);
  t.equal(said.at(-1)?.type, 'Z');
  const gone = await login(b);
  gone.send(Q('SELECT pg_sleep(0.2)'));
  gone.destroy();
  await until('no session is left', () => b.proxy.stats().connections === 0);
  t.same(b.errors, []);
});

t.test('requests for encryption: what is refused', async (t) => {
  const b = await served(t);
  const injected = await RawClient.open(b.port);
  injected.send(SSL_REQUEST, LOGIN);
  t.equal(brief(await injected.end()), 'E:08P01', 'bytes behind the request');
  for (const again of [SSL_REQUEST, GSS_REQUEST]) {
    const twice = RawClient.through(await ask(b.port));
    twice.send(again);
    t.equal(brief(await twice.end()), 'E:08P01', 'a request within TLS');
  }
  const gss = await RawClient.open(b.port);
  gss.send(GSS_REQUEST);
  t.equal(await gss.byte(), 'N');
  gss.send(SSL_REQUEST);
  t.equal(await gss.byte(), 'S', 'TLS after GSS was declined');
  gss.destroy();
  await t.rejects(ask(b.port, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }), 'TLS 1.1');
  t.match(b.errors.at(-1), /TLS handshake failed/);
  const nonsense = await RawClient.open(b.port);
  nonsense.send(SSL_REQUEST);
  t.equal(await nonsense.byte(), 'S');
  nonsense.send(LOGIN);
  await nonsense.wait(() => nonsense.closed || nonsense.ended);
});

t.test('TLS without a request needs its protocol named', async (t) => {
  const b = await served(t);
  const direct = RawClient.through(
    await shake(await open(b.port), { ALPNProtocols: ['postgresql'] }),
  );
  t.equal((direct.socket as TLSSocket).alpnProtocol, 'postgresql');
  direct.send(LOGIN, Q('SELECT 1'));
  t.match(brief(await direct.ready(2)), /D:1 C:SELECT 1 Z:I$/);
  direct.destroy();
  const silent = shake(await open(b.port), {});
  const unnamed = await silent.then(
    (socket) => RawClient.through(socket),
    () => null,
  );
  unnamed?.send(LOGIN);
  t.same(unnamed ? await unnamed.end() : [], [], 'without ALPN');
  await t.rejects(shake(await open(b.port), { ALPNProtocols: ['http/1.1'] }), 'another protocol');
  const plain = await front(t, cluster);
  await t.rejects(shake(await open(plain.port), { ALPNProtocols: ['postgresql'] }), 'no TLS here');
});

t.test('TLS required: plain clients are told, cancels are not refused', async (t) => {
  const b = await served(t, { required: true });
  const plain = await RawClient.open(b.port);
  plain.send(LOGIN);
  const [refusal] = await plain.end();
  t.match(error(refusal!), {
    code: '28000',
    message:
      'no pg_hba.conf entry for host "127.0.0.1", user "postgres", database "postgres", no encryption',
  });
  const cancel = await RawClient.open(b.port);
  const packet = Buffer.alloc(16);
  for (const [i, word] of [16, 80877102, 1, 2].entries()) packet.writeInt32BE(word, 4 * i);
  cancel.send(packet);
  t.same(await cancel.end(), [], 'relayed');
  t.equal(await b.metric('pgtandem_client_connections_total', { outcome: 'cancel' }), 1);
  (await login(b)).destroy();
});

t.test('client certificates: none, optional, required', async (t) => {
  const good = makeCertificate({ name: 'client', issuer: ca });
  const stranger = makeCertificate({ name: 'client', issuer: makeCertificate({ name: 'other' }) });
  const outcome = async (b: Bench, shown?: TestCertificate) => {
    const client = RawClient.through(await ask(b.port, { cert: shown?.cert, key: shown?.key }));
    client.send(LOGIN);
    await client.wait(() => client.ended || client.messages.some((m) => m.type === 'Z'));
    const said = brief(client.messages);
    client.destroy();
    return said.startsWith('E:') ? said : 'in';
  };
  const asked = { clientCa: ca.cert };
  const required = await served(t, { ...asked, clientCert: 'require' });
  t.equal(await outcome(required, good), 'in');
  t.equal(await outcome(required), 'E:28000');
  t.equal(await outcome(required, stranger), 'E:28000');
  t.match(required.errors.at(-1), /certificate was refused: UNABLE_TO/);
  const optional = await served(t, { ...asked, clientCert: 'optional' });
  t.equal(await outcome(optional, good), 'in');
  t.equal(await outcome(optional), 'in');
  t.equal(await outcome(optional, stranger), 'E:28000');
  const none = await served(t);
  t.equal(await outcome(none, stranger), 'in', 'not looked at');
});

t.test('another certificate without a restart; one that is broken changes nothing', async (t) => {
  const b = await served(t);
  const before = await login(b);
  const renewed = makeCertificate({ name: 'renewed', hosts: ['localhost'], issuer: ca });
  const shown = async () => {
    const client = await login(b);
    const { subject } = (client.socket as TLSSocket).getPeerCertificate();
    client.destroy();
    return subject.CN;
  };
  t.equal(await shown(), 'proxy');
  b.proxy.reloadTls({ ...settings, cert: renewed.cert, key: renewed.key });
  t.equal(await shown(), 'renewed');
  t.throws(() => b.proxy.reloadTls({ ...settings, cert: renewed.cert }), 'key of another');
  t.throws(() => b.proxy.reloadTls({ ...settings, cert: 'nonsense' }));
  t.equal(await shown(), 'renewed');
  before.send(Q('SELECT 1'));
  t.match(brief(await before.ready()), /D:1/, 'sessions stay');
  before.destroy();
});

t.test('the proxy ends: sessions within TLS are told', async (t) => {
  const b = await served(t);
  const client = await login(b);
  const closing = b.proxy.close(1000);
  const said = await client.end();
  t.equal(brief(said), 'E:57P01');
  client.destroy();
  await closing;
});
