import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { type Binaries, findBinaries } from './binaries.js';

/** Settings of `postgresql.conf`, by name. */
export type Settings = Record<string, string | number | boolean>;

/** Settings that every cluster starts with: small, on loopback, ready to be replicated. */
const BASE_SETTINGS: Settings = {
  listen_addresses: '127.0.0.1',
  wal_level: 'logical',
  max_wal_senders: 10,
  max_connections: 200,
  fsync: false,
  // Otherwise what a killed server leaves stays in /dev/shm.
  dynamic_shared_memory_type: 'mmap',
  shared_buffers: '128MB',
  max_wal_size: '4GB',
  wal_keep_size: '256MB',
  hot_standby: true,
};

/** So much of a server's log is kept at least, characters. */
const LOG_LENGTH = 1 << 20;
/** Backends outlive a postmaster that was killed for a moment; until then it cannot be started. */
const DYING = /pre-existing shared memory block/;

export interface ClusterOptions {
  /** Major version: 14 or 18. */
  major?: number;
  settings?: Settings;
  /** Lines of `pg_hba.conf`, in place of `trust` for everybody. */
  hba?: string;
}

/**
 * A real PostgreSQL server of our own on loopback, on a port given by the kernel, in a folder
 * that is removed when it is stopped. Superuser `postgres`, authentication `trust`.
 */
export class Cluster {
  private child: ChildProcess | undefined;
  private log = '';
  private readonly onExit = () => this.child?.kill('SIGQUIT');

  private constructor(
    readonly binaries: Binaries,
    readonly dataDir: string,
    readonly major: number,
    public port: number,
    private readonly ready: string,
  ) {}

  /** Makes a cluster (from a template that is initialised once a machine) and starts it. */
  static async create(options: ClusterOptions = {}): Promise<Cluster> {
    const major = options.major ?? 18;
    const binaries = findBinaries(major);
    const dataDir = join(mkdtempSync(join(binaries.workDir, 'cluster-')), 'data');
    copyData(template(binaries), dataDir);
    if (options.hba) writeFileSync(join(dataDir, 'pg_hba.conf'), options.hba);
    configure(dataDir, { ...BASE_SETTINGS, ...options.settings });
    own(binaries, join(dataDir, '..'));
    const cluster = new Cluster(binaries, dataDir, major, 0, 'ready to accept connections');
    await cluster.start();
    return cluster;
  }

  /**
   * Starts a server on a data directory that something else has made (a base backup).
   * @param major its version.
   */
  static async open(dataDir: string, major: number): Promise<Cluster> {
    const binaries = findBinaries(major);
    own(binaries, join(dataDir, '..'));
    const cluster = new Cluster(binaries, dataDir, major, 0, 'ready to accept connections');
    await cluster.start();
    return cluster;
  }

  /** Makes a streaming standby of this cluster; it is named in `pg_stat_replication` by `name`. */
  async standby(name: string, settings: Settings = {}): Promise<Cluster> {
    const dataDir = join(mkdtempSync(join(this.binaries.workDir, 'standby-')), 'data');
    const control = await this.client();
    try {
      const [start, stop] =
        this.major >= 15
          ? ['pg_backup_start($1, true)', 'pg_backup_stop()']
          : ['pg_start_backup($1, true, false)', 'pg_stop_backup(false)'];
      await control.query(`SELECT ${start}`, [name]);
      copyData(this.dataDir, dataDir, (path) => !NOT_COPIED.test(path));
      const { rows } = await control.query(`SELECT labelfile FROM ${stop}`);
      writeFileSync(join(dataDir, 'backup_label'), rows[0].labelfile);
    } finally {
      await control.end();
    }
    writeFileSync(join(dataDir, 'standby.signal'), '');
    configure(dataDir, {
      primary_conninfo: `host=127.0.0.1 port=${this.port} user=postgres application_name=${name}`,
      recovery_target_timeline: 'latest',
      ...settings,
    });
    own(this.binaries, join(dataDir, '..'));
    const ready = 'ready to accept read-only connections';
    const standby = new Cluster(this.binaries, dataDir, this.major, 0, ready);
    await standby.start();
    return standby;
  }

  /** Connection string of a database of this cluster. */
  url(database = 'postgres', user = 'postgres'): string {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  /** A connected client; the caller ends it. */
  async client(database = 'postgres'): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url(database) });
    await client.connect();
    return client;
  }

  /** The end of the server's log so far: all of it, of one that has not said much. */
  get output(): string {
    return this.log;
  }

  /** Process id of the postmaster, while it runs. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Starts the server (again, on the port it had before) and waits until it answers. */
  async start(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const port = this.port || (await freePort());
      try {
        await this.launch(port);
        this.port = port;
        await this.assertOwn();
        return;
      } catch (error) {
        await this.end('SIGQUIT');
        if (DYING.test(String(error)) && attempt < 100) {
          await delay(50);
          continue;
        }
        if (this.port || attempt >= 5 || !/could not (bind|create)/.test(String(error)))
          throw error;
      }
    }
  }

  private launch(port: number): Promise<void> {
    const { binaries } = this;
    const child = spawn(
      binaries.postgres,
      ['-D', this.dataDir, '-p', String(port), '-k', join(this.dataDir, '..')],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        cwd: join(this.dataDir, '..'),
        ...(binaries.runAs ?? {}),
        env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
      },
    );
    this.child = child;
    process.once('exit', this.onExit);
    return new Promise((resolve, reject) => {
      let seen = '';
      let isReady = false;
      child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
        if (this.log.length > 2 * LOG_LENGTH) this.log = this.log.slice(-LOG_LENGTH);
        // A server that says much for hours is not to be read from its start each time.
        if (isReady) return;
        seen += text;
        isReady = seen.includes(this.ready);
        if (isReady) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`postgres ended (${code}):\n${seen}`)));
    });
  }

  /** Makes sure that the server that answers on our port is the one we started. */
  private async assertOwn(): Promise<void> {
    const client = await this.client();
    const { rows } = await client.query('SHOW data_directory');
    await client.end();
    if (rows[0].data_directory !== this.dataDir) {
      throw new Error(`could not bind port ${this.port}: another server answers there`);
    }
  }

  /** Stops the server as `pg_ctl stop -m` would: fast, immediate, or by SIGKILL. */
  async end(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL' = 'SIGINT'): Promise<void> {
    const child = this.child;
    if (!child) return;
    process.removeListener('exit', this.onExit);
    this.child = undefined;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** Stops the server and removes its folder. */
  async destroy(): Promise<void> {
    await this.end('SIGQUIT');
    rmSync(join(this.dataDir, '..'), { recursive: true, force: true });
  }
}

/** A port that the kernel says is free. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** Path of a data directory that was initialised once and is copied for each cluster. */
function template(binaries: Binaries): string {
  const target = join(binaries.workDir, `template-${binaries.version}`);
  if (existsSync(target)) return target;
  const draft = mkdtempSync(join(binaries.workDir, 'initdb-'));
  own(binaries, draft);
  const run = spawnSync(
    binaries.initdb,
    ['-D', join(draft, 'data'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N'],
    { encoding: 'utf8', cwd: draft, ...(binaries.runAs ?? {}) },
  );
  if (run.status !== 0) {
    throw new Error(`initdb failed: ${run.stderr || run.error?.message || run.signal}`);
  }
  try {
    renameSync(join(draft, 'data'), target);
  } catch (error) {
    // Another process was first; its template is the same.
    if (!existsSync(target)) throw error;
  }
  rmSync(draft, { recursive: true, force: true });
  return target;
}

/** What a base backup leaves out. */
const NOT_COPIED = /\/(postmaster\.(pid|opts)|pg_wal\/.+|pg_replslot\/.+)$/;

/** A data directory must be its owner's alone, and from Node 24 on a copy has not the modes. */
function copyData(from: string, to: string, filter = (_path: string) => true): void {
  cpSync(from, to, { recursive: true, filter });
  chmodSync(to, 0o700);
}

function configure(dataDir: string, settings: Settings): void {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'`);
  appendFileSync(join(dataDir, 'postgresql.conf'), `\n${lines.join('\n')}\n`);
}

/** Gives a folder to the user whom PostgreSQL is run as. */
function own(binaries: Binaries, folder: string): void {
  mkdirSync(folder, { recursive: true });
  if (!binaries.runAs) return;
  const { uid, gid } = binaries.runAs;
  chownSync(folder, uid, gid);
  spawnSync('chown', ['-R', `${uid}:${gid}`, folder]);
}
