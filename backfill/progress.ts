import type { Reason } from './throttle.js';

/** How far one standby or subscriber is. */
export interface StandbyLag {
  /** The slot's name; without a slot the application_name, with the address when it is needed. */
  standby: string;
  kind: 'physical' | 'logical';
  /** False of a standby that is known and gone. */
  streaming: boolean;
  /** null while it cannot be known, and for logical subscribers. */
  seconds: number | null;
  bytes: number | null;
}

/** Where a backfill stands; yielded after each chunk and about twice a second while it waits. */
export interface Progress {
  migration: string;
  /** From 1; raised each time the table got a new file and the fill began again. */
  pass: number;
  blocksDone: number;
  blocksTotal: number;
  /** `blocksDone / blocksTotal`; 1 of an empty table. */
  ratio: number;
  /** Since the migration began, over restarts. */
  rowsFilled: number;
  rowsPerSecond: number;
  /** At the rate of the last minute, standing still included; null while that is not known. */
  etaSeconds: number | null;
  /** Duration of the last chunk with its commit; 0 before the first. */
  chunkMs: number;
  /** Why it stands still now. */
  throttled: Reason | null;
  /** The soft reason for which it goes slower now. */
  slowed: Reason | null;
  /** The rest after each chunk, as a multiple of the usual one; 1 at full speed. */
  restFactor: number;
  /** For how long this run has stood still, by the name of the reason. */
  throttledSecondsByReason: Record<string, number>;
  /** Chunks of this run that were given up and tried again. */
  retries: number;
  /** What the operator should know and need not stop for, e.g. that VACUUM is not permitted. */
  notes: readonly string[];
  lag: StandbyLag[];
}

interface Point {
  atMs: number;
  blocks: number;
  rows: number;
}

const WINDOW_MS = 60_000;
const SHORTEST_MS = 1_000;

/**
 * The rate over a sliding window of wall-clock time. Time in which the fill stood still counts,
 * so that the estimate is of when it ends and not of when it could end. Pure.
 */
export class RateWindow {
  private points: Point[] = [];

  /** @param atMs of any clock that does not go back. */
  add(atMs: number, blocks: number, rows: number): void {
    const last = this.points.at(-1);
    // A new pass begins at block 0: what was before is another pass's rate.
    if (last && blocks < last.blocks) this.points = [];
    this.points.push({ atMs, blocks, rows });
    // The newest point that is at least a window old stays: the window is measured from it.
    while (this.points.length > 2 && this.points[1]!.atMs <= atMs - WINDOW_MS) this.points.shift();
    if (this.points.length > 2_000) this.points = this.points.filter((_, i) => i % 2 === 0);
  }

  rowsPerSecond(): number {
    const span = this.span();
    return span ? span.rows / (span.ms / 1000) : 0;
  }

  /** null until a second has been measured, and when nothing was passed within the window. */
  etaSeconds(blocksLeft: number): number | null {
    if (blocksLeft <= 0) return 0;
    const span = this.span();
    return span && span.blocks > 0 ? (blocksLeft * span.ms) / span.blocks / 1000 : null;
  }

  private span(): { ms: number; blocks: number; rows: number } | null {
    const [first] = this.points;
    const last = this.points.at(-1);
    if (!first || !last || last.atMs - first.atMs < SHORTEST_MS) return null;
    return {
      ms: last.atMs - first.atMs,
      blocks: last.blocks - first.blocks,
      rows: last.rows - first.rows,
    };
  }
}
