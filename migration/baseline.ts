import { LatencyWindow } from '../backfill/latency-window.js';
import type { Report } from '../backfill/percentile.js';
import { reportsSql } from '../backfill/signals/latency.js';
import { type Context, showWaiting, stopIfAborted } from './context.js';
import { changeSettings, type Migration } from './store.js';

const POLL_MS = 250;
const WHAT = 'the application’s transactions, to know its p99 on the table before the backfill';
/** Where no application was seen on the table for so long, there is none. */
const SILENT_MS = 3_000;

/**
 * Learns how long the application's transactions on the table take while nothing is filled yet, and
 * saves it with the settings. It waits for as long as the settings say, because what makes the
 * slowest of a hundred slow comes by the second, however many there are, and so that a stall is in few
 * of the seconds of which the median is; not at all where there is
 * no proxy, and for three seconds where no application uses the table.
 */
export async function learnBaseline(context: Context, migration: Migration): Promise<void> {
  const { connection, log } = context;
  const { learnMs = 0, latencyBaselineMs } = migration.settings;
  // Also null says that it is known: there is to be none.
  if (learnMs <= 0 || latencyBaselineMs !== undefined) return;
  const startedMs = performance.now();
  // What the signal observes later, of a longer time.
  const window = new LatencyWindow(Number.POSITIVE_INFINITY);
  let told = false;
  for (;;) {
    const sinceMs = performance.now() - startedMs;
    const now = await reports(context, migration);
    const { p99Ms, transactions } = window.take(now, performance.now());
    const isSilent = transactions === 0 && sinceMs >= SILENT_MS;
    const isOver = isSilent || (await live(context)) === 0;
    if (isOver || sinceMs >= learnMs) {
      if (told) await showWaiting(context, migration, []);
      const fields = { migration: migration.name, transactions, p99Ms };
      log.info(fields, p99Ms === null ? 'too few transactions to compare with' : 'p99 before');
      if (p99Ms === null) return;
      await changeSettings(connection, migration.id, { latencyBaselineMs: p99Ms });
      return;
    }
    if (!told) await showWaiting(context, migration, [WHAT]);
    told = true;
    await context.wake.wait(POLL_MS, context.signal);
    stopIfAborted(context);
  }
}

async function reports({ connection }: Context, { plan }: Migration): Promise<Report[]> {
  const { rows } = await connection.query(`SELECT ${reportsSql(plan.table.oid)} AS reports`);
  return rows[0].reports;
}

async function live({ connection }: Context): Promise<number> {
  const { rows } = await connection.query(
    'SELECT count(*)::int AS n FROM pgtandem.proxy WHERE lease_until > clock_timestamp()',
  );
  return rows[0].n;
}
