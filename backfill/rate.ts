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

/** What was passed within the latest minute of a clock that may stand still. Pure. */
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

  /** null until a second has been measured, and when no block was passed in it. */
  passed(): Passed | null {
    const [first] = this.points;
    const last = this.points.at(-1);
    if (!first || !last || last.atMs - first.atMs < SHORTEST_MS) return null;
    const blocks = last.blocks - first.blocks;
    return blocks > 0 ? { ms: last.atMs - first.atMs, blocks, rows: last.rows - first.rows } : null;
  }
}
