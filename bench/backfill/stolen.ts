import { readFileSync } from 'node:fs';

/** Linux counts in hundredths of a second (USER_HZ). */
const MS_PER_TICK = 10;
const EVERY_MS = 100;

/** What the processors' host had counted by a moment of the wall clock, milliseconds of both. */
export interface Count {
  atMs: number;
  stolenMs: number;
}

/**
 * Reads how long processors of this machine were wanted and not given by its host, since it was started.
 * https://www.kernel.org/doc/html/latest/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
 * @returns null where nobody counts that.
 */
function readStolen(): number | null {
  try {
    const [, ticks] = /^cpu +(?:\d+ +){7}(\d+)/.exec(readFileSync('/proc/stat', 'latin1')) ?? [];
    return ticks === undefined ? null : Number(ticks) * MS_PER_TICK;
  } catch {
    return null;
  }
}

/** Watches from now on, until it is stopped. */
export function watchStolen(): { stop(): Count[] } {
  const counts: Count[] = [];
  const look = () => {
    const stolenMs = readStolen();
    if (stolenMs !== null) counts.push({ atMs: Date.now(), stolenMs });
  };
  look();
  const timer = setInterval(look, EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      look();
      return counts;
    },
  };
}

/**
 * What was stolen from `fromMs` to `toMs`, milliseconds, and what may have been: a look is between two
 * others, and what it finds is of some moment since the one before. Pure.
 */
export function stolenWithin(counts: readonly Count[], fromMs: number, toMs: number): number {
  const first = counts.findLast(({ atMs }) => atMs <= fromMs) ?? counts[0];
  const last = counts.find(({ atMs }) => atMs >= toMs) ?? counts.at(-1);
  return first && last ? last.stolenMs - first.stolenMs : 0;
}
