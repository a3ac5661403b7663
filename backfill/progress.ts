import type { Spent } from './account.js';
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
  /** How many rows are still to be filled, by those of the blocks before; null: not known yet. */
  rowsLeft: number | null;
  /** While it fills, over the last minute of that; null: not known yet. */
  rowsPerSecond: number | null;
  /**
   * Until the last block is passed: at that rate, with as much standing still as lately; null while
   * either is not known, or when it has hardly moved lately.
   */
  etaSeconds: number | null;
  /** Duration of the last chunk with its commit; 0 before the first. */
  chunkMs: number;
  /** Why it stands still now. */
  throttled: Reason | null;
  /** The soft reason for which it goes slower now. */
  slowed: Reason | null;
  /** How many workers fill now; 0 while it stands still. */
  workers: number;
  /** How many may. */
  workersMax: number;
  /** The rest after each chunk, as a multiple of the usual one; 1 at full speed. */
  restFactor: number;
  /** What the time went to since the migration began, over restarts. */
  spent: Spent;
  /** The same as shares of all of it: `filling`, `vacuum`, and each reason by its name. */
  shares: Record<string, number>;
  /** Chunks of this run that were given up and tried again. */
  retries: number;
  /** What the operator should know and need not stop for, e.g. that VACUUM is not permitted. */
  notes: readonly string[];
  lag: StandbyLag[];
}
