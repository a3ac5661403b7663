import type { QueryResult } from 'pg';
import { type Connection, sqlState } from '../db/connect.js';
import { type RelationFile, relationFileSql } from '../db/relation.js';
import { quoteIdentifier, quoteLiteral } from '../sql/rules.js';
import { beginPass, type Checkpoint, tableOf } from './checkpoint.js';
import type { BackfillJob } from './job.js';
import { partCondition } from './parts.js';
import { assertTidRangeScan } from './plan.js';
import type { Limits, PlannerSettings, Session } from './session.js';
import type { Chunk } from './stretch.js';

export interface Filled {
  rows: number;
  /** So many of them have their new version in the block of the old one (HOT). */
  stayed: number;
  /** What the UPDATE took, without the round trip. */
  ms: number;
}

export type Step =
  | ({ kind: 'filled' } & Filled)
  /** The table has another file than the one that the chunk is of. */
  | { kind: 'other-file' };

/**
 * Fills a chunk; the caller commits it with the checkpoint (`advance`). So the rows and the
 * checkpoint are there both or neither, whatever is killed, and a chunk that is filled twice finds
 * nothing to do the second time. Of a stretch in parts only the last, which takes whatever is still
 * pending, counts for the checkpoint's block; the rows of those before it are counted as they come.
 *
 * Blocks beyond the pass's end need no visit: every row version that was written since the pass
 * began is in order already (the strong invariant: writers dual-write before the first pass), no
 * matter where it was put. For the same reason a row that moves behind the checkpoint is not lost.
 * @returns with the transaction open where it was filled, and with none where there is another file.
 * @throws DatabaseError; `retryableState` tells those that pass by themselves.
 */
export async function fillChunk(
  session: Session,
  { from, to, relfilenode, part, parts }: Chunk,
  limits: Limits,
  planner: PlannerSettings,
): Promise<Step> {
  const { connection, job } = session;
  const text = updateOf(job, partCondition(part, parts));
  const update = await session.prepared(text, UPDATE_TYPES, limits, planner);
  const state = await session.prepared(stateOf(job), '', limits, planner);
  const results = await several(
    connection,
    `${noteOf(job)} ${session.beginSql(limits, planner)} EXECUTE ${state};
     EXECUTE ${update} ('(${from},0)', '(${to},0)', ${relfilenode}); EXECUTE ${state}`,
  );
  const [before, filled, after] = results.slice(-3);
  if (assertTable(job, after!).relfilenode !== relfilenode) {
    await connection.query('ROLLBACK');
    return { kind: 'other-file' };
  }
  const ms = after!.rows[0].atMs - before!.rows[0].atMs;
  const rows = filled!.rowCount ?? 0;
  const stayed = after!.rows[0].stayed - before!.rows[0].stayed;
  return { kind: 'filled', rows, stayed, ms };
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
export function choosePlan(session: Session, limits: Limits): Promise<PlannerSettings> {
  const { connection, job } = session;
  return inTransaction(connection, async () => {
    await lockTable(session, limits);
    const update = { text: updateOf(job), types: UPDATE_TYPES, values: "('(0,0)', '(1,0)', 0)" };
    const settings = await assertTidRangeScan(session, update);
    await connection.query('COMMIT');
    return settings;
  });
}

/** Blocks from and to before, and the file to which they belong. */
const UPDATE_TYPES = '(tid, tid, oid)';

/** ONLY, because a child by inheritance has blocks of its own, and a job of its own. */
function updateOf(job: BackfillJob, condition: string | null = null): string {
  const set = job.set.map(({ column, value }) => `${quoteIdentifier(column)} = (${value})`);
  return (
    `UPDATE ONLY ${tableOf(job)} SET ${set.join(', ')} WHERE ctid >= $1 AND ctid < $2 ` +
    `${condition === null ? '' : `AND ${condition}`} AND (${job.pending}) AND ${isFile(job)}`
  );
}

/** For who sees in pg_stat_activity a chunk at work, whose statements are only told by their names. */
function noteOf(job: BackfillJob): string {
  return `/* fills ${tableOf(job).replaceAll('*/', '* /').replaceAll('/*', '/ *')} */`;
}

/**
 * What is seen before and after the UPDATE. The name is looked up each time: a constant of type regclass
 * would be, in a statement that is prepared, what it was then.
 */
function stateOf(job: BackfillJob): string {
  return `SELECT pg_catalog.pg_stat_get_xact_tuples_hot_updated(${job.table.oid})::float8 AS stayed,
      extract(epoch FROM clock_timestamp())::float8 * 1000 AS "atMs", t.oid::oid AS oid,
      pg_catalog.pg_relation_filenode(t.oid) AS relfilenode
    FROM pg_catalog.to_regclass(${quoteLiteral(tableOf(job))}) AS t (oid)`;
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

/** Several statements in one round trip, with a result each. */
async function several(connection: Connection, sql: string): Promise<QueryResult[]> {
  return (await connection.query(sql)) as unknown as QueryResult[];
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
  const results = await several(
    connection,
    `${session.beginSql(limits, {})} LOCK TABLE ONLY ${table} IN ROW EXCLUSIVE MODE;
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
