interface Point {
  atMs: number;
  blocks: number;
  rows: number;
}

/** What was passed in some time. */
export interface Passed {
  ms: number;
  /** The same without stalls: what the blocks would have taken if none had been there. */
  usualMs: number;
  blocks: number;
  rows: number;
}

const WINDOW_MS = 30_000;
/** Of less than this nothing is said. */
export const SHORTEST_MS = 500;

/** The window's blocks are looked at in so many slices; fewer points than twice that tell of none. */
const SLICES = 20;
/** A slice counts for no more than so many times the median of them: what is more is a stall. */
const STALL = 1.5;

/** Of a fill's blocks so many are its beginning, which is left out. */
const BEGINNING = 0.1;

/**
 * What was passed within the latest half minute of a clock that may stand still, without the beginning of
 * the fill: its first tenth, or the first half of what was passed while that is less. There it is slower
 * than later, in small tables as in large ones (1.7 times of one, three and ten million rows): probably
 * because it is the first to change each page of the indexes. Everything else of half a minute counts,
 * since half a second may take twice as long as the next. Pure.
 */
export class RateWindow {
  private points: Point[] = [];
  /** What they come to; undefined: not asked for yet. */
  private known: Passed | null | undefined;
  private startBlocks = 0;
  private beginning = 0;

  /**
   * @param atMs of any clock that does not go back.
   * @param blocksTotal of which so many have been passed.
   */
  add(atMs: number, blocks: number, rows: number, blocksTotal: number): void {
    this.known = undefined;
    const last = this.points.at(-1);
    // A new pass begins at block 0: what was before is another pass's rate.
    if (last && blocks < last.blocks) this.points = [];
    if (this.points.length === 0) this.startBlocks = blocks;
    this.beginning = (blocksTotal - this.startBlocks) * BEGINNING;
    this.points.push({ atMs, blocks, rows });
    // The newest point that is at least a window old stays: the window is measured from it.
    while (this.points.length > 2 && this.points[1]!.atMs <= atMs - WINDOW_MS) this.points.shift();
    if (this.points.length > 2_000) this.points = this.points.filter((_, i) => i % 2 === 0);
  }

  /** null until half a second has been measured, and when no block was passed in it. */
  passed(): Passed | null {
    if (this.known === undefined) this.known = this.sum();
    return this.known;
  }

  private sum(): Passed | null {
    const last = this.points.at(-1);
    if (!last) return null;
    const { startBlocks } = this;
    const begun = startBlocks + Math.min(this.beginning, (last.blocks - startBlocks) / 2);
    const youngest = this.points.findLastIndex(({ atMs }) => atMs <= last.atMs - SHORTEST_MS);
    const from = Math.min(
      youngest,
      Math.max(
        0,
        this.points.findLastIndex(({ atMs }) => atMs <= last.atMs - WINDOW_MS),
        this.points.findLastIndex(({ blocks }) => blocks <= begun),
      ),
    );
    const first = this.points[from];
    if (!first || last.blocks <= first.blocks) return null;
    return {
      ms: last.atMs - first.atMs,
      usualMs: usualMsOf(this.points.slice(from)),
      blocks: last.blocks - first.blocks,
      rows: last.rows - first.rows,
    };
  }
}

/**
 * A machine that is shared, or a disk that is busy, takes seconds away now and then: they would be
 * expected again and again. Pure.
 */
function usualMsOf(points: readonly Point[]): number {
  const first = points[0]!;
  const last = points.at(-1)!;
  if (points.length < SLICES * 2) return last.atMs - first.atMs;
  const each = (last.blocks - first.blocks) / SLICES;
  const bounds = Array.from({ length: SLICES + 1 }, (_, i) => first.blocks + i * each);
  const times = bounds.map((blocks) => timeAt(points, blocks));
  const slices = times.slice(1).map((atMs, i) => atMs - times[i]!);
  const sorted = [...slices].sort((a, b) => a - b);
  const most = (STALL * (sorted[SLICES / 2 - 1]! + sorted[SLICES / 2]!)) / 2;
  return slices.reduce((sum, ms) => sum + Math.min(ms, most), 0);
}

/** When so many blocks had been passed. */
function timeAt(points: readonly Point[], blocks: number): number {
  const next = points.findIndex((point) => point.blocks >= blocks);
  const after = points[next] ?? points.at(-1)!;
  const before = points[next - 1];
  if (!before) return after.atMs;
  const share = (blocks - before.blocks) / (after.blocks - before.blocks);
  return before.atMs + (after.atMs - before.atMs) * share;
}
