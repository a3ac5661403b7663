interface Point {
  atMs: number;
  blocks: number;
  rows: number;
}

/** What was passed in some time. */
export interface Passed {
  ms: number;
  blocks: number;
  rows: number;
}

const WINDOW_MS = 60_000;
const SHORTEST_MS = 1_000;

/**
 * What was passed within the latest minute of a clock that may stand still; before two minutes have
 * gone by, within the latter half. A fill is slow to begin with, while the size of its chunks is
 * found and caches are cold (the first tenth of a million rows took 1.7 times as long as any other):
 * what is measured from the start on expects the same of all that is left. Pure.
 */
export class RateWindow {
  private points: Point[] = [];
  private startMs = 0;

  /** @param atMs of any clock that does not go back. */
  add(atMs: number, blocks: number, rows: number): void {
    const last = this.points.at(-1);
    // A new pass begins at block 0: what was before is another pass's rate.
    if (last && blocks < last.blocks) this.points = [];
    if (this.points.length === 0) this.startMs = atMs;
    this.points.push({ atMs, blocks, rows });
    // The newest point that is at least a window old stays: the window is measured from it.
    while (this.points.length > 2 && this.points[1]!.atMs <= atMs - WINDOW_MS) this.points.shift();
    if (this.points.length > 2_000) this.points = this.points.filter((_, i) => i % 2 === 0);
  }

  /** null until a second has been measured, and when no block was passed in it. */
  passed(): Passed | null {
    const last = this.points.at(-1);
    if (!last) return null;
    const half = (last.atMs - this.startMs) / 2;
    const fromMs = last.atMs - Math.min(WINDOW_MS, Math.max(SHORTEST_MS, half));
    const first = this.points.findLast(({ atMs }) => atMs <= fromMs);
    if (!first) return null;
    const blocks = last.blocks - first.blocks;
    return blocks > 0 ? { ms: last.atMs - first.atMs, blocks, rows: last.rows - first.rows } : null;
  }
}
