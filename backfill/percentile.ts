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

/** What the transactions of some time were. */
export interface Latency {
  /** The median of its slices' p99s, milliseconds; null: of too few transactions nothing can be said. */
  p99Ms: number | null;
  transactions: number;
  /** So many there are, and so many of which nothing was stolen; the oldest that counts is so old, milliseconds. */
  slices: { all: number; own: number; sinceMs: number };
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

export const totalOf = (counts: Counts) => Object.values(counts).reduce((a, b) => a + b, 0);

/** Of the report that is the oldest, milliseconds; 0 where no proxy reports. */
export function ageOf(reports: readonly Report[]): number {
  return Math.max(0, ...reports.map(({ ageMs }) => ageMs));
}
