import type { QueryResult } from 'pg';
import { type Connection, sqlState } from '../db/connect.js';
import { type RelationFile, relationFileSql } from '../db/relation.js';
import { quoteIdentifier, quoteLiteral } from '../sql/rules.js';
import { advanceSql, anotherFills, beginPass, type Checkpoint, tableOf } from './checkpoint.js';
import type { BackfillJob } from './job.js';
import { partCondition } from './parts.js';
import { assertTidRangeScan } from './plan.js';
import {
  type Limits,
  type PlannerSettings,
  type Session,
  type Statement,
  severalOf,
} from './session.js';
import type { Chunk } from './stretch.js';

export interface Filled {
  rows: number;
  /** So many of them have their new version in the block of the old one (HOT). */
  stayed: number;
  /** What the transaction took but for its commit, without the round trip. */
  ms: number;
  /** The checkpoint as it is then. */
  nextBlock: number;
  rowsFilled: number;
}

export type Step =
  | ({ kind: 'filled' } & Filled)
  /** The table has another file than the one that the chunk is of. */
  | { kind: 'other-file' };

/** Where the checkpoint is when a chunk is filled: in this pass, and before this block everything is. */
export interface Reaches {
  pass: number;
  block: number;
}

/**
 * Fills a chunk and moves the checkpoint on, in one transaction and one round trip: the rows and the
 * checkpoint are there both or neither, whatever is killed, and a chunk that is filled twice finds
 * nothing to do the second time. Of a stretch in parts only the last, which takes whatever is still
 * pending, counts for the checkpoint's block; the rows of those before it are counted as they come.
 *
 * Blocks beyond the pass's end need no visit: every row version that was written since the pass
 * began is in order already (the strong invariant: writers dual-write before the first pass), no
 * matter where it was put. For the same reason a row that moves behind the checkpoint is not lost.
 * @throws DatabaseError; `retryableState` tells those that pass by themselves.
 * @throws Error when the checkpoint is of another pass. The rows are then committed all the same, which does
 *   no harm: they are in order.
 */
export async function fillChunk(
  session: Session,
  { from, to, relfilenode, part, parts }: Chunk,
  { pass, block }: Reaches,
  limits: Limits,
  planner: PlannerSettings,
): Promise<Step> {
  const { job } = session;
  const fill = chunkOf(job, partCondition(part, parts));
  const { rows } = await session.execute(
    [
      { statement: fill, values: `('(${from},0)', '(${to},0)', ${relfilenode})` },
      { statement: checkpointOf(job), values: `(${block}, ${pass}, ${relfilenode})` },
    ],
    { limits, planner, note: noteOf(job) },
  );
  if (rows.length > 0) return { kind: 'filled', ...rows[0] };
  const file = await session.connection.query(relationFileSql(quoteLiteral(tableOf(job))));
  if (assertTable(job, file).relfilenode === relfilenode) throw anotherFills(job.migrationId);
  return { kind: 'other-file' };
}

/** Begins a pass at block 0; the first is 1. */
export function beginNextPass(session: Session, pass: number, limits: Limits): Promise<Checkpoint> {
  const { connection, job } = session;
  return inTransaction(connection, async () => {
    const { relfilenode, blocks: endBlock } = await lockTable(session, limits);
    const next = { relfilenode, pass, endBlock };
    const checkpoint = await beginPass(connection, job.migrationId, next);
    await connection.query('COMMIT');
    return checkpoint;
  });
}

/** Finds the planner settings under which a chunk's plan is a TID range scan; see plan.ts. */
export async function choosePlan(session: Session, limits: Limits): Promise<PlannerSettings> {
  const { connection, job } = session;
  await session.resetPlanner();
  return await inTransaction(connection, async () => {
    await lockTable(session, limits);
    const fill = chunkOf(job, null);
    const settings = await assertTidRangeScan(session, fill, `('(0,0)', '(1,0)', 0)`);
    await connection.query('COMMIT');
    return settings;
  });
}

/**
 * Fills the blocks from $1 to before $2 of the file $3, and leaves in a setting of the transaction how many rows it
 * filled and how many had stayed in their blocks before, which the UPDATE asks for before its first row. ONLY,
 * because a child by inheritance has blocks of its own, and a job of its own.
 * @param condition of the rows; null: all of them.
 */
function chunkOf(job: BackfillJob, condition: string | null): Statement {
  const set = job.set.map(({ column, value }) => `${quoteIdentifier(column)} = (${value})`);
  const text = `WITH before AS MATERIALIZED (SELECT ${hotOf(job)} AS stayed),
    filled AS (UPDATE ONLY ${tableOf(job)} SET ${set.join(', ')}
      WHERE ctid >= $1 AND ctid < $2 AND ${condition ?? 'true'} AND (${job.pending})
        AND (SELECT stayed FROM before) IS NOT NULL AND ${isFile(job)} RETURNING 1)
    SELECT pg_catalog.set_config('pgtandem.filled',
      (SELECT count(*) FROM filled) || ' ' || (SELECT stayed FROM before), true)`;
  return { text, types: '(tid, tid, oid)' };
}

/**
 * Moves the checkpoint on to block $1 of pass $2, and counts what was filled of the file $3. A statement of its own, since
 * triggers AFTER the UPDATE fire at the end of its statement: they are part of what a chunk takes, and
 * while they run no other worker waits for the checkpoint's row.
 */
function checkpointOf(job: BackfillJob): Statement {
  const filled = (n: number) =>
    `pg_catalog.split_part(pg_catalog.current_setting('pgtandem.filled'), ' ', ${n})::bigint`;
  const text = `${advanceSql(String(job.migrationId), '$2', '$1', filled(1))} AND ${isFile(job)}
    RETURNING ${filled(1)}::float8 AS rows, (${hotOf(job)} - ${filled(2)})::float8 AS stayed,
      extract(epoch FROM clock_timestamp() - now())::float8 * 1000 AS ms,
      b.next_block::float8 AS "nextBlock", b.rows_filled::float8 AS "rowsFilled"`;
  return { text, types: '(bigint, integer, oid)' };
}

/** So many of the transaction's new row versions are in the block of the old one. */
function hotOf(job: BackfillJob): string {
  return `pg_catalog.pg_stat_get_xact_tuples_hot_updated(${job.table.oid})`;
}

/** For who sees in pg_stat_activity a chunk at work, whose statements are only told by their names. */
function noteOf(job: BackfillJob): string {
  return `fills ${tableOf(job).replaceAll('*/', '* /').replaceAll('/*', '/ *')}`;
}

/**
 * Runs `work`, which begins a transaction and commits it itself, in as few round trips as it can:
 * on a busy machine each is a wait for two processes to be given the processor.
 */
export async function inTransaction<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // When the connection itself is gone the rollback fails too; the first error is the one to tell.
    await connection.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/**
 * A condition that is asked once in an UPDATE, when it has its lock on the table: whether this is the
 * planned table, with the file to which the blocks belong. Whatever gives it another one (VACUUM
 * FULL, CLUSTER, pg_repack, TRUNCATE) needs ACCESS EXCLUSIVE, so that the answer holds until the end
 * of the transaction; asked before the lock, it could be outdated by the time the rows are read.
 */
function isFile(job: BackfillJob): string {
  const table = `${quoteLiteral(tableOf(job))}::regclass`;
  return `${table}::oid = ${job.table.oid} AND pg_catalog.pg_relation_filenode(${table}) = $3`;
}

/**
 * Begins a transaction, takes the lock that an UPDATE takes, and only then reads which file the
 * table has. Whatever gives it another one (VACUUM FULL, CLUSTER, pg_repack, TRUNCATE) needs ACCESS
 * EXCLUSIVE, so that the answer holds until the end of this transaction; read before the lock, it
 * could be outdated by the time the UPDATE runs, and its blocks would be of the new file under the
 * old file's numbers.
 */
async function lockTable(session: Session, limits: Limits): Promise<RelationFile> {
  const { connection, job } = session;
  const table = tableOf(job);
  const results = await severalOf(
    connection,
    `${session.beginSql(limits)} LOCK TABLE ONLY ${table} IN ROW EXCLUSIVE MODE;
     ${relationFileSql(quoteLiteral(table))}`,
  );
  return assertTable(job, results.at(-1)!);
}

/** @throws Error when the name is another table's now. */
function assertTable(job: BackfillJob, { rows }: QueryResult): RelationFile {
  const file: RelationFile = rows[0];
  if (file.oid !== job.table.oid) {
    throw new Error(
      `${tableOf(job)} is not the table that the migration was planned for (oid ${file.oid}, planned ` +
        `${job.table.oid}): abort the migration and plan it again.`,
    );
  }
  return file;
}

/** lock_not_available, deadlock_detected, query_canceled, serialization_failure. */
const RETRYABLE = new Set(['55P03', '40P01', '57014', '40001']);

/** The SQLSTATE of an error after which the same chunk, smaller and later, can succeed. */
export function retryableState(error: unknown): string | null {
  const state = sqlState(error);
  return state !== undefined && RETRYABLE.has(state) ? state : null;
}
