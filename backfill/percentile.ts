/** Counts of times by bucket, as the proxies report them; they only grow while a proxy lives. */
export type Counts = Record<string, number>;

/** What one proxy has reported last. */
export interface Report {
  proxy: string;
  /** How old it is, milliseconds. */
  ageMs: number;
  counts: Counts | null;
}

/** What the transactions of some time were. */
export interface Latency {
  /** Milliseconds; null: of too few transactions nothing can be said. */
  p99Ms: number | null;
  transactions: number;
  /** Of the report that is the oldest, milliseconds; 0 where no proxy reports. */
  ageMs: number;
}

/** The same as in proxy/latencies.ts: upper bound of bucket 0, and buckets for each factor of two. */
const FIRST_MS = 0.1;
const PER_OCTAVE = 8;

/** Fewer transactions have no percentile: one of a hundred is the 99th. */
export const TRANSACTIONS_MIN = 100;

/** Upper bound of the bucket in which the 99th percentile is: right to a tenth. */
export function p99Of(counts: Counts): number | null {
  const buckets = Object.entries(counts)
    .map(([bucket, n]) => [Number(bucket), n] as const)
    .sort(([a], [b]) => a - b);
  const transactions = buckets.reduce((sum, [, n]) => sum + n, 0);
  if (transactions < TRANSACTIONS_MIN) return null;
  let left = transactions * 0.99;
  for (const [bucket, n] of buckets) {
    left -= n;
    if (left <= 1e-9) return FIRST_MS * 2 ** (bucket / PER_OCTAVE);
  }
  return null;
}

/**
 * The transactions of the last seconds, of all proxies together. Each is counted from its own report a
 * window ago, so that one that comes or goes takes nothing away from the others. Pure.
 */
export class LatencyWindow {
  private history = new Map<string, { atMs: number; counts: Counts }[]>();

  constructor(private readonly windowMs: number) {}

  take(reports: readonly Report[], atMs: number): Latency {
    const seen = new Map<string, { atMs: number; counts: Counts }[]>();
    const sum: Counts = {};
    for (const { proxy, counts } of reports) {
      const samples = this.history.get(proxy) ?? [];
      samples.push({ atMs, counts: counts ?? {} });
      while (samples.length > 2 && samples[1]!.atMs <= atMs - this.windowMs) samples.shift();
      seen.set(proxy, samples);
      const before = samples[0]!.counts;
      for (const [bucket, n] of Object.entries(counts ?? {})) {
        sum[bucket] = (sum[bucket] ?? 0) + Math.max(0, n - (before[bucket] ?? 0));
      }
    }
    this.history = seen;
    return {
      p99Ms: p99Of(sum),
      transactions: Object.values(sum).reduce((a, b) => a + b, 0),
      ageMs: Math.max(0, ...reports.map(({ ageMs }) => ageMs)),
    };
  }
}
