import { readStolenMs } from '../../cli/stolen.js';

const EVERY_MS = 100;

/** What the processors' host had counted by a moment of the wall clock, milliseconds of both. */
export interface Count {
  atMs: number;
  stolenMs: number;
}

/** Watches from now on, until it is stopped. */
export function watchStolen(): { stop(): Count[] } {
  const counts: Count[] = [];
  const look = () => {
    const stolenMs = readStolenMs();
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
