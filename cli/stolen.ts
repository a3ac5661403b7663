import { readFileSync } from 'node:fs';

/** Linux counts in hundredths of a second (USER_HZ). */
const MS_PER_TICK = 10;

/**
 * How long processors of this machine were wanted and not given by its host, since it was started,
 * milliseconds of all of them together.
 * https://www.kernel.org/doc/html/latest/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
 * @returns null where nobody counts that.
 */
export function readStolenMs(): number | null {
  try {
    const [, ticks] = /^cpu +(?:\d+ +){7}(\d+)/.exec(readFileSync('/proc/stat', 'latin1')) ?? [];
    return ticks === undefined ? null : Number(ticks) * MS_PER_TICK;
  } catch {
    return null;
  }
}
