import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Contender } from './contenders.js';
import { cpuOf } from './process.js';

const run = promisify(execFile);

/** One column of the table: what pgbench does. */
export interface Cell {
  workload: 'select' | 'tpcb' | 'pipeline';
  mode: 'simple' | 'extended' | 'prepared';
  clients: number;
}

/** What one run of pgbench gave. */
export interface Figures {
  /** Transactions per second; a pipeline of four statements counts as one. */
  tps: number;
  /** Latency of a transaction, milliseconds. */
  p50: number;
  p99: number;
  /** User and system time of the contender's processes for a transaction, microseconds. */
  cpu: number;
}

/** Four statements in one round trip. */
const PIPELINE = `\\set a random(1, 100000 * :scale)
\\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :a;
SELECT abalance FROM pgbench_accounts WHERE aid = :a + 1;
SELECT abalance FROM pgbench_accounts WHERE aid = :a + 2;
SELECT abalance FROM pgbench_accounts WHERE aid = :a + 3;
\\endpipeline
`;

/** Fills a database with pgbench's tables. */
export async function initialise(contender: Contender, scale: number): Promise<void> {
  await run('pgbench', ['-i', '-q', '-s', String(scale), ...address(contender)]);
}

/** @throws Error with what pgbench said when a client of it failed. */
export async function pgbench(
  contender: Contender,
  cell: Cell,
  seconds: number,
  scale: number,
): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-pgbench-'));
  try {
    const script = join(folder, 'pipeline.sql');
    writeFileSync(script, PIPELINE);
    const workload = {
      select: ['-S'],
      tpcb: ['-b', 'tpcb-like'],
      pipeline: ['-f', script],
    }[cell.workload];
    const threads = String(Math.min(cell.clients, 2));
    const pids = contender.pids();
    const before = cpuOf(pids);
    const { stdout, stderr } = await run(
      'pgbench',
      [
        ...['-n', '-M', cell.mode, '-c', String(cell.clients), '-j', threads, '-T', `${seconds}`],
        ...['-l', '--sampling-rate', '0.2', '--log-prefix', join(folder, 'log')],
        ...workload,
        ...(cell.workload === 'pipeline' ? ['-D', `scale=${scale}`] : []),
        ...address(contender),
      ],
      {
        maxBuffer: 64 * 1024 * 1024,
        env: { ...process.env, PGSSLMODE: contender.tls ? 'require' : 'disable' },
      },
    );
    // Processes that were there, and those of connections that have ended meanwhile (socat).
    const cpu = cpuOf(contender.pids()) - before;
    const count = Number(/actually processed: (\d+)/.exec(stdout)?.[1]);
    const tps = Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    if (!(count > 0) || /aborted/.test(stderr)) throw new Error(`${stdout}\n${stderr}`);
    const latencies = readLatencies(folder);
    return {
      tps,
      p50: latencies[Math.floor(latencies.length * 0.5)]!,
      p99: latencies[Math.floor(latencies.length * 0.99)]!,
      cpu: cpu / 1000 / count,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function address(contender: Contender): string[] {
  const { host, port, database } = contender;
  return ['-h', host, '-p', String(port), '-U', 'postgres', database];
}

/** Sorted, milliseconds. The log's third column is the latency in microseconds. */
function readLatencies(folder: string): Float64Array {
  const values: number[] = [];
  for (const file of readdirSync(folder).filter((name) => name.startsWith('log'))) {
    for (const line of readFileSync(join(folder, file), 'latin1').split('\n')) {
      if (line !== '') values.push(Number(line.split(' ')[2]) / 1000);
    }
  }
  return Float64Array.from(values).sort();
}
