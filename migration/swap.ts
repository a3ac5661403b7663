import { transaction } from '../db/connect.js';
import { readTree } from '../db/tree.js';
import { type Context, stopIfAborted, watchBlockers } from './context.js';
import { cutoverSql, revertSql } from './ddl.js';
import { unacknowledged } from './drain.js';
import { awaitVacuum, isLockFailure, LOCK_TIMEOUT_MS, lockTable } from './locks.js';
import { swapPartNames } from './part-indexes.js';
import { unknownParts } from './parts.js';
import type { Event, Phase } from './phase.js';
import { publish, publishStage } from './publish.js';
import { assertShape } from './shape.js';
import { type Migration, move } from './store.js';
import { missingProof } from './verify.js';

/** How long an attempt waits for the proxies to hold the table's statements, milliseconds. */
const HOLD_MS = 1_000;

export type SwapResult =
  | { outcome: 'swapped'; migration: Migration; holdMs: number }
  | { outcome: 'blocked'; blocker: string }
  | { outcome: 'disproved'; reason: string };

/**
 * One attempt at a cutover or a revert. The proxies hold the table's statements; then one
 * transaction takes the table, makes sure that the proof stands, renames, saves the phase and
 * publishes the new rules: it is all true or nothing is. Whatever goes wrong, everyone is
 * released, by a publication here or, after a crash, by the coordinator that comes next.
 */
export async function attemptSwap(
  context: Context,
  migration: Migration,
  direction: 'cutover' | 'revert',
  phase: (holdMs: number) => Phase,
): Promise<SwapResult> {
  const stage = direction === 'cutover' ? 'before' : 'after';
  await stepAside(context, migration);
  const started = performance.now();
  const epoch = await publish(context.connection, migration, stage, true);
  let released = false;
  try {
    const missing = await heldEverywhere(context, migration, epoch);
    if (missing.length > 0) return { outcome: 'blocked', blocker: missing.join(', ') };
    const result = await swapOnce(context, migration, direction, () =>
      phase(performance.now() - started),
    );
    released = result.outcome === 'swapped';
    return result.outcome === 'swapped'
      ? { ...result, holdMs: performance.now() - started }
      : result;
  } finally {
    // After an error at COMMIT the phase tells whether it happened; then the stage is not ours
    // any more, and publishing the old one would be wrong. The next step finds out (SPEC 3).
    if (!released) await release(context, migration, stage);
  }
}

/** Lets autovacuum step aside before anybody waits; who does not is found to block the swap. */
async function stepAside({ connection }: Context, { plan }: Migration): Promise<void> {
  try {
    await transaction(connection, () => awaitVacuum(connection, plan));
  } catch (error) {
    if (!isLockFailure(error)) throw error;
  }
}

async function heldEverywhere(
  context: Context,
  migration: Migration,
  epoch: number,
): Promise<string[]> {
  const deadline = performance.now() + HOLD_MS;
  for (;;) {
    const missing = await unacknowledged(context.connection, epoch, migration.plan.guard);
    const left = deadline - performance.now();
    if (missing.length === 0 || left <= 0) return missing;
    stopIfAborted(context);
    await context.wake.wait(Math.min(left, 20), context.signal);
  }
}

async function swapOnce(
  context: Context,
  migration: Migration,
  direction: 'cutover' | 'revert',
  phase: () => Phase,
): Promise<SwapResult> {
  const { connection } = context;
  const { plan } = migration;
  const { blockers, stop } = watchBlockers(context);
  try {
    return await transaction(connection, async () => {
      await connection.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
      await lockTable(connection, plan);
      const unknown = await unknownParts(connection, plan);
      if (unknown !== null) return { outcome: 'blocked', blocker: unknown } as const;
      await assertShape(connection, plan, direction === 'cutover' ? 'before' : 'after');
      const reason = await missingProof(context, migration, direction);
      if (reason !== null) return { outcome: 'disproved', reason } as const;
      for (const index of plan.parts ? plan.indexes : []) {
        const other = direction === 'cutover' ? index.spare : `${index.spare}_old`;
        await swapPartNames(connection, plan, index, other);
      }
      const members = await readTree(connection, plan.table.oid);
      const statements =
        direction === 'cutover' ? cutoverSql(plan, members) : revertSql(plan, members);
      for (const sql of statements) await connection.query(sql);
      const event: Event = 'swapped';
      const moved = await move(connection, migration, event, phase());
      await publishStage(connection, moved, direction === 'cutover' ? 'after' : 'before', false);
      return { outcome: 'swapped', migration: moved, holdMs: 0 } as const;
    });
  } catch (error) {
    if (!isLockFailure(error)) throw error;
    await stop();
    return { outcome: 'blocked', blocker: [...blockers].join('; ') || 'a lock on the table' };
  } finally {
    await stop();
  }
}

/** Releases a hold, if the migration still is at the stage that was held. */
export async function release(
  context: Context,
  migration: Migration,
  stage: 'before' | 'after',
): Promise<void> {
  await transaction(context.connection, async () => {
    await context.connection.query('SELECT FROM pgtandem.rules FOR UPDATE');
    const { rows } = await context.connection.query(
      'SELECT stage FROM pgtandem.migration WHERE id = $1',
      [migration.id],
    );
    if (rows[0]?.stage.held && rows[0].stage.name === stage) {
      await publishStage(context.connection, migration, stage, false);
    }
  });
}
