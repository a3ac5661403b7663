import type { Control } from '../control.js';
import type { Level, ThrottleSettings } from '../job.js';
import { LatencyWindow } from '../latency-window.js';
import { ageOf, type Latency, type Report } from '../percentile.js';
import { since } from '../throttle.js';
import type { CatalogSource, Judged } from './source.js';

/** From which time the percentiles are, milliseconds: long enough for some hundred transactions. */
const WINDOW_MS = 5_000;
/**
 * On average a transaction of the window is half of it old, and its report half a second; what is
 * in the middle of five seconds moves when the third of them has.
 */
const DELAY_MS = WINDOW_MS / 2 + 1_000;
/** For seconds of which the host has stolen something others stand that are no older, milliseconds. */
const OWN_WITHIN_MS = 30_000;
/** A proxy that lives reports every second; from an older report nothing is known. */
const OLD_MS = 5_000;
/** Where the application waits for less than this nobody minds twice as much, milliseconds. */
const FLOOR_MS = 2;

/** What the proxies that live report of the table that applications name. A scalar of type json. */
export function reportsSql(oid: number): string {
  return `(SELECT coalesce(json_agg(json_build_object('proxy', id, 'counts', latency->'${oid}',
      'stolenMs', latency->'stolenMs',
      'ageMs', extract(epoch FROM clock_timestamp() - latency_at) * 1000)), '[]')
    FROM pgtandem.proxy WHERE lease_until > clock_timestamp() AND latency_at IS NOT NULL)`;
}

/**
 * The application's p99 on the table, as all proxies see it, against its own without the backfill.
 * Two signals, since it slows the fill down first, by the median of the last seconds of filling, which is
 * what the baseline is too. It stops it where that did not help, by the last second alone: at once, and
 * for no longer.
 * @param oid of the table that applications name.
 * @param control what the p99 is without the fill; it learns by these reports.
 */
export const latency = (oid: number, control: Control) => [
  source(
    oid,
    'latency',
    'soft',
    (settings) => settings.latencySlow,
    control,
    whileFilling(control),
  ),
  source(oid, 'latency-stop', 'hard', (settings) => settings.latencyStop, control, ofLastSecond()),
];

type Take = CatalogSource<Report[], Latency>['take'];

/** What was seen while it stood still says nothing of the pace at which it was filled. */
function whileFilling(control: Control): Take {
  const window = new LatencyWindow(WINDOW_MS, Number.POSITIVE_INFINITY, OWN_WITHIN_MS);
  const latest = new LatencyWindow(WINDOW_MS);
  let last = window.take([], 0);
  return (reports, atMs) => {
    control.take(reports, atMs);
    const fillingMs = control.fillingMs(atMs);
    if (fillingMs === null) window.skip(reports);
    else last = window.take(reports, fillingMs);
    return { ...last, ageMs: ageOf(reports), live: latest.take(reports, atMs) };
  };
}

function ofLastSecond(): Take {
  // Whoever has made it slow: what stops the fill is to be seen at once.
  const window = new LatencyWindow(WINDOW_MS, 1, 0);
  return (reports, atMs) => window.take(reports, atMs);
}

function source(
  oid: number,
  name: 'latency' | 'latency-stop',
  level: Level,
  limit: (settings: ThrottleSettings) => number | null,
  control: Control,
  take: Take,
): CatalogSource<Report[], Latency> {
  return {
    name,
    level,
    sql: reportsSql(oid),
    wanted: (settings) => settings.latencyBaselineMs !== null && limit(settings) !== null,
    take,
    judge(now, settings) {
      const { latencyBaselineMs: learnedMs, latencyLearnMs } = settings;
      const baseMs = learnedMs ?? Number.NaN;
      const beforeMs = latencyLearnMs === null ? baseMs : control.baselineMs(baseMs);
      // What stops the fill has to be seen to be over while it stands still.
      const isStop = /^(hard|critical)$/.test(settings.levels?.[name] ?? level);
      return judge((isStop && now.live) || now, beforeMs, limit(settings) ?? Number.NaN);
    },
  };
}

function judge({ p99Ms, ageMs, slices }: Latency, beforeMs: number, times: number): Judged[] {
  const delayMs = Math.max(DELAY_MS, slices.sinceMs / 2 + 1_000);
  const common = { subject: 'application', threshold: times, floor: 1, delayMs };
  if (ageMs > OLD_MS) {
    const detail = `a proxy has not told for ${since(ageMs)} how long transactions take`;
    return [{ ...common, observed: null, detail }];
  }
  // Too few transactions: nobody has to wait.
  if (p99Ms === null) return [{ ...common, observed: 0, detail: '' }];
  const baseMs = Math.max(FLOOR_MS, beforeMs);
  const observed = p99Ms / baseMs;
  const detail =
    `the application’s p99 is ${p99Ms.toFixed(1)} ms on this table, ${observed.toFixed(2)} times ` +
    `the ${baseMs.toFixed(1)} ms without the fill (limit ${times})`;
  return [{ ...common, observed, detail }];
}
