import { type Compared, compareTable, NOTHING, together } from '../backfill/compare.js';
import { type BackfillJob, DEFAULT_THROTTLE } from '../backfill/job.js';
import { describeCompared, LogPace } from '../backfill/words.js';
import type { Context } from './context.js';
import { unlessGone } from './filling.js';
import { type Migration, reload, saveProgress } from './store.js';

/** What is known of a migration's rows, for people: `progress.verification`. */
export interface Verification {
  /** When the last pass that found nothing ended; null: none has. */
  cleanAt: string | null;
  /** Of all passes: rows that disagreed, those that were repaired, and keys of the first. */
  disagreed: number;
  repaired: number;
  samples: string[];
  /** The pass that goes on; null: none does. */
  now: Compared | null;
}

/** While a cutover waits, milliseconds. */
export const VERIFY_EVERY_MS = 60 * 60_000;

/** How often a pass is saved for people, milliseconds. */
const SAVE_MS = 500;

const NONE: Verification = { cleanAt: null, disagreed: 0, repaired: 0, samples: [], now: null };

export function verificationOf({ progress }: Pick<Migration, 'progress'>): Verification {
  return { ...NONE, ...(progress.verification as Partial<Verification> | undefined) };
}

async function saved(context: Context, { id }: Migration): Promise<Verification> {
  return verificationOf((await reload(context.connection, id)) ?? { progress: {} });
}

/** All rows have been found to be in order. */
export async function noteClean(context: Context, migration: Migration): Promise<void> {
  const before = await saved(context, migration);
  const verification = { ...before, cleanAt: new Date().toISOString(), now: null };
  await saveProgress(context.connection, migration.id, { verification });
}

/** Whether the rows are to be compared again while nothing else is to be done. */
export async function recheckDue(context: Context, migration: Migration): Promise<boolean> {
  const everyMs = migration.settings.verifyEveryMs ?? VERIFY_EVERY_MS;
  const { cleanAt } = await saved(context, migration);
  // Without a time something was found, and not dealt with yet.
  return everyMs > 0 && (cleanAt === null || Date.now() - Date.parse(cleanAt) >= everyMs);
}

/**
 * Compares the rows of these jobs and, unless it only looks, puts those in order that disagree; tells
 * of it in progress and log. Ends early when the step is told to stop.
 */
export async function compareRows(
  context: Context,
  migration: Migration,
  jobs: readonly BackfillJob[],
  onlyLook: boolean,
): Promise<Compared> {
  const { connection, log, metrics, signal, url, instance } = context;
  const settings = async () => {
    const now = await reload(connection, migration.id);
    return { ...DEFAULT_THROTTLE, ...(now ?? migration).settings };
  };
  const before = await saved(context, migration);
  const save = (found: Compared, now: Compared | null) => {
    const verification: Verification = {
      cleanAt: found.disagreed > 0 ? null : before.cleanAt,
      // What a look has found is counted by the pass that repairs it.
      disagreed: before.disagreed + (onlyLook ? 0 : found.disagreed),
      repaired: before.repaired + found.repaired,
      samples: before.samples.length > 0 ? before.samples : found.samples,
      now,
    };
    return saveProgress(connection, migration.id, { verification });
  };
  const lines = new LogPace();
  let savedMs = Number.NEGATIVE_INFINITY;
  let sum: Compared = NOTHING;
  const compare = async (job: BackfillJob) => {
    const earlier = sum;
    const run = compareTable({ url, instance, job, settings, metrics, signal, onlyLook });
    for (let item = await run.next(); ; item = await run.next()) {
      sum = together(earlier, item.value);
      if (item.done) break;
      const nowMs = performance.now();
      if (lines.isDue(nowMs, sum.waiting?.name ?? null)) {
        log.info({ migration: migration.name }, `verification ${describeCompared(sum)}`);
      }
      if (nowMs - savedMs < SAVE_MS) continue;
      savedMs = nowMs;
      await save(sum, sum);
    }
  };
  for (const job of jobs) {
    await unlessGone(connection, job.table.oid, () => compare(job));
    if (signal.aborted || (onlyLook && sum.disagreed > 0)) break;
  }
  log.info({ migration: migration.name }, `verification ${describeCompared(sum)}`);
  await save(sum, null);
  return sum;
}
