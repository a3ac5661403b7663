import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { makeCertificate } from '../../test/proxy/certificates.js';
import { family } from './process.js';

/** One way from the load to the server. */
export interface Contender {
  name: string;
  host: string;
  port: number;
  database: string;
  /** Clients come within TLS. */
  tls?: boolean;
  /** Processes that it costs; none for the direct way. */
  pids(): number[];
  stop(): Promise<void>;
}

export function direct(cluster: Cluster, database: string): Contender {
  const stop = () => Promise.resolve();
  return { name: 'direct', host: '127.0.0.1', port: cluster.port, database, pids: () => [], stop };
}

/** A plain TCP relay in C: a process for each connection. */
export async function socat(cluster: Cluster, database: string): Promise<Contender> {
  const port = await freePort();
  const child = spawn(
    'socat',
    [
      `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=512`,
      `TCP:127.0.0.1:${cluster.port},nodelay`,
    ],
    { stdio: 'ignore' },
  );
  return started('socat', child, port, database);
}

/** PgBouncer with session pooling: what a proxy of the same kind costs. */
export async function pgbouncer(
  cluster: Cluster,
  database: string,
  tls: boolean,
): Promise<Contender> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'bench-pgbouncer-'));
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(join(folder, 'users.txt'), '"postgres" ""\n');
  writeFileSync(
    file,
    `[databases]
* = user=postgres host=127.0.0.1 port=${cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
auth_file = ${join(folder, 'users.txt')}
pool_mode = session
max_client_conn = 2000
default_pool_size = 1000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
${tls ? tlsOfPgbouncer(folder) : ''}`,
  );
  chmodSync(folder, 0o755);
  // It refuses to run as root.
  const asRoot = userInfo().uid === 0;
  const child = spawn('pgbouncer', [...(asRoot ? ['-u', 'nobody'] : []), file], {
    stdio: 'ignore',
  });
  const contender = await started('pgbouncer', child, port, database);
  return {
    ...contender,
    tls,
    stop: async () => {
      await contender.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/** A certificate for the contenders with TLS, and its key, in a folder. */
function identity(folder: string): { cert: string; key: string } {
  const { cert, key } = makeCertificate({ name: 'localhost', hosts: ['127.0.0.1'] });
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key);
  return files;
}

function tlsOfPgbouncer(folder: string): string {
  const { cert, key } = identity(folder);
  return `client_tls_sslmode = require\nclient_tls_cert_file = ${cert}\nclient_tls_key_file = ${key}\n`;
}

export async function pgtandem(
  name: string,
  cluster: Cluster,
  database: string,
  workers: number,
  tls: boolean,
): Promise<Contender> {
  const folder = tls ? mkdtempSync(join(tmpdir(), 'bench-pgtandem-')) : null;
  const secure = folder ? identity(folder) : null;
  const args = [
    ...(workers > 1 ? ['--workers', String(workers)] : []),
    ...(secure ? ['--tls-cert', secure.cert, '--tls-key', secure.key] : []),
  ];
  const proxy = await ProxyProcess.start(cluster.url(database), '127.0.0.1:0', args);
  const port = Number(proxy.address.split(':').at(-1));
  const stop = async () => {
    await proxy.end('SIGTERM');
    if (folder) rmSync(folder, { recursive: true });
  };
  return { name, host: '127.0.0.1', port, database, tls, pids: () => family(proxy.pid), stop };
}

async function started(
  name: string,
  child: ChildProcess,
  port: number,
  database: string,
): Promise<Contender> {
  child.on('error', (error) => {
    throw new Error(`${name} is needed for this benchmark: ${error.message}`);
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  await untilListening(port);
  const stop = async () => {
    process.removeListener('exit', kill);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  };
  return { name, host: '127.0.0.1', port, database, pids: () => family(child.pid!), stop };
}

async function untilListening(port: number): Promise<void> {
  for (const deadline = Date.now() + 10_000; ; await delay(20)) {
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    if (Date.now() > deadline) throw new Error(`nothing listens on port ${port}`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
