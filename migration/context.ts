import { type Connection, sqlState, transaction } from '../db/connect.js';
import type { Metrics } from '../metrics/registry.js';
import { blockersOf, unacknowledged } from './drain.js';
import { backoffMs } from './phase.js';
import { type Migration, saveProgress } from './store.js';
import type { Wake } from './wake.js';

/** What the steps of one migration work with. */
export interface Context {
  url: string;
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

/** How long DDL of ours may wait in a lock queue, in which it holds up the application. */
export const LOCK_TIMEOUT_MS = 300;

/**
 * Runs statements in one transaction with a short lock_timeout, again and again until it gets its
 * locks, more and more slowly; shows who is in the way.
 */
export async function runDdl(
  context: Context,
  migration: Migration,
  statements: string[],
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    stopIfAborted(context);
    const { blockers, stop } = watchBlockers(context);
    try {
      await transaction(context.connection, async () => {
        await context.connection.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
        for (const sql of statements) await context.connection.query(sql);
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

/** lock_not_available, or deadlock_detected: someone else is in the way, which passes. */
export function isLockFailure(error: unknown): boolean {
  return ['55P03', '40P01'].includes(sqlState(error) ?? '');
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
