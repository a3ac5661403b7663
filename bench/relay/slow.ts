import { setTimeout as delay } from 'node:timers/promises';
import type { Contender } from './contenders.js';
import { residentOf } from './process.js';
import { Line, message, query } from './raw.js';

/** Bytes that a slow client takes or gives in each second. */
const SLOWLY = 1e6;
const ROW = 1_000;
const ROWS = 1_000_000;

/**
 * Highest growth of resident memory, MB, while a client takes the first `megabytes` of a result of
 * 1 GB at 1 MB/s, looked at every second. Null: no process is between.
 * @throws Error when all was asked for and not all has come.
 */
export async function slowReader(contender: Contender, megabytes: number): Promise<number | null> {
  return await grown(contender, async (line, tick) => {
    await line.begin(query(`SELECT repeat('x', ${ROW}) FROM generate_series(1, ${ROWS})`));
    const before = line.received;
    for (let i = 0; i < megabytes && !line.isReady; i++) {
      await line.take(SLOWLY);
      await tick();
    }
    // DataRow has 11 bytes beside the value; they make the result longer than it is asked for.
    while (megabytes * SLOWLY >= ROW * ROWS && !line.isReady) {
      await line.take(SLOWLY);
      await tick();
    }
    if (line.isReady && line.received < before + ROW * ROWS) throw new Error('not all has come');
  });
}

/** The same of a client that sends the rows of a COPY. */
export async function slowWriter(contender: Contender, megabytes: number): Promise<number | null> {
  return await grown(contender, async (line, tick) => {
    await line.ask(query('CREATE TEMP TABLE target (a text)'));
    // The rows are read, and none is kept.
    await line.begin(query('COPY target FROM STDIN WHERE false'));
    const row = message('d', `${'x'.repeat(ROW - 1)}\n`);
    const second = Buffer.alloc((row.length * SLOWLY) / ROW, row);
    for (let i = 0; i < megabytes; i++) {
      await line.send(second);
      await tick();
    }
    await line.ask(message('c', ''));
  });
}

async function grown(
  contender: Contender,
  work: (line: Line, tick: () => Promise<void>) => Promise<void>,
): Promise<number | null> {
  const pids = contender.pids();
  if (pids.length === 0) return null;
  const line = await Line.open(contender);
  const before = residentOf(pids);
  const started = performance.now();
  let highest = 0;
  let seconds = 0;
  await work(line, async () => {
    await delay(Math.max(0, started + ++seconds * 1_000 - performance.now()));
    highest = Math.max(highest, residentOf(pids) - before);
  });
  line.close();
  return highest / 1e6;
}
