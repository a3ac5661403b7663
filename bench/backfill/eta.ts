import type { Spent } from '../../backfill/account.js';

/** Of a progress, as it was saved. */
export interface Sample {
  ratio: number;
  etaSeconds: number | null;
  spent: Spent;
}

/** How far an estimate was off, as a share of what was left, and where. */
export interface EtaError {
  error: number;
  /** Blocks done over blocks in all. */
  ratio: number;
  /** How much too long the estimate was, seconds; below 0: too short. */
  offSeconds: number;
}

/**
 * Of less than this time left an error is the share of it, seconds: the progress is saved twice a
 * second, and a fifth of this is half a second.
 */
const LEFT_MIN = 2.5;

/**
 * The estimate that was farthest off, of those from 20% to 95% of the blocks. By the fill's own
 * clock. Pure.
 * @returns null without two samples.
 */
export function etaErrorOf(samples: readonly Sample[]): EtaError | null {
  const last = samples.at(-1);
  if (!last) return null;
  let worst: EtaError | null = null;
  for (const { ratio, etaSeconds, spent } of samples) {
    const left = secondsOf(last.spent) - secondsOf(spent);
    if (ratio < 0.2 || ratio > 0.95 || left <= 0) continue;
    const offSeconds = (etaSeconds ?? Number.POSITIVE_INFINITY) - left;
    const error = Math.abs(offSeconds) / Math.max(LEFT_MIN, left);
    if (!worst || error > worst.error) worst = { error, ratio, offSeconds };
  }
  return worst;
}

/** `21%, by 1.1 s too long` */
export function describeEta({ ratio, offSeconds }: EtaError): string {
  const seconds = Math.abs(offSeconds).toFixed(1);
  return `${(ratio * 100).toFixed(0)}%, by ${seconds} s too ${offSeconds < 0 ? 'short' : 'long'}`;
}

function secondsOf({ fillingSeconds, vacuumSeconds, throttledSeconds }: Spent): number {
  const still = Object.values(throttledSeconds).reduce((sum, seconds) => sum + seconds, 0);
  return fillingSeconds + vacuumSeconds + still;
}
