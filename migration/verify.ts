import { sqlState } from '../db/connect.js';
import { leavesOf, readTree } from '../db/tree.js';
import { quoteIdentifier as q } from '../sql/rules.js';
import { type Context, runDdl, runPatiently, stopIfAborted } from './context.js';
import { createIndexSql, dropIndexSql, fitName, notNullProofName } from './ddl.js';
import { proofName, proofSql } from './guard.js';
import { isLockFailure } from './locks.js';
import { makePartIndex } from './part-indexes.js';
import { hasMembers, type Plan, relationName, tableName } from './plan.js';
import { isSet, sides } from './sides.js';
import type { Migration } from './store.js';

/** A proof that failed: some row is not as it should be. */
export class DisprovedError extends Error {
  override readonly name = 'DisprovedError';
}

/** Proves every row of the new columns: the relation, and NOT NULL where a plain ALTER keeps it. */
export async function proveBefore(context: Context, migration: Migration): Promise<void> {
  const { plan } = migration;
  for (const [i, side] of sides(plan, 'before').entries()) {
    await prove(context, migration, proofName(i), proofSql(plan, side, i), true);
  }
  for (const [i, { shadow }] of plan.changes.entries()) {
    if (shadow.rule.notNull) await setNotNull(context, migration, shadow.before, i);
  }
}

/**
 * Makes the proof of the relation count no more: the constraints are there, in force for what is
 * written and not valid, so that no cutover is taken until they have been validated again. A row
 * can break a constraint that is valid when a function in it gives something else than it did.
 */
export async function withdrawProof(context: Context, migration: Migration): Promise<void> {
  const { plan } = migration;
  const statements = sides(plan, 'before').flatMap((side, i) => [
    `ALTER TABLE ${tableName(plan)} DROP CONSTRAINT IF EXISTS ${q(proofName(i))}`,
    proofSql(plan, side, i),
  ]);
  await runDdl(context, migration, () => statements);
}

/** Proves that every value of the new columns has its counterpart in the old ones. */
export async function proveFits(context: Context, migration: Migration): Promise<void> {
  const { plan } = migration;
  for (const [i, side] of sides(plan, 'after').entries()) {
    if (side.change.source === null) continue;
    const misfit = side.misfit ? ` AND NOT ${side.misfit('')}` : '';
    const add =
      `ALTER TABLE ${tableName(plan)} ADD CONSTRAINT ${q(fitName(i))} ` +
      `CHECK (${side.holds('')}${misfit}) NOT VALID`;
    await prove(context, migration, fitName(i), add);
    if (side.change.source.rule.notNull) {
      await proveNotNull(context, migration, side.follow, i);
    }
  }
}

/** Takes away what `proveFits` added. */
export function dropFitsSql(plan: Plan): string[] {
  return plan.changes.flatMap((_, i) =>
    [fitName(i), notNullProofName(i)].map(
      (name) => `ALTER TABLE IF EXISTS ${tableName(plan)} DROP CONSTRAINT IF EXISTS ${q(name)}`,
    ),
  );
}

interface ConstraintState {
  name: string;
  valid: boolean;
}

export async function constraintStates(
  context: Context,
  plan: Plan,
): Promise<Map<string, ConstraintState>> {
  const { rows } = await context.connection.query(
    `SELECT conname AS name, convalidated AS valid FROM pg_constraint WHERE conrelid = $1`,
    [plan.table.oid],
  );
  return new Map(rows.map((row) => [row.name, row]));
}

/**
 * Adds a constraint NOT VALID (a short lock) and validates it (a scan that blocks no write).
 * @param keep whether it stays in force for what is written when a row violates it.
 * @throws DisprovedError when a row violates it.
 */
async function prove(
  context: Context,
  migration: Migration,
  name: string,
  add: string,
  keep = false,
): Promise<void> {
  const { plan } = migration;
  const state = (await constraintStates(context, plan)).get(name);
  if (state?.valid) return;
  if (!state) await runDdl(context, migration, () => [add]);
  try {
    if (hasMembers(plan)) await validateParts(context, migration, name);
    const validate = `ALTER TABLE ${tableName(plan)} VALIDATE CONSTRAINT ${q(name)}`;
    await runPatiently(context, migration, validate);
  } catch (error) {
    if (sqlState(error) !== '23514') throw error;
    if (!keep) {
      await runDdl(context, migration, () => [
        `ALTER TABLE ${tableName(plan)} DROP CONSTRAINT IF EXISTS ${q(name)}`,
      ]);
    }
    throw new DisprovedError((error as Error).message);
  }
}

/**
 * Validates an inherited constraint in one partition or child after another, so that each is locked
 * (against VACUUM and DDL) only while it is read. What the table's own validation finds valid it passes
 * over; a table with children is read with them, so its own turn comes after theirs.
 */
async function validateParts(context: Context, migration: Migration, name: string): Promise<void> {
  const { connection } = context;
  for (;;) {
    const leaves = leavesOf(await readTree(connection, migration.plan.table.oid)).reverse();
    const { rows } = await connection.query(
      `SELECT conrelid::int8 AS oid FROM pg_constraint
       WHERE conrelid = ANY ($1::oid[]) AND conname = $2 AND NOT convalidated`,
      [leaves.map(({ oid }) => oid), name],
    );
    const due = new Set(rows.map((row) => Number(row.oid)));
    const leaf = leaves.find(({ oid }) => due.has(oid));
    if (!leaf) return;
    try {
      const validate = `ALTER TABLE ${relationName(leaf)} VALIDATE CONSTRAINT ${q(name)}`;
      await runPatiently(context, migration, validate);
    } catch (error) {
      // It was dropped meanwhile: the others are looked for again.
      if (sqlState(error) !== '42P01') throw error;
    }
  }
}

async function proveNotNull(
  context: Context,
  migration: Migration,
  column: string,
  ordinal: number,
): Promise<void> {
  const name = notNullProofName(ordinal);
  const table = tableName(migration.plan);
  const add = `ALTER TABLE ${table} ADD CONSTRAINT ${q(name)} CHECK (${isSet(q(column))}) NOT VALID`;
  await prove(context, migration, name, add);
}

/** SET NOT NULL without a scan under lock: a valid CHECK has proved it. */
async function setNotNull(
  context: Context,
  migration: Migration,
  column: string,
  ordinal: number,
): Promise<void> {
  const { plan } = migration;
  const { rows } = await context.connection.query(
    'SELECT attnotnull AS set FROM pg_attribute WHERE attrelid = $1 AND attname = $2',
    [plan.table.oid, column],
  );
  if (rows[0]?.set) return;
  await proveNotNull(context, migration, column, ordinal);
  await runDdl(context, migration, () => [
    `ALTER TABLE ${tableName(plan)} ALTER COLUMN ${q(column)} SET NOT NULL`,
    `ALTER TABLE ${tableName(plan)} DROP CONSTRAINT ${q(notNullProofName(ordinal))}`,
  ]);
}

/**
 * Makes the indexes on the new columns, CONCURRENTLY; one that was left invalid is made anew.
 * Its waiting holds up nobody who reads or writes, so it has no lock_timeout.
 */
export async function makeIndexes(context: Context, migration: Migration): Promise<void> {
  const { plan } = migration;
  for (const index of plan.indexes) {
    if (plan.parts) {
      await makePartIndex(context, migration, index);
      continue;
    }
    for (;;) {
      stopIfAborted(context);
      const state = await indexState(context, plan, index.spare);
      if (state === 'valid') break;
      if (state === 'invalid') await context.connection.query(dropIndexSql(plan, index));
      try {
        const create = createIndexSql(index, plan.table, index.spare);
        for (const sql of create) await context.connection.query(sql);
      } catch (error) {
        if (!isLockFailure(error)) throw error;
        await context.wake.wait(1_000, context.signal);
      }
    }
  }
}

async function indexState(
  context: Context,
  plan: Plan,
  name: string,
): Promise<'missing' | 'valid' | 'invalid'> {
  const { rows } = await context.connection.query(
    `SELECT i.indisvalid AND i.indisready AS valid FROM pg_index i
     JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1 AND c.relname = $2`,
    [plan.table.oid, name],
  );
  if (!rows[0]) return 'missing';
  return rows[0].valid ? 'valid' : 'invalid';
}

/**
 * What of the proof is missing at this instant, asked under the lock of a swap; null when every
 * constraint is valid and every index is there.
 */
export async function missingProof(
  context: Context,
  migration: Migration,
  direction: 'cutover' | 'revert',
): Promise<string | null> {
  const { plan } = migration;
  const states = await constraintStates(context, plan);
  for (const [i, change] of plan.changes.entries()) {
    if (direction === 'revert' && change.source === null) continue;
    const name = direction === 'cutover' ? proofName(i) : fitName(i);
    if (!states.get(name)?.valid) return `constraint ${name} is not there or not valid`;
  }
  if (direction === 'revert') return null;
  for (const index of plan.indexes) {
    const state = await indexState(context, plan, index.spare);
    if (state !== 'valid') return `index ${index.spare} is ${state}`;
  }
  return null;
}
