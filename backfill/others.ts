/** At most so often one counts, milliseconds. */
const EVERY_MS = 100;
/** Looks over which the average is. */
const LOOKS = 10;

/** How many others are at work in the database server, on average over the last looks. Pure. */
export class Others {
  private readonly looks: number[] = [];
  private lookedMs = Number.NEGATIVE_INFINITY;

  take(active: number, nowMs: number): void {
    if (nowMs - this.lookedMs < EVERY_MS) return;
    this.lookedMs = nowMs;
    this.looks.push(active);
    if (this.looks.length > LOOKS) this.looks.shift();
  }

  /** NaN before the first look. */
  get average(): number {
    return this.looks.reduce((sum, n) => sum + n, 0) / this.looks.length;
  }
}
