/** How large the next chunk is, and how long it may take. Pure: time comes as arguments. */

/** Blocks of the first chunk, before anything has been measured. */
const FIRST_BLOCKS = 16;

/**
 * Upper bound of a chunk, 8 MB of heap. A stretch that is filled already costs next to nothing per
 * block; without a bound the chunk that runs into unfilled rows after it would be enormous.
 */
export const MAX_BLOCKS = 1_024;

/** Chunks whose cost is remembered. */
const WINDOW = 10;

/** No lock is waited for longer than this, because the rows filled so far stay locked meanwhile. */
const MAX_LOCK_MS = 1_000;

const MAX_STATEMENT_MS = 600_000;

/** Follows a time target: grows by at most a factor of two, shrinks at once. */
export class ChunkSizer {
  private base = FIRST_BLOCKS;
  private readonly recent: { blocks: number; ms: number }[] = [];
  private failedInRow = 0;

  /** Attempts that have failed since the last chunk that was filled. */
  get failures(): number {
    return this.failedInRow;
  }

  /** Blocks of the next chunk. */
  size(targetMs: number): number {
    const last = this.recent.at(-1);
    if (!last || this.failedInRow > 0) return this.base;
    let msPerBlock = percentile90(this.recent.map(({ blocks, ms }) => ms / blocks));
    // One slow chunk among ten is noise to the percentile; one far beyond the target is not.
    if (last.ms > 2 * targetMs) msPerBlock = Math.max(msPerBlock, last.ms / last.blocks);
    const wanted = Math.floor(targetMs / Math.max(msPerBlock, 1e-6)) || 1;
    return Math.min(wanted, this.base * 2, MAX_BLOCKS);
  }

  filled(blocks: number, ms: number): void {
    this.failedInRow = 0;
    this.base = blocks;
    this.recent.push({ blocks, ms });
    if (this.recent.length > WINDOW) this.recent.shift();
  }

  /** A chunk of so many blocks was given up (timeout, deadlock): half of it comes next. */
  failed(blocks: number): void {
    this.failedInRow++;
    this.base = Math.max(1, Math.floor(blocks / 2));
    // What was measured before does not hold here; the next ones grow again by factors of two.
    this.recent.length = 0;
  }
}

/** Nearest-rank percentile. */
export function percentile90(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.9) - 1] ?? 0;
}

/**
 * `lock_timeout` and `statement_timeout` of a chunk, milliseconds. Both grow with the failures in a
 * row, so that one block that takes longer than its target is still filled some day.
 */
export function timeouts(
  targetMs: number,
  failures: number,
): { lockMs: number; statementMs: number } {
  const factor = 2 ** Math.min(failures, 30);
  return {
    lockMs: Math.round(Math.min(MAX_LOCK_MS, Math.max(20, targetMs) * factor)),
    statementMs: Math.round(Math.min(MAX_STATEMENT_MS, Math.max(1_000, targetMs * 10) * factor)),
  };
}

/** How long to wait after so many failures in a row, milliseconds: 50, 100, ... 5,000. */
export function retryWaitMs(failures: number): number {
  return Math.min(5_000, 50 * 2 ** Math.max(0, Math.min(failures, 30) - 1));
}

/** What a chunk takes at most where others are at work, milliseconds. */
const BESIDE_OTHERS_MS = 10;
/**
 * What it takes at least, where it is slowed down. One that comes some times a second beside an application takes the
 * server 0.35 ms and the other processes a millisecond, however few rows it has.
 */
const SLOWED_MS = 5;

/**
 * What a chunk should take: as long as is set where nobody else is at work, and hardly longer than a
 * transaction takes where at least one session on average is, since who meets a chunk waits for it,
 * for its rows' locks, a core or the WAL, for as long as it takes. Where it is slowed down the chunks get
 * shorter before they come more rarely, as far as what each costs by itself is not most of what it costs.
 * @param activeOthers sessions that run a statement, on average; not a number: not known.
 * @param factor of the rests; 1: it is not slowed down.
 */
export function chunkTarget(targetMs: number, activeOthers: number, factor: number): number {
  const short = Math.min(targetMs, BESIDE_OTHERS_MS);
  const besideMs = targetMs - (targetMs - short) * shareOf(activeOthers);
  const speed = speedAt(factor);
  // With its rest it takes as long as at full speed where that is 10 ms, and approaches that from longer ones.
  const slowedMs = speed * (short + (besideMs - short) * speed);
  return Math.min(besideMs, Math.max(SLOWED_MS, slowedMs));
}

/**
 * Of a rest that is a quarter of the chunk, so much of the full speed is left at a factor: chunk and
 * rest take 1 + (factor - 1) / 4 times as long as the chunk alone.
 */
export function speedAt(factor: number): number {
  return 4 / (factor + 3);
}

/**
 * The rest after a chunk, milliseconds: none where nobody else is at work, and up to the chunk's own
 * time, so that half is left to the others, where at least one session on average is.
 * @param activeOthers sessions that run a statement, on average; not a number: not known.
 */
export function restMs(chunkMs: number, activeOthers: number): number {
  return Math.min(1_000, chunkMs * shareOf(activeOthers));
}

/** How much of the time others are at work; not known: all of it. */
function shareOf(activeOthers: number): number {
  return Number.isNaN(activeOthers) ? 1 : Math.min(1, Math.max(0, activeOthers));
}
