/**
 * TLS below 1.2 is not spoken, whatever the process would allow: Node's own minimum can be lowered
 * with an option, and OpenSSL's by its configuration. Both are lowered here, and it is made sure
 * that without a minimum of our own TLS 1.1 works.
 *
 * What was broken on purpose, and which test then failed: `minVersion` left out in proxy/tls.ts
 * (towards clients), cli/upstream.ts (the relay), db/ssl.ts (control).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls, { type SecureVersion } from 'node:tls';
import t from 'tap';
import type { Cluster } from '../../cli/demo/cluster.js';
import { upstreamOf } from '../../cli/upstream.js';
import { connect } from '../../db/connect.js';
import { dial } from '../../proxy/dial.js';
import { DEFAULT_LIMITS } from '../../proxy/limits.js';
import { makeCertificate } from './certificates.js';
import { front } from './harness.js';
import { SSL_REQUEST } from './wire.js';

t.setTimeout(60_000);

tls.DEFAULT_MIN_VERSION = 'TLSv1';
tls.DEFAULT_CIPHERS = 'DEFAULT:@SECLEVEL=0';

const own = makeCertificate({ name: 'localhost', hosts: ['localhost', '127.0.0.1'] });
const folder = mkdtempSync(join(tmpdir(), 'pgtandem-tls-'));
t.teardown(() => rmSync(folder, { recursive: true }));

/** What comes of a handshake with a server, after its S. */
async function shake(port: number, version: SecureVersion): Promise<string | null> {
  const socket = netConnect(port, '127.0.0.1');
  socket.write(SSL_REQUEST);
  await new Promise((resolve) => socket.once('data', resolve));
  const secured = tls.connect({ socket, ca: own.cert, maxVersion: version });
  return new Promise((resolve) => {
    const done = (what: string | null) => {
      secured.destroy();
      resolve(what);
    };
    secured.once('secureConnect', () => done(secured.getProtocol()));
    secured.once('error', () => done(null));
    secured.once('close', () => done(null));
  });
}

/** A server that answers S, and speaks TLS of one version. */
async function serverOf(version: SecureVersion): Promise<{ port: number; spoken: () => number }> {
  let spoken = 0;
  const open = new Set<Socket>();
  const within = tls.createServer({
    cert: own.cert,
    key: own.key,
    minVersion: 'TLSv1',
    maxVersion: version,
    ALPNProtocols: ['postgresql'],
  });
  within.on('secureConnection', (socket) => {
    spoken++;
    socket.on('error', () => undefined);
    socket.end();
  });
  const server: Server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.pause();
      socket.write('S');
      within.emit('connection', socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, spoken: () => spoken };
}

t.test('a client that has no more than TLS 1.1 is not served', async (t) => {
  const plain = await serverOf('TLSv1.1');
  t.equal(await shake(plain.port, 'TLSv1.1'), 'TLSv1.1', 'it could be spoken');
  const { cert, key } = own;
  const settings = { cert, key, clientCert: 'none', required: false } as const;
  const b = await front(t, { port: plain.port } as Cluster, {}, { tls: settings });
  t.equal(await shake(b.port, 'TLSv1.1'), null);
  t.equal(await shake(b.port, 'TLSv1.2'), 'TLSv1.2');
  t.equal(await shake(b.port, 'TLSv1.3'), 'TLSv1.3');
  b.proxy.reloadTls(settings);
  t.equal(await shake(b.port, 'TLSv1.1'), null, 'nor after its certificate was read again');
});

t.test('a server that has no more than TLS 1.1 is not talked to', async (t) => {
  const path = join(folder, 'root.pem');
  writeFileSync(path, own.cert);
  for (const [version, outcome] of [
    ['TLSv1.1', 0],
    ['TLSv1.2', 2],
  ] as const) {
    const { port, spoken } = await serverOf(version);
    const url = `postgres://postgres@localhost:${port}/postgres?sslmode=verify-full&sslrootcert=${path}`;
    const dialled = dial(upstreamOf(url), DEFAULT_LIMITS, AbortSignal.timeout(10_000)).then(
      (socket) => void socket.destroy(),
      (error: Error) => error.message,
    );
    const failure = await dialled;
    t.equal(typeof failure, outcome === 0 ? 'string' : 'undefined', `relay: ${failure}`);
    // What is within TLS is no PostgreSQL: it fails either way, but with 1.1 before it begins.
    await t.rejects(connect({ url, role: 'test' }));
    t.equal(spoken(), outcome, `${version}: handshakes that were finished`);
  }
});
