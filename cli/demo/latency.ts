/** Times of one phase, in milliseconds. */
export interface Percentiles {
  count: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

/** Each bucket ends 2% above the one before, so a percentile is at most 2% above the truth. */
const STEP = Math.log(1.02);
/** The first bucket ends here; what is faster is counted in it. */
const FIRST_MS = 0.01;

/**
 * Counts times in buckets that grow by 2%: bounded memory however long the load runs (ten
 * minutes are in bucket 904). The maximum is exact, a percentile is its bucket's upper end.
 */
export class Latency {
  private readonly buckets: number[] = [];
  private count = 0;
  private maxMs = 0;

  add(ms: number): void {
    const at = ms <= FIRST_MS ? 0 : Math.ceil(Math.log(ms / FIRST_MS) / STEP);
    this.buckets[at] = (this.buckets[at] ?? 0) + 1;
    this.count++;
    this.maxMs = Math.max(this.maxMs, ms);
  }

  /** The time that this share (0 to 1) of the samples did not exceed; 0 when there are none. */
  percentile(share: number): number {
    let left = Math.ceil(share * this.count);
    if (left === 0) return 0;
    for (let at = 0; at < this.buckets.length; at++) {
      left -= this.buckets[at] ?? 0;
      if (left <= 0) return Math.min(FIRST_MS * Math.exp(STEP * at), this.maxMs);
    }
    return this.maxMs;
  }

  summary(): Percentiles {
    const { count, maxMs } = this;
    return { count, p50Ms: this.percentile(0.5), p99Ms: this.percentile(0.99), maxMs };
  }
}
