import { speedAt } from './chunk.js';

/** ln of the rest's factor changes by so much a second for each unit of error. */
const GAIN = 0.35;
/** Errors beyond this count as this: a signal of yes and no is infinitely far from its threshold. */
const MAX_ERROR = 2;
/** From this share of the threshold up to all of it nothing is changed. */
const QUIET = 0.8;
/** With the shortest chunks there is then one in 0.7 s, of some 220 rows (two cores). */
const MAX_FACTOR = 512;
/** How old observations are, at most, of a signal that does not say so, milliseconds. */
const DELAY_MS = 1_000;
/** A longer time between two observations is not the signal's. */
const MAX_GAP_MS = 1_000;
const MAX_REST_MS = 2_000;

/**
 * How soft signals slow the fill down: by a factor from 1 to 512, as if the rest after each chunk were so much
 * longer (the chunks get shorter first), which a controller moves until the worst of them is just within its
 * threshold. Pure: the time comes as an argument.
 *
 * It moves the factor's logarithm, since what the fill does is about in inverse proportion to the
 * factor, and by as much as the ratio is beyond: noise around the threshold cancels out, which it does
 * not where the ratio's logarithm is followed. It only integrates. Observations
 * are a chunk, its rest and up to a second of averaging old, tau < 1 s; an integrator with the delay
 * tau approaches without overshooting while GAIN * tau < 1/e, which is so near the threshold. What is averaged over
 * a longer time is followed as much more slowly. Between QUIET and the threshold it does not move, so
 * that noise is not followed.
 *
 * It begins where the fill is slowest, when there is a signal to begin with: what a limit allows is
 * approached from below.
 */
export class Pacer {
  private log: number | null = null;
  private atMs: number | null = null;

  /**
   * @param ratio the highest observed value over its threshold; not a number counts as too much.
   * @param factorMax how far the signals that are beyond may slow it down.
   * @param delayMs how old it is what they observe.
   */
  observe(nowMs: number, ratio: number, factorMax = MAX_FACTOR, delayMs = 0): void {
    this.log ??= 0;
    const sinceMs = this.atMs === null ? 0 : nowMs - this.atMs;
    const ms = Math.min(MAX_GAP_MS, Math.max(0, sinceMs));
    this.atMs = nowMs;
    const gain = (GAIN * DELAY_MS) / Math.max(DELAY_MS, delayMs);
    const step = gain * (ms / 1000) * errorOf(ratio);
    const limit = Math.log(Math.min(MAX_FACTOR, factorMax));
    // What another signal has slowed down further goes back to where these may have it.
    if (step > 0 && this.log > limit) this.log = Math.max(limit, this.log - step);
    else if (step > 0) this.log = Math.min(limit, this.log + step);
    else this.log = Math.max(0, this.log + step);
  }

  /** As slowly as can be at first, unless it has begun already. */
  beginSlowly(): void {
    this.log ??= Math.log(MAX_FACTOR);
  }

  /** 1: at full speed. */
  get factor(): number {
    return Math.exp(this.log ?? 0);
  }
}

/** A rest made longer. @param usualMs the rest at full speed. */
export function restTimes(usualMs: number, factor: number): number {
  return Math.max(usualMs, Math.min(MAX_REST_MS, usualMs * factor));
}

/**
 * How many workers fill, and the factor of each one's rest: one alone while others are at work, and
 * fewer before the rests get long where a soft signal slows them down. Together they are as fast as
 * all of them would be with the factor.
 * @param activeOthers sessions that run a statement, on average; not a number: not known.
 */
export function crewOf(workers: number, activeOthers: number, factor: number) {
  const share = Number.isNaN(activeOthers) ? 1 : Math.min(1, Math.max(0, activeOthers));
  const most = Math.max(1, workers - Math.round((workers - 1) * share));
  const speed = most * speedAt(factor);
  const count = Math.max(1, Math.ceil(speed - 1e-9));
  return { count, factor: Math.max(1, (4 * count) / speed - 3) };
}

function errorOf(ratio: number): number {
  if (ratio >= QUIET && ratio <= 1) return 0;
  if (ratio < QUIET) return ratio - QUIET;
  return Number.isNaN(ratio) ? MAX_ERROR : Math.min(MAX_ERROR, ratio - 1);
}
