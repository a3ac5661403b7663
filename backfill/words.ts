import type { Spent } from './account.js';
import type { Compared } from './compare.js';
import type { Reason } from './throttle.js';

/**
 * How a backfill's progress is told: in the status, in the log and on the terminal in these words;
 * the names of reasons are the labels of the metrics. Pure.
 */

/** As much of a {@link Progress} as there is: one that was saved by another version may have less. */
export interface Told {
  ratio?: number;
  blocksDone?: number;
  blocksTotal?: number;
  rowsFilled?: number;
  rowsLeft?: number | null;
  rowsPerSecond?: number | null;
  etaSeconds?: number | null;
  workers?: number;
  workersMax?: number;
  /** Of a partitioned table: the partition that is being filled, and which of how many it is. */
  partition?: string;
  throttled?: Pick<Reason, 'text'> | null;
  slowed?: Pick<Reason, 'text'> | null;
  shares?: Record<string, number>;
  spent?: Spent;
}

/** `42%: 12,345 of 29,000 blocks, 1,234,567 rows done, about 1,700,000 to do` */
export function describeDone(told: Told): string {
  const { ratio = 0, blocksDone, blocksTotal, rowsFilled, rowsLeft } = told;
  const parts: string[] = [];
  if (blocksTotal) {
    parts.push(`${count(blocksDone ?? 0)} of ${count(blocksTotal)} blocks`);
  }
  if (rowsFilled !== undefined) parts.push(`${count(rowsFilled)} rows done`);
  if (typeof rowsLeft === 'number' && rowsLeft > 0) parts.push(`about ${count(rowsLeft)} to do`);
  if (told.partition) parts.push(`in ${told.partition}`);
  return parts.length > 0 ? `${percent(ratio)}: ${parts.join(', ')}` : percent(ratio);
}

/** `45,210 rows/s, 2 of 3 workers, 2 min 10 s left`; empty: nothing of it is known. */
export function describePace({ rowsPerSecond, etaSeconds, workers, workersMax }: Told): string {
  const parts: string[] = [];
  if (typeof rowsPerSecond === 'number') parts.push(`${count(rowsPerSecond)} rows/s`);
  if (workersMax !== undefined && workersMax > 1) {
    parts.push(`${workers ?? 0} of ${workersMax} workers`);
  }
  if (typeof etaSeconds === 'number') parts.push(`${formatDuration(etaSeconds)} left`);
  return parts.join(', ');
}

/** `waiting: replica-lag: standby1 2.3 s behind (limit 1.0 s)`; empty at full speed. */
export function describeReason({ throttled, slowed }: Told): string {
  if (throttled) return `waiting: ${throttled.text}`;
  return slowed ? `slowed: ${slowed.text}` : '';
}

/** `5 min 20 s so far: filling 88%, replica-lag 8%, vacuum 4%`; empty: not known. */
export function describeShares({ shares, spent }: Told): string {
  const all = Object.entries(shares ?? {}).sort(([, a], [, b]) => b - a);
  if (all.length === 0 || !spent) return '';
  const { fillingSeconds, vacuumSeconds, throttledSeconds } = spent;
  const still = Object.values(throttledSeconds).reduce((sum, seconds) => sum + seconds, 0);
  const told = all.map(([name, share]) => `${name} ${percent(share, Math.round)}`).join(', ');
  return `${formatDuration(fillingSeconds + vacuumSeconds + still)} so far: ${told}`;
}

/** All of it, as a status tells it in lines and a log in one. */
export function describeProgress(told: Told): string[] {
  const all = [describeDone(told), describePace(told), describeReason(told), describeShares(told)];
  return all.filter((text) => text !== '');
}

/** `42%: 1,234,567 rows compared, 3 disagreed, 3 repaired: id 5, id 7, id 9` */
export function describeCompared(compared: Compared): string {
  const { blocksDone, blocksTotal, rows, disagreed, repaired, samples, waiting } = compared;
  const share = percent(blocksTotal > 0 ? blocksDone / blocksTotal : 1);
  const keys = samples.join(', ') + (disagreed > samples.length ? ' ...' : '');
  const wrong = `${count(disagreed)} disagreed`;
  const what = disagreed > 0 ? `, ${wrong}, ${count(repaired)} repaired: ${keys}` : `, ${wrong}`;
  const why = waiting ? `; waiting: ${waiting.text}` : '';
  return `${share}: ${count(rows)} rows compared${what}${why}`;
}

/** Whole percents, rounded down: 100% is said when it is so, and not before. */
export function percent(ratio: number, round = Math.floor): string {
  return `${round(Math.min(1, Math.max(0, ratio)) * 100)}%`;
}

/** `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`: two units at most. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return 'unknown';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}

/** `1,234,567` */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** At least so long between two lines of a log, and at most while nothing changes, milliseconds. */
const LINE_MS = 5_000;
const EVERY_MS = 30_000;

/** When a progress is worth a line of a log: now and then, and when it stands still or goes on. */
export class LogPace {
  private atMs = Number.NEGATIVE_INFINITY;
  private reason: string | null = null;

  /** @param reason the name of the one for which it stands still. */
  isDue(nowMs: number, reason: string | null): boolean {
    const sinceMs = nowMs - this.atMs;
    if (sinceMs < LINE_MS || (reason === this.reason && sinceMs < EVERY_MS)) return false;
    this.atMs = nowMs;
    this.reason = reason;
    return true;
  }
}
