import type { QueryResult } from 'pg';
import { type Connection, sqlState } from '../db/connect.js';
import { type RelationFile, relationFileSql } from '../db/relation.js';
import { quoteIdentifier, quoteLiteral } from '../sql/rules.js';
import { beginPass, blockRange, type Checkpoint, tableOf } from './checkpoint.js';
import { MAX_BLOCKS } from './chunk.js';
import type { BackfillJob } from './job.js';
import { partCondition } from './parts.js';
import { assertTidRangeScan, type PlannerSettings } from './plan.js';
import type { Chunk } from './stretch.js';

/**
 * READ COMMITTED whatever the role's default is: a stricter level fails on every row that the
 * application changed meanwhile, where this one waits for it and looks at its new version.
 */
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE';

export interface Limits {
  /** `lock_timeout`, milliseconds. */
  lockMs: number;
  /** `statement_timeout`, milliseconds. */
  statementMs: number;
}

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
  connection: Connection,
  job: BackfillJob,
  { from, to, relfilenode, part, parts }: Chunk,
  limits: Limits,
  planner: PlannerSettings,
): Promise<Step> {
  const file = relationFileSql(quoteLiteral(tableOf(job)));
  const soFar = `SELECT pg_catalog.pg_stat_get_xact_tuples_hot_updated(${job.table.oid})::float8
    AS stayed, extract(epoch FROM clock_timestamp())::float8 * 1000 AS "atMs"`;
  const update = `${updateOf(job, from, to, partCondition(part, parts))} AND ${isFile(job, relfilenode)}`;
  const results = await several(
    connection,
    `${beginSql(job, limits, planner)} ${soFar}; ${update}; ${soFar}; ${file}`,
  );
  const [before, filled, after, found] = results.slice(-4);
  if (assertTable(job, found!).relfilenode !== relfilenode) {
    await connection.query('ROLLBACK');
    return { kind: 'other-file' };
  }
  const ms = after!.rows[0].atMs - before!.rows[0].atMs;
  const rows = filled!.rowCount ?? 0;
  const stayed = after!.rows[0].stayed - before!.rows[0].stayed;
  return { kind: 'filled', rows, stayed, ms };
}

/** Begins a pass at block 0; the first is 1. */
export function beginNextPass(
  connection: Connection,
  job: BackfillJob,
  pass: number,
  limits: Limits,
): Promise<Checkpoint> {
  return inTransaction(connection, async () => {
    const { relfilenode, blocks: endBlock } = await lockTable(connection, job, limits, {});
    const next = { relfilenode, pass, endBlock };
    const checkpoint = await beginPass(connection, job.migrationId, next);
    await connection.query('COMMIT');
    return checkpoint;
  });
}

/** Finds the planner settings under which a chunk's plan is a TID range scan; see plan.ts. */
export function choosePlan(
  connection: Connection,
  job: BackfillJob,
  checkpoint: Checkpoint,
  limits: Limits,
): Promise<PlannerSettings> {
  const { nextBlock, endBlock } = checkpoint;
  // The largest chunk there can be: a smaller one makes the range only more attractive.
  const update = updateOf(job, nextBlock, Math.min(endBlock, nextBlock + MAX_BLOCKS));
  return inTransaction(connection, async () => {
    await lockTable(connection, job, limits, {});
    const settings = await assertTidRangeScan(connection, job, update);
    await connection.query('COMMIT');
    return settings;
  });
}

/** ONLY, because a child by inheritance has blocks of its own, and a job of its own. */
function updateOf(
  job: BackfillJob,
  from: number,
  to: number,
  condition: string | null = null,
): string {
  const set = job.set.map(({ column, value }) => `${quoteIdentifier(column)} = (${value})`);
  return (
    `UPDATE ONLY ${tableOf(job)} SET ${set.join(', ')} ` +
    `WHERE ${blockRange(from, to)} ${condition === null ? '' : `AND ${condition}`} ` +
    `AND (${job.pending})`
  );
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
function isFile(job: BackfillJob, relfilenode: number): string {
  const table = `${quoteLiteral(tableOf(job))}::regclass`;
  return `${table}::oid = ${job.table.oid} AND pg_catalog.pg_relation_filenode(${table}) = ${relfilenode}`;
}

/**
 * Begins a transaction, takes the lock that an UPDATE takes, and only then reads which file the
 * table has. Whatever gives it another one (VACUUM FULL, CLUSTER, pg_repack, TRUNCATE) needs ACCESS
 * EXCLUSIVE, so that the answer holds until the end of this transaction; read before the lock, it
 * could be outdated by the time the UPDATE runs, and its blocks would be of the new file under the
 * old file's numbers.
 */
async function lockTable(
  connection: Connection,
  job: BackfillJob,
  limits: Limits,
  planner: PlannerSettings,
): Promise<RelationFile> {
  const table = tableOf(job);
  const results = await several(
    connection,
    `${beginSql(job, limits, planner)} LOCK TABLE ONLY ${table} IN ROW EXCLUSIVE MODE;
     ${relationFileSql(quoteLiteral(table))}`,
  );
  return assertTable(job, results.at(-1)!);
}

/** The beginning of a transaction, with the settings that are its own. */
function beginSql(job: BackfillJob, limits: Limits, planner: PlannerSettings): string {
  const local = {
    lock_timeout: limits.lockMs,
    statement_timeout: limits.statementMs,
    // The row locks are released at COMMIT, which then waits neither for the disk nor for a
    // synchronous standby. A crash can lose the last chunks, rows and checkpoint together, and
    // they are filled again. Whoever records later that the fill is complete commits after it in
    // the same WAL, so that record is never there without the rows.
    synchronous_commit: 'off',
    // A policy that hides rows from this role is an error, and not rows that are never filled.
    row_security: 'off',
    // Compiling is for statements of seconds.
    jit: 'off',
    ...(job.silenceTriggers ? { session_replication_role: 'replica' } : {}),
    ...planner,
  };
  const set = Object.entries(local).map(([name, value]) => `SET LOCAL ${name} = ${value};`);
  return `${BEGIN}; ${set.join(' ')}`;
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
