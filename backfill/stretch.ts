import type { Checkpoint } from './checkpoint.js';
import { ChunkSizer, MAX_BLOCKS, retryWaitMs } from './chunk.js';
import { Parts } from './parts.js';
import type { Left } from './vacuum.js';

/** Blocks `from` to before `to` of a table's main fork. */
interface Range {
  from: number;
  to: number;
}

/** A part of the rows of some blocks (from 0, of so many): what one transaction fills. */
export interface Chunk extends Range {
  /** The table, and the file to which the numbers of the blocks belong. */
  oid: number;
  relfilenode: number;
  part: number;
  parts: number;
}

/** Blocks that are being filled, in parts; `part` is the next one, or the one under way. */
export interface Stretch extends Chunk {
  /** The blocks of the next transaction, or of the one under way: as many of the part as are worth the target. */
  piece: Range;
  /** Attempts at these blocks that have failed in a row, and since when. */
  failures: number;
  failingSinceMs: number;
}

/** What only this file needs to know of a stretch. */
interface Open extends Stretch {
  /** The first block of the part that no piece has been of that is done. */
  nextBlock: number;
  /** Of what is done: rows, and those that stayed in their blocks. */
  rows: number;
  stayed: number;
  isUnderWay: boolean;
  /** The number of its latest chunk. */
  number: number;
}

/** Blocks that were given back: an attempt has failed, and they come again, a half at a time. */
interface Returned extends Range {
  failures: number;
  failingSinceMs: number;
  notBeforeMs: number;
}

const NOTHING: Left = { blocks: 0, rows: 0, moved: 0 };

/** Stretches in work for each worker, where there are several. */
const OPEN_EACH = 4;
/** So far ahead of the checkpoint stretches are begun, for each worker: 64 MB. */
const AHEAD_BLOCKS = 8 * MAX_BLOCKS;

/**
 * Which chunk comes next for a worker that has none, and what is learned from those that were filled
 * or given up. No block is in two stretches at a time. Pure: the time is an argument.
 *
 * A part of a stretch finds the room of the part before it free only when no snapshot is left to
 * which the old versions are visible. A chunk's snapshot sees as running every chunk that was under
 * way when it began, so what must be over is not only the chunks beside the part before, but also
 * those that began beside these: PostgreSQL's own xmin horizon, here with the chunks' numbers in
 * place of transaction ids. Until then the workers go on with other stretches, by turns.
 */
export class Stretches {
  /**
   * How many blocks are worth the target: of the first part, whose rows leave their blocks and have every index
   * hear of it, several times fewer than of the later ones, and of a stretch in one fewer still.
   */
  private readonly sizers = {
    first: new ChunkSizer(),
    later: new ChunkSizer(),
    whole: new ChunkSizer(),
  };
  private readonly parts = new Parts();
  private file = { oid: 0, relfilenode: 0 };
  /** Blocks before it have been given out, those from `end` on are not part of the pass. */
  private frontier = 0;
  private end = 0;
  private done = 0;
  /** The most that was told of them. */
  private shown = 0;
  private open: Open[] = [];
  private returned: Returned[] = [];
  /** The chunks under way by their numbers, with the lowest number that each has seen under way. */
  private readonly underWay = new Map<number, number>();
  private numbers = 0;
  /** Since the last VACUUM, or since it started. */
  left: Left = { ...NOTHING };

  /** A pass begins, or goes on where another run was. */
  begin(oid: number, { relfilenode, nextBlock, endBlock }: Checkpoint): void {
    this.file = { oid, relfilenode };
    this.frontier = nextBlock;
    this.end = endBlock;
    this.done = nextBlock;
    this.shown = nextBlock;
    this.open = [];
    this.returned = [];
    this.underWay.clear();
    this.vacuumed();
  }

  /**
   * Blocks that are filled, wherever the checkpoint stands; of a stretch in work as many as it has
   * parts that are done, so that time and blocks go together. Does not fall within a pass.
   */
  get blocksDone(): number {
    const now = Math.floor(this.open.reduce((sum, each) => sum + doneOf(each), this.done));
    this.shown = Math.max(this.shown, now);
    return this.shown;
  }

  /**
   * @param workers how many chunks may be under way at once.
   * @returns null when there is none for now; `filled` or `failed` is to follow.
   */
  take(targetMs: number, nowMs: number, workers: number): Stretch | null {
    // What waits keeps its worker: where a whole table is locked, no others run against the lock.
    const stuck = this.returned.filter((one) => one.failures > 0 && one.notBeforeMs > nowMs);
    if (this.underWay.size + stuck.length >= workers) return null;
    const idle = this.open.filter((one) => !one.isUnderWay);
    const horizon = Math.min(...this.underWay.values());
    const ready = lowest(idle.filter(({ number }) => number < horizon));
    const next = ready ?? this.add(targetMs, nowMs, workers) ?? lowest(idle);
    if (!next) return null;
    // As large as is right now, however large it was to be when the stretch was begun.
    next.piece = pieceOf(next, this.sizerOf(next).size(targetMs));
    next.number = ++this.numbers;
    next.isUnderWay = true;
    this.underWay.set(next.number, Math.min(next.number, ...this.underWay.keys()));
    return next;
  }

  /** When the next of those that wait may come again, of the same clock; null: none waits. */
  waitsUntilMs(nowMs: number): number | null {
    const times = this.returned.map(({ notBeforeMs }) => notBeforeMs);
    const untilMs = Math.min(...times.filter((each) => each > nowMs));
    return Number.isFinite(untilMs) ? untilMs : null;
  }

  /** Everything before this block is filled when the chunk, which is under way, is committed. */
  reachedWith(stretch: Stretch): number {
    return this.lowWater(isLast(stretch) ? stretch : null);
  }

  /**
   * A piece of a part was committed: the next one comes, or the next part's first.
   * @param ms what its UPDATE took.
   * @returns whether it was the last of the stretch.
   */
  filled(stretch: Stretch, rows: number, stayed: number, ms: number): boolean {
    const one = this.ended(stretch);
    this.sizerOf(one).filled(one.piece.to - one.piece.from, ms);
    one.failures = 0;
    one.rows += rows;
    one.stayed += stayed;
    if (!isLast(one)) {
      goOn(one);
      return false;
    }
    this.open = this.open.filter((other) => other !== one);
    const blocks = one.to - one.from;
    this.done += blocks;
    this.parts.filled(one.parts, one.rows, one.stayed);
    this.left.blocks += blocks;
    this.left.rows += one.rows;
    this.left.moved += one.rows - one.stayed;
    return true;
  }

  /** A chunk was given up: half of its blocks come next, after a while, from the first part on. */
  failed(stretch: Stretch, nowMs: number): void {
    const one = this.ended(stretch);
    const { from, to, piece, failures: before, failingSinceMs: sinceMs } = one;
    this.open = this.open.filter((other) => other !== stretch);
    // What comes again is halved here; the sizer is for the others.
    if (before === 0) this.sizerOf(one).failed(piece.to - piece.from);
    const failures = before + 1;
    const failingSinceMs = before === 0 ? nowMs : sinceMs;
    const notBeforeMs = nowMs + retryWaitMs(failures);
    const half = from + Math.max(1, Math.floor((to - from) / 2));
    this.returned.push({ from, to: half, failures, failingSinceMs, notBeforeMs });
    const rest = { failures: 0, failingSinceMs: 0, notBeforeMs };
    if (half < to) this.returned.push({ from: half, to, ...rest });
  }

  vacuumed(): void {
    this.left = { ...NOTHING };
  }

  private sizerOf({ part, parts }: Stretch): ChunkSizer {
    const { first, later, whole } = this.sizers;
    return parts === 1 ? whole : part === 0 ? first : later;
  }

  private lowWater(without: Stretch | null): number {
    const froms = [...this.open, ...this.returned].flatMap((one) =>
      one === without ? [] : [one.from],
    );
    return Math.min(this.frontier, ...froms);
  }

  private ended(stretch: Stretch): Open {
    const one = this.open.find((other) => other === stretch);
    if (!one?.isUnderWay) throw new Error('The chunk is not under way.');
    this.underWay.delete(one.number);
    one.isUnderWay = false;
    return one;
  }

  /** Another stretch: of blocks that were given back, or else of those that nobody had yet. */
  private add(targetMs: number, nowMs: number, workers: number): Open | null {
    if (this.open.length >= (workers === 1 ? 1 : OPEN_EACH * workers)) return null;
    const again = lowest(this.returned.filter(({ notBeforeMs }) => notBeforeMs <= nowMs));
    const ahead = this.frontier - this.lowWater(null);
    if (!again && ahead >= AHEAD_BLOCKS * workers) return null;
    const { from, to: limit } = again ?? { from: this.frontier, to: this.end };
    if (from >= limit) return null;
    const { smallest } = this.parts;
    const { later, whole } = this.sizers;
    const blocks =
      smallest === null ? whole.size(targetMs) : Math.max(smallest, later.size(targetMs));
    const to = Math.min(limit, from + blocks);
    if (!again) this.frontier = to;
    else if (to < limit) again.from = to;
    else this.returned = this.returned.filter((one) => one !== again);
    const { failures = 0, failingSinceMs = 0 } = again ?? {};
    const parts = this.parts.count(to - from);
    const of = { ...this.file, from, to, part: 0, parts, piece: { from, to }, nextBlock: from };
    const under = { isUnderWay: false, number: 0, rows: 0, stayed: 0 };
    const one: Open = { ...of, failures, failingSinceMs, ...under };
    this.open.push(one);
    return one;
  }
}

/** Blocks that the parts and pieces which are done come to. */
function doneOf({ from, to, part, parts, nextBlock }: Open): number {
  return ((to - from) * part + nextBlock - from) / parts;
}

/** Of the blocks that are left of the part, in equal pieces: a small rest would say little of what a block takes. */
function pieceOf({ to, nextBlock }: Open, blocks: number): Range {
  const left = to - nextBlock;
  const pieces = Math.max(1, Math.round(left / blocks));
  return { from: nextBlock, to: nextBlock + Math.ceil(left / pieces) };
}

/** Whether the stretch is filled with the piece that is under way. */
function isLast({ to, part, parts, piece }: Stretch): boolean {
  return piece.to === to && part + 1 === parts;
}

function goOn(one: Open): void {
  const isPartDone = one.piece.to === one.to;
  one.nextBlock = isPartDone ? one.from : one.piece.to;
  if (isPartDone) one.part++;
}

function lowest<T extends Range>(ranges: readonly T[]): T | null {
  return ranges.reduce<T | null>((low, one) => (low && low.from <= one.from ? low : one), null);
}
