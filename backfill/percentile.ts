/** Counts of times by bucket, as the proxies report them; they only grow while a proxy lives. */
export type Counts = Record<string, number>;

/** What one proxy has reported last. */
export interface Report {
  proxy: string;
  /** How old it is, milliseconds. */
  ageMs: number;
  counts: Counts | null;
  /** What the host of the proxy's machine has taken of its processors so far, milliseconds; null: not known. */
  stolenMs?: number | null;
}

/** What was added, and whether something was stolen meanwhile: then it says little of the database. */
interface Step {
  atMs: number;
  counts: Counts;
  isStolen: boolean;
}

/** What the transactions of some time were. */
export interface Latency {
  /** The median of its slices' p99s, milliseconds; null: of too few transactions nothing can be said. */
  p99Ms: number | null;
  transactions: number;
  /** Of the report that is the oldest, milliseconds; 0 where no proxy reports. */
  ageMs: number;
  /** The same of the latest time, where this is of the latest filling. */
  live?: Latency;
}

/** The same as in proxy/latencies.ts: upper bound of bucket 0, and buckets for each factor of two. */
const FIRST_MS = 0.1;
const PER_OCTAVE = 8;

/** Fewer transactions have no percentile: one of a hundred is the 99th. */
export const TRANSACTIONS_MIN = 100;

/** The 99th percentile, taken to lie in its bucket as far as its count does: right to a tenth, mostly better. */
export function p99Of(counts: Counts): number | null {
  const buckets = Object.entries(counts)
    .map(([bucket, n]) => [Number(bucket), n] as const)
    .sort(([a], [b]) => a - b);
  const transactions = totalOf(counts);
  if (transactions < TRANSACTIONS_MIN) return null;
  let left = transactions * 0.99;
  for (const [bucket, n] of buckets) {
    left -= n;
    if (left <= 1e-9) return FIRST_MS * 2 ** ((bucket + left / n) / PER_OCTAVE);
  }
  return null;
}

/** A proxy reports every second; what comes within less time, from several, is of one slice. */
const SLICE_MS = 750;

/**
 * The transactions of the last seconds, of all proxies together, and the median of the p99s of its
 * slices: a second each, or as many as have transactions enough for a p99. One stall counts for its
 * own slice and no more. Slices in which a proxy's machine stood still because its host had other use for it
 * are left out, unless there is no other: it is neither the fill's doing nor the application's. Each proxy is counted from its report before, so that one that comes, goes or
 * begins anew adds nothing that is not of now. Pure.
 */
export class LatencyWindow {
  private before = new Map<string, { counts: Counts; stolenMs: number | null }>();
  /** What the reports have added, the latest last. */
  private steps: Step[] = [];
  /** Whether something was stolen since the last of them. */
  private isStolen = false;

  /** @param slicesMax the latest so many of its slices count. */
  constructor(
    private readonly windowMs: number,
    private readonly slicesMax = Number.POSITIVE_INFINITY,
  ) {}

  /** What was reported by now is of none of its slices. */
  skip(reports: readonly Report[]): void {
    this.before = new Map(
      reports.map(({ proxy, counts, stolenMs = null }) => [
        proxy,
        { counts: counts ?? {}, stolenMs },
      ]),
    );
    this.isStolen = false;
  }

  take(reports: readonly Report[], atMs: number): Latency {
    const added: Counts = {};
    let { isStolen } = this;
    for (const { proxy, counts, stolenMs = null } of reports) {
      const before = this.before.get(proxy);
      for (const [bucket, n] of Object.entries((before && counts) ?? {})) {
        const more = n - (before?.counts[bucket] ?? 0);
        if (more > 0) added[bucket] = (added[bucket] ?? 0) + more;
      }
      const stolenBefore = before?.stolenMs ?? null;
      isStolen ||= stolenMs !== null && stolenBefore !== null && stolenMs > stolenBefore;
    }
    this.skip(reports);
    if (Object.keys(added).length > 0) this.steps.push({ atMs, counts: added, isStolen });
    // Who was late then is told of with the next report.
    else this.isStolen = isStolen;
    this.steps = this.steps.filter((step) => step.atMs > atMs - this.windowMs);
    return {
      p99Ms: median(ownOf(this.slices().slice(0, this.slicesMax))),
      transactions: this.steps.reduce((sum, { counts }) => sum + totalOf(counts), 0),
      ageMs: ageOf(reports),
    };
  }

  /** The p99 of each slice, the latest first. What is too little for one at the end has none. */
  private slices(): Slice[] {
    const found: Slice[] = [];
    let slice: Step | null = null;
    for (const { atMs, counts, isStolen } of this.steps.toReversed()) {
      const p99Ms = slice && p99Of(slice.counts);
      if (slice && p99Ms !== null && atMs <= slice.atMs - SLICE_MS) {
        found.push({ p99Ms, isStolen: slice.isStolen });
        slice = null;
      }
      slice ??= { atMs, counts: {}, isStolen: false };
      slice.isStolen ||= isStolen;
      for (const [bucket, n] of Object.entries(counts)) {
        slice.counts[bucket] = (slice.counts[bucket] ?? 0) + n;
      }
    }
    const p99Ms = slice && p99Of(slice.counts);
    return !slice || p99Ms === null ? found : [...found, { p99Ms, isStolen: slice.isStolen }];
  }
}

interface Slice {
  p99Ms: number;
  isStolen: boolean;
}

/** The p99s of those of which nothing was stolen; of all, if there is none. */
function ownOf(slices: readonly Slice[]): number[] {
  const own = slices.filter(({ isStolen }) => !isStolen);
  return (own.length > 0 ? own : slices).map(({ p99Ms }) => p99Ms);
}

/** Of the report that is the oldest, milliseconds; 0 where no proxy reports. */
export function ageOf(reports: readonly Report[]): number {
  return Math.max(0, ...reports.map(({ ageMs }) => ageMs));
}

const totalOf = (counts: Counts) => Object.values(counts).reduce((a, b) => a + b, 0);

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
