import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Contender } from './contenders.js';
import { residentOf } from './process.js';
import { copyIn, copyOut, Line, query } from './raw.js';

const run = promisify(execFile);

/** What is measured beside transactions; each gives one number for a contender. */
export interface Measure {
  title: string;
  unit: string;
  /** Of PgBouncer and the direct way, or of neither. */
  measure(contender: Contender): Promise<number | null>;
}

const IDLE = 500;
const SLOW_SECONDS = 8;

export const OTHERS: Measure[] = [
  {
    title: 'connections, each with one query',
    unit: '/s',
    measure: async ({ host, port, database }) => {
      const at = ['-h', host, '-p', String(port), '-U', 'postgres', database];
      const { stdout } = await run('pgbench', ['-n', '-C', '-S', '-c4', '-j2', '-T3', ...at]);
      return Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    },
  },
  { title: 'COPY out', unit: 'MB/s', measure: (contender) => copyOut(contender, 500) },
  { title: 'COPY in', unit: 'MB/s', measure: (contender) => copyIn(contender, 300) },
  {
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
    title: `memory for a 1 GB result at 1 MB/s (first ${SLOW_SECONDS} s)`,
    unit: 'MB',
    measure: async (contender) => {
      if (contender.pids().length === 0) return null;
      const line = await Line.open(contender);
      const before = residentOf(contender.pids());
      await line.begin(query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"));
      let highest = 0;
      for (let second = 0; second < SLOW_SECONDS; second++) {
        await line.take(1e6);
        await delay(1_000);
        highest = Math.max(highest, residentOf(contender.pids()) - before);
      }
      line.close();
      return highest / 1e6;
    },
  },
];
