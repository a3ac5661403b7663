import { type Connection, transaction } from '../db/connect.js';
import { type Member, readTree } from '../db/tree.js';
import type { Metrics } from '../metrics/registry.js';
import { blockersOf, unacknowledged } from './drain.js';
import { awaitVacuum, isLockFailure, LOCK_TIMEOUT_MS, lockTable } from './locks.js';
import { backoffMs } from './phase.js';
import { hasMembers } from './plan.js';
import { type Migration, saveProgress } from './store.js';
import type { Wake } from './wake.js';

/** What the steps of one migration work with. */
export interface Context {
  url: string;
  /** The server that it has to lead to, as `instanceOf` names it. */
  instance: string;
  /** For the effects; no one else uses it. */
  connection: Connection;
  /** For looking on while the other waits for a lock. */
  observer: Connection;
  metrics: Metrics;
  log: Log;
  /** Aborted when the migration was paused or moved by someone else, or the process ends. */
  signal: AbortSignal;
  wake: Wake;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The step was told to stop; nothing is wrong. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError';
}

export function stopIfAborted(context: Context): void {
  if (context.signal.aborted) throw new StoppedError('stopped');
}

/** Polls under the notifications: they may be lost with a connection. */
const POLL_MS = 200;

/** Waits until every live proxy has acknowledged an epoch; shows whom it waits for. */
export async function acknowledged(
  context: Context,
  migration: Migration,
  epoch: number,
): Promise<void> {
  let shown = '';
  for (;;) {
    const missing = await unacknowledged(context.connection, epoch, migration.plan.guard);
    if (missing.length === 0) break;
    stopIfAborted(context);
    if (missing.join() !== shown) await showWaiting(context, migration, missing);
    shown = missing.join();
    await context.wake.wait(POLL_MS, context.signal);
  }
  if (shown) await showWaiting(context, migration, []);
}

export async function showWaiting(
  context: Context,
  migration: Migration,
  waitingFor: string[],
): Promise<void> {
  await saveProgress(context.connection, migration.id, { waitingFor });
  if (waitingFor.length > 0) {
    context.log.info({ migration: migration.name, waitingFor }, 'waiting');
  }
}

/**
 * Runs statements in one transaction with a short lock_timeout, again and again until it gets its
 * locks, more and more slowly; shows who is in the way.
 * @param statements what they are of the table and its partitions or children, as these are then.
 * @param may asked under the lock of a table that has any.
 * @returns whether they were run.
 */
export async function runDdl(
  context: Context,
  migration: Migration,
  statements: (members: readonly Member[]) => string[],
  may: () => Promise<boolean> = async () => true,
): Promise<boolean> {
  const { connection } = context;
  const { plan } = migration;
  let done = false;
  await retried(context, migration, LOCK_TIMEOUT_MS, async () => {
    await awaitVacuum(connection, plan);
    if (hasMembers(plan)) await lockTable(connection, plan);
    done = await may();
    if (!done) return;
    const members = await readTree(connection, plan.table.oid);
    for (const sql of statements(members)) await connection.query(sql);
  });
  return done;
}

/** How long a lock may be waited for that holds up neither reading nor writing, milliseconds. */
const PATIENCE_MS = 5_000;

/**
 * The same for a statement that blocks no write, and whose waiting does not either. It waits for
 * longer than deadlock_timeout, after which an autovacuum steps aside for it.
 */
export async function runPatiently(
  context: Context,
  migration: Migration,
  statement: string,
): Promise<void> {
  await retried(context, migration, PATIENCE_MS, async () => {
    await context.connection.query(statement);
  });
}

/** As `runDdl`, for statements that lock single relations and not the whole table. */
export async function runBriefly(
  context: Context,
  migration: Migration,
  statements: string[],
): Promise<void> {
  await retried(context, migration, LOCK_TIMEOUT_MS, async () => {
    for (const sql of statements) await context.connection.query(sql);
  });
}

async function retried(
  context: Context,
  migration: Migration,
  lockTimeoutMs: number,
  work: () => Promise<void>,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    stopIfAborted(context);
    const { blockers, stop } = watchBlockers(context);
    try {
      await transaction(context.connection, async () => {
        await context.connection.query(`SET LOCAL lock_timeout = ${lockTimeoutMs}`);
        await work();
      });
      await stop();
      if (attempt > 0) await showWaiting(context, migration, []);
      return;
    } catch (error) {
      await stop();
      if (!isLockFailure(error)) throw error;
      await showWaiting(context, migration, [...blockers]);
      await context.wake.wait(backoffMs(attempt), context.signal);
    }
  }
}

/** Notes who blocks the work connection, until it is stopped. */
export function watchBlockers(context: Context): {
  blockers: Set<string>;
  stop: () => Promise<void>;
} {
  const blockers = new Set<string>();
  const pid = (context.connection as unknown as { processID: number }).processID;
  let asking: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    asking = asking.then(async () => {
      for (const blocker of await blockersOf(context.observer, pid)) blockers.add(blocker);
    });
    // A lost observer is found when the next step uses it; not knowing a name is no reason to stop.
    asking = asking.catch((error) => {
      context.log.warn({ error: String(error) }, 'can not look up who is in the way');
    });
  }, LOCK_TIMEOUT_MS / 4);
  return {
    blockers,
    stop: async () => {
      clearInterval(timer);
      await asking;
    },
  };
}
