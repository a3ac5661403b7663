import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Contender } from './contenders.js';
import { residentOf } from './process.js';
import { copyIn, copyOut, Line } from './raw.js';
import { slowReader, slowWriter } from './slow.js';

const run = promisify(execFile);

/** What is measured beside transactions; each gives one number for a contender. */
export interface Measure {
  /** By which it is asked for. */
  name: string;
  title: string;
  unit: string;
  /** Of PgBouncer and the direct way, or of neither. */
  measure(contender: Contender, slowMegabytes: number): Promise<number | null>;
}

const IDLE = 500;

export const OTHERS: Measure[] = [
  {
    name: 'connections',
    title: 'connections, each with one query',
    unit: '/s',
    measure: async ({ host, port, database }) => {
      const at = ['-h', host, '-p', String(port), '-U', 'postgres', database];
      const { stdout } = await run('pgbench', ['-n', '-C', '-S', '-c4', '-j2', '-T3', ...at]);
      return Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    },
  },
  {
    name: 'copy-out',
    title: 'COPY out',
    unit: 'MB/s',
    measure: (contender) => copyOut(contender, 500),
  },
  {
    name: 'copy-in',
    title: 'COPY in',
    unit: 'MB/s',
    measure: (contender) => copyIn(contender, 300),
  },
  {
    name: 'idle',
    title: `memory of an idle connection (${IDLE} of them)`,
    unit: 'kB',
    measure: async (contender) => {
      if (contender.pids().length === 0) return null;
      const before = residentOf(contender.pids());
      const lines = [];
      for (let i = 0; i < IDLE; i++) lines.push(await Line.open(contender));
      await delay(1_000);
      const grown = residentOf(contender.pids()) - before;
      for (const line of lines) line.close();
      await delay(1_000);
      return grown / IDLE / 1000;
    },
  },
  {
    name: 'slow-reader',
    title: 'highest growth of memory while a result of 1 GB is read at 1 MB/s',
    unit: 'MB',
    measure: slowReader,
  },
  {
    name: 'slow-writer',
    title: 'the same of a COPY in of 1 GB that is sent at 1 MB/s',
    unit: 'MB',
    measure: slowWriter,
  },
];
