import { ageOf, type Counts, type Latency, p99Of, type Report, totalOf } from './percentile.js';

/** A proxy reports every second; what comes within less time, from several, is of one slice. */
const SLICE_MS = 750;

/** What was added, and whether something was stolen meanwhile. */
interface Step {
  atMs: number;
  counts: Counts;
  isStolen: boolean;
}

/** A second, or as much as has transactions enough, and its p99. */
interface Slice extends Step {
  p99Ms: number;
}

/**
 * The transactions of the last seconds, of all proxies together, and the median of the p99s of its
 * slices: a second each, or as many as have transactions enough for a p99. One stall counts for its
 * own slice and no more. Each proxy is counted from its report before, so that one that comes, goes or
 * begins anew adds nothing that is not of now.
 *
 * Slices in which a proxy's machine stood still because its host had other use for it say nothing of the
 * database. In the place of each stands an older one, and they themselves count only where there is none
 * at all. Pure.
 */
export class LatencyWindow {
  private before = new Map<string, { counts: Counts; stolenMs: number | null }>();
  /** What the reports have added, the latest last. */
  private steps: Step[] = [];
  /** Whether something was stolen since the last of them. */
  private isStolen = false;

  /**
   * @param windowMs its slices are of the last so many milliseconds,
   * @param slicesMax and the latest so many of them.
   * @param ownWithinMs so old those may be that stand for others.
   */
  constructor(
    private readonly windowMs: number,
    private readonly slicesMax = Number.POSITIVE_INFINITY,
    private readonly ownWithinMs = windowMs,
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
    this.add(reports, atMs);
    const keptMs = Math.max(this.windowMs, this.ownWithinMs);
    this.steps = this.steps.filter((step) => step.atMs > atMs - keptMs);
    const recent = this.steps.filter((step) => step.atMs > atMs - this.windowMs);
    const latest = slicesOf(recent).slice(0, this.slicesMax);
    const own = latest.some(({ isStolen }) => isStolen)
      ? this.own(atMs).slice(0, latest.length)
      : latest;
    const slices = own.length > 0 ? own : latest;
    const sinceMs = atMs - (slices.at(-1)?.atMs ?? atMs);
    return {
      p99Ms: median(slices.map(({ p99Ms }) => p99Ms)),
      transactions: recent.reduce((sum, { counts }) => sum + totalOf(counts), 0),
      slices: { all: latest.length, own: own.length, sinceMs },
      ageMs: ageOf(reports),
    };
  }

  private add(reports: readonly Report[], atMs: number): void {
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
  }

  private own(atMs: number): Slice[] {
    const steps = this.steps.filter((step) => step.atMs > atMs - this.ownWithinMs);
    return slicesOf(steps).filter(({ isStolen }) => !isStolen);
  }
}

/** The latest first. What is too little for one at the end has none. */
function slicesOf(steps: readonly Step[]): Slice[] {
  const found: Slice[] = [];
  let slice: Step | null = null;
  for (const step of steps.toReversed()) {
    const p99Ms: number | null = slice && p99Of(slice.counts);
    if (slice && p99Ms !== null && step.atMs <= slice.atMs - SLICE_MS) {
      found.push({ ...slice, p99Ms });
      slice = null;
    }
    slice = slice ? together(slice, step) : step;
  }
  const p99Ms = slice && p99Of(slice.counts);
  return !slice || p99Ms === null ? found : [...found, { ...slice, p99Ms }];
}

/** One slice of both, of the time of the later one. */
function together(later: Step, { counts, isStolen }: Step): Step {
  const sum = { ...later.counts };
  for (const [bucket, n] of Object.entries(counts)) sum[bucket] = (sum[bucket] ?? 0) + n;
  return { ...later, counts: sum, isStolen: later.isStolen || isStolen };
}

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
