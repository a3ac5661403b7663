import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import t, { type Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { RawClient } from '../proxy/harness.js';
import { LOCAL, proxyHeader, TCP4, TCP6 } from '../proxy/proxy-header.js';
import { brief, Q, startupPacket } from '../proxy/wire.js';
import { guest, until } from './clients.js';

t.setTimeout(180_000);

let cluster: Cluster;
t.before(async () => {
  cluster = await Cluster.create({ settings: { listen_addresses: '127.0.0.1,::1' } });
});
t.teardown(() => cluster.destroy());

const LOGIN = startupPacket({ user: 'postgres', database: 'postgres' });

async function start(t: Test, options: string[], upstream = cluster.url(), listen?: string) {
  const proxy = await ProxyProcess.start(upstream, listen, options);
  t.teardown(() => proxy.end('SIGKILL'));
  return proxy;
}

const portOf = (proxy: ProxyProcess) => Number(proxy.address.split(':').at(-1));

/** A folder for sockets, with a path that is short enough. */
function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'pgt-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Established connections of this machine, as the kernel lists them (Linux). */
function tcp(): { local: number; remote: number; keepAliveMs: number | null }[] {
  const lines = readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1);
  return lines.flatMap((line) => {
    const [, local = '', remote = '', state, , timer = ''] = line.trim().split(/\s+/);
    if (state !== '01') return [];
    const port = (address: string) => Number.parseInt(address.split(':')[1]!, 16);
    // Timer 2 is that of keepalive; when it is due is told in hundredths of a second.
    const [kind, due = ''] = timer.split(':');
    const keepAliveMs = kind === '02' ? Number.parseInt(due, 16) * 10 : null;
    return [{ local: port(local), remote: port(remote), keepAliveMs }];
  });
}

t.test(
  'keepalive is as asked for, to the client and to the server',
  { skip: existsSync('/proc/net/tcp') ? false : 'the kernel does not list connections' },
  async (t) => {
    for (const seconds of [100, 0]) {
      const proxy = await start(t, ['--tcp-keepalive', `${seconds}s`]);
      const before = new Set(tcp().map(({ local }) => local));
      const client = await RawClient.login(portOf(proxy));
      t.teardown(() => client.destroy());
      const sides = () => {
        const port = portOf(proxy);
        const all = tcp();
        const front = all.filter(({ local }) => local === port);
        const back = all.filter((c) => c.remote === cluster.port && !before.has(c.local));
        return [...front, ...back].map(({ keepAliveMs }) => keepAliveMs);
      };
      if (seconds === 0) t.same(sides(), [null, null]);
      else {
        // What has been sent and is not acknowledged has a timer of another kind.
        await until('both have it', () => sides().filter((ms) => ms !== null).length === 2);
        for (const ms of sides()) t.ok(ms !== null && ms > 60_000 && ms <= 100_000, `${ms} ms`);
      }
      client.destroy();
      await proxy.end('SIGKILL');
    }
  },
);

t.test('Unix sockets on both sides', async (t) => {
  const at = folder(t);
  const host = join(cluster.dataDir, '..');
  const socket = `postgres://postgres@localhost:${cluster.port}/postgres?host=${host}`;
  const options = ['--listen', `unix:${at}`, '--socket-mode', '0770'];
  const proxy = await start(t, options, socket);
  const path = join(at, `.s.PGSQL.${portOf(proxy)}`);
  t.ok(statSync(path).isSocket());
  t.equal(statSync(path).mode & 0o777, 0o770);
  const client = new pg.Client({
    ...{ host: at, port: portOf(proxy), user: 'postgres', database: 'postgres' },
  });
  await client.connect();
  const { rows } = await client.query(
    'SELECT client_addr, 1 AS one FROM pg_stat_activity WHERE pid = pg_backend_pid()',
  );
  t.same(rows, [{ client_addr: null, one: 1 }], 'the server is reached by its socket too');
  const big = await client.query(`SELECT repeat('x', 5000000) AS x`);
  t.equal(big.rows[0].x.length, 5_000_000);
  await client.end();
  await t.rejects(start(t, [], socket, `unix:${path}`), /another process listens there/);
  await proxy.end('SIGKILL');
  t.ok(existsSync(path), 'it was left behind');
  const next = await start(t, [], socket, `unix:${path}`);
  t.equal(next.address, path, 'and is taken over');
  const again = new pg.Client({ host: at, port: portOf(proxy), user: 'postgres' });
  await again.connect();
  await again.end();
  await next.end();
  t.notOk(existsSync(path), 'one that ends takes it away');
  const file = join(at, 'file');
  writeFileSync(file, '');
  await t.rejects(start(t, [], socket, `unix:${file}`), /not a socket/);
  t.ok(existsSync(file), 'a file of somebody else is left alone');
});

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((each) => each?.address === '::1');

t.test('IPv6 on both sides', { skip: hasIpv6 ? false : 'no ::1 here' }, async (t) => {
  const upstream = `postgres://postgres@[::1]:${cluster.port}/postgres`;
  const proxy = await start(t, [], upstream, '[::1]:0');
  t.match(proxy.address, /^\[::1\]:\d+$/);
  const { client } = await guest(proxy.url());
  const { rows } = await client.query('SELECT host(inet_server_addr()) AS server');
  t.same(rows, [{ server: '::1' }]);
  await client.end();
});

t.test('a PROXY header says who the client is, where it is asked for', async (t) => {
  const at = folder(t);
  const listen = ['--listen', `unix:${at}`];
  const proxy = await start(t, ['--proxy-protocol', '--workers', '2', ...listen]);
  const port = portOf(proxy);
  for (const header of [TCP4, TCP6, LOCAL]) {
    const client = await RawClient.open(port);
    for (const byte of Buffer.concat([header, LOGIN])) client.send(Buffer.from([byte]));
    await client.ready();
    client.send(Q('SELECT 1'));
    t.equal(brief(await client.ready()), 'T D:1 C:SELECT 1 Z:I');
    client.send(Buffer.from('Q\0\0\0\x03'));
    t.match(brief(await client.end()), /E:08P01/);
  }
  const told = (client: string) =>
    until(client, () => proxy.log.some((line) => line.includes(`"client":"${client}`)));
  await told('192.0.2.7:49153');
  await told('[2001:db8::7]:49153');
  await told('127.0.0.1:');
  const wrong = proxyHeader(0x21, 0x11, Buffer.alloc(3));
  for (const bytes of [LOGIN, wrong]) {
    const client = connect(port, '127.0.0.1');
    client.on('error', () => undefined).resume();
    client.write(bytes);
    await once(client, 'close');
    t.equal(client.bytesRead, 0, 'closed without a word');
  }
  const malformed = { outcome: 'malformed' };
  t.equal(await proxy.metric('pgtandem_client_connections_total', malformed), 2);
  const local = new pg.Client({ host: at, port, user: 'postgres' });
  await local.connect();
  await local.end();
  t.pass('nobody announces a client of a Unix socket');
});

/** Not documented, but there is no other way to give a listening socket to a child of ours. */
const fdOf = (server: unknown) => (server as { _handle: { fd: number } })._handle.fd;

t.test('sockets that systemd has opened are used in place of others', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
  const child = spawn(
    'sh',
    [
      ...['-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"', process.execPath, main, 'proxy'],
      ...['--upstream', cluster.url(), '--listen', '127.0.0.1:1', '--metrics', '127.0.0.1:0'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe', fdOf(server)] },
  );
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr!.on('data', (data) => {
    said += data;
  });
  // Our own copy of the socket would take some of the clients.
  server.close();
  const { client } = await guest(`postgres://postgres@127.0.0.1:${port}/postgres`);
  await client.end();
  t.match(said, new RegExp(`"listen":\\{"host":"127.0.0.1","port":${port}\\}`));
  child.kill('SIGTERM');
  t.same((await once(child, 'exit'))[0], 0);
});
