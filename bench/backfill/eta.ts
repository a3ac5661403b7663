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
}

/**
 * The estimate that was farthest off, of those from 20% to 95% of the blocks; what comes after is of
 * so little time that the half second between two savings counts. By the fill's own clock. Pure.
 * @returns null without two samples.
 */
export function etaErrorOf(samples: readonly Sample[]): EtaError | null {
  const last = samples.at(-1);
  if (!last) return null;
  let worst: EtaError | null = null;
  for (const { ratio, etaSeconds, spent } of samples) {
    const left = secondsOf(last.spent) - secondsOf(spent);
    if (ratio < 0.2 || ratio > 0.95 || left <= 0) continue;
    const error = Math.abs((etaSeconds ?? Number.POSITIVE_INFINITY) - left) / left;
    if (!worst || error > worst.error) worst = { error, ratio };
  }
  return worst;
}

function secondsOf({ fillingSeconds, vacuumSeconds, throttledSeconds }: Spent): number {
  const still = Object.values(throttledSeconds).reduce((sum, seconds) => sum + seconds, 0);
  return fillingSeconds + vacuumSeconds + still;
}
