import { type Connection, sqlState } from '../db/connect.js';
import { hasMembers, type Plan, tableName } from './plan.js';

/** How long DDL of ours may wait in a lock queue, in which it holds up the application. */
export const LOCK_TIMEOUT_MS = 300;

/** How long a VACUUM may be waited for before that, milliseconds. */
const VACUUM_MS = 5_000;

/** The table and its partitions could not all be locked in the time. */
class LateError extends Error {
  override readonly name = 'LateError';
}

/** lock_not_available, or deadlock_detected: someone else is in the way, which passes. */
export function isLockFailure(error: unknown): boolean {
  return error instanceof LateError || ['55P03', '40P01'].includes(sqlState(error) ?? '');
}

/**
 * Takes ACCESS EXCLUSIVE on a table and all of its partitions, in the caller's transaction.
 * lock_timeout is of each lock, and those that were taken are held meanwhile: with many partitions
 * the application would wait for the sum. So the whole of it has the time that one lock has.
 * @throws LateError when the time is over.
 */
export async function lockTable(connection: Connection, plan: Plan): Promise<void> {
  const lock = `LOCK TABLE ${tableName(plan)} IN ACCESS EXCLUSIVE MODE`;
  if (!hasMembers(plan)) {
    await connection.query(lock);
    return;
  }
  await within(connection, plan, LOCK_TIMEOUT_MS, lock);
}

/**
 * Waits, holding up nobody who reads or writes, until no VACUUM is at work on the table or a
 * partition: an autovacuum steps aside only after deadlock_timeout, which is longer than a statement
 * of ours may wait for a lock that holds up the application. To be called shortly before that.
 */
export async function awaitVacuum(connection: Connection, plan: Plan): Promise<void> {
  const { rows } = await connection.query('SELECT pg_catalog.to_regclass($1)::oid::int8 AS oid', [
    tableName(plan),
  ]);
  // One that goes by another name now is for the statements to come to notice.
  if (Number(rows[0].oid) !== plan.table.oid && !hasMembers(plan)) return;
  const lock = `LOCK TABLE ${tableName(plan)} IN SHARE UPDATE EXCLUSIVE MODE`;
  await within(connection, plan, VACUUM_MS, lock);
  await connection.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
}

async function within(connection: Connection, plan: Plan, ms: number, sql: string): Promise<void> {
  const { rows } = await connection.query('SELECT FROM pg_class WHERE oid = $1', [plan.table.oid]);
  // What takes away what is ours goes on without the table.
  if (rows.length === 0) return;
  await connection.query(`SET LOCAL lock_timeout = ${ms}`);
  await connection.query(`SET LOCAL statement_timeout = ${ms}`);
  try {
    await connection.query(sql);
  } catch (error) {
    if (sqlState(error) !== '57014') throw error;
    throw new LateError(`no lock on the table and its partitions within ${ms} ms`);
  }
  await connection.query('SET LOCAL statement_timeout = DEFAULT');
}
