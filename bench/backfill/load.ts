import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const CLIENTS = 8;

/** Where an application is at work. */
export interface Place {
  server: { host: string; port: number };
  database: string;
}

/** What the application saw in a stretch of time. */
export interface Service {
  /** Transactions per second. */
  tps: number;
  /** Latency, counted from when the transaction was due, milliseconds. */
  p99: number;
}

/** One transaction: when it ended, milliseconds of the wall clock, and its latency. */
export interface Done {
  atMs: number;
  ms: number;
}

/** TPC-B by pgbench, prepared, no vacuum, on the tables that a contender fills. */
function pgbenchArguments({ server: { host, port }, database }: Place): string[] {
  const where = ['-h', host, '-p', String(port), '-U', 'postgres'];
  return ['-n', '-M', 'prepared', '-c', String(CLIENTS), '-j', '1', ...where, database];
}

/** Transactions per second that the machine can do when nothing else is asked of it. */
export async function capacity(place: Place, seconds: number): Promise<number> {
  const own = ['-T', String(seconds), ...pgbenchArguments(place)];
  const { stdout } = await run('pgbench', own);
  return Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
}

/** A load at a fixed rate, until it is stopped. */
export class Load {
  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /** @param rate transactions per second, spread as a Poisson process. */
  static start(place: Place, rate: number): Load {
    const folder = mkdtempSync(join(tmpdir(), 'bench-load-'));
    const own = ['-R', rate.toFixed(1), '-T', '86400', '-l', '--log-prefix', join(folder, 'log')];
    const child = spawn('pgbench', [...own, ...pgbenchArguments(place)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return new Load(child, folder);
  }

  /** Ends it. What pgbench has not written to its log yet (4 kB) is not counted. */
  async stop(): Promise<Done[]> {
    if (this.child.exitCode !== null) throw new Error('pgbench ended by itself');
    this.child.kill('SIGTERM');
    await once(this.child, 'exit');
    const done: Done[] = [];
    for (const file of readdirSync(this.folder)) {
      for (const line of readFileSync(join(this.folder, file), 'latin1').split('\n')) {
        // client transaction latency script seconds microseconds schedule_lag
        const [, , us, , seconds, micros, lag] = line.split(' ').map(Number);
        if (lag === undefined) continue;
        // With a rate the latency is counted from when the transaction was due.
        done.push({ atMs: seconds! * 1000 + micros! / 1000, ms: us! / 1000 });
      }
    }
    rmSync(this.folder, { recursive: true });
    return done;
  }
}

/**
 * What was seen from `fromMs` to `toMs` of the wall clock: those that ended then, and how long those
 * took that were due then, whenever they ended. Who had to wait for all of a stall counts where it was,
 * also where nothing ended. Pure.
 */
export function serviceOf(done: readonly Done[], fromMs: number, toMs: number): Service {
  const ended = done.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const tps = (ended.length * 1000) / (toMs - fromMs);
  return { tps, p99: p99Of(dueWithin(done, fromMs, toMs)) };
}

/** Those that were due then. Pure. */
export function dueWithin(done: readonly Done[], fromMs: number, toMs: number): Done[] {
  return done.filter(({ atMs, ms }) => atMs - ms >= fromMs && atMs - ms < toMs);
}

/** Not a number of none. Pure. */
export function p99Of(done: readonly Done[]): number {
  const sorted = done.map(({ ms }) => ms).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}
