import type { Connection } from '../db/connect.js';
import { quoteIdentifier } from '../sql/rules.js';
import type { BackfillJob } from './job.js';

/** Where a backfill stands: the row of `pgtandem.backfill`. Blocks are of the table's main fork. */
export interface Checkpoint {
  relfilenode: number;
  /** From 1. */
  pass: number;
  /** Everything before this block is in order, in this file. */
  nextBlock: number;
  /** Blocks that the file had when the pass began. */
  endBlock: number;
  rowsFilled: number;
}

const COLUMNS = `relfilenode, pass, next_block::float8 AS "nextBlock",
  end_block::float8 AS "endBlock", rows_filled::float8 AS "rowsFilled"`;

/** The job's table as SQL writes it, with its schema. */
export function tableOf(job: BackfillJob): string {
  return `${quoteIdentifier(job.table.schema)}.${quoteIdentifier(job.table.name)}`;
}

/** The condition for blocks `from` to before `to`; PostgreSQL makes a TID range scan of it. */
export function blockRange(from: number, to: number): string {
  return `ctid >= '(${from},0)'::tid AND ctid < '(${to},0)'::tid`;
}

/** @returns null when the backfill has not begun. */
export async function readCheckpoint(
  connection: Connection,
  migrationId: number,
): Promise<Checkpoint | null> {
  const { rows } = await connection.query(
    `SELECT ${COLUMNS} FROM pgtandem.backfill WHERE migration_id = $1`,
    [migrationId],
  );
  return rows[0] ?? null;
}

/** Writes the checkpoint of a new pass; keeps the count of rows. Idempotent. */
export async function beginPass(
  connection: Connection,
  migrationId: number,
  { relfilenode, pass, endBlock }: Pick<Checkpoint, 'relfilenode' | 'pass' | 'endBlock'>,
): Promise<Checkpoint> {
  const { rows } = await connection.query(
    `INSERT INTO pgtandem.backfill AS b
       (migration_id, relfilenode, pass, next_block, end_block, rows_filled)
     VALUES ($1, $2, $3, 0, $4, 0)
     ON CONFLICT (migration_id) DO UPDATE SET relfilenode = excluded.relfilenode,
       pass = excluded.pass, next_block = 0, end_block = excluded.end_block,
       changed_at = clock_timestamp()
     RETURNING ${COLUMNS}`,
    [migrationId, relfilenode, pass, endBlock],
  );
  return rows[0];
}

/**
 * An UPDATE of the checkpoint, which more conditions and RETURNING can follow; `b` is its row. It is moved on
 * to a block before which everything is in order, and never back: where several fill, who commits
 * later may have begun with an older view of the others.
 * @param id of the migration; all of them SQL.
 */
export function advanceSql(id: string, pass: string, block: string, rows: string): string {
  return `UPDATE pgtandem.backfill AS b SET next_block = greatest(b.next_block, ${block}),
     rows_filled = b.rows_filled + ${rows}, changed_at = clock_timestamp()
   WHERE b.migration_id = ${id} AND b.pass = ${pass}`;
}

/**
 * Moves the checkpoint on, without rows.
 * @throws Error when it is of another pass.
 */
export async function advance(
  connection: Connection,
  migrationId: number,
  pass: number,
  block: number,
): Promise<Checkpoint> {
  const { rows } = await connection.query(
    `${advanceSql('$1', '$2', '$3', '0')} RETURNING ${COLUMNS}`,
    [migrationId, pass, block],
  );
  if (rows.length === 0) throw anotherFills(migrationId);
  return rows[0];
}

/** Of a checkpoint that is not where this process has left it. */
export function anotherFills(migrationId: number): Error {
  return new Error(
    `The checkpoint of the backfill of migration ${migrationId} was moved meanwhile: another process ` +
      'fills the same table. Start again from the checkpoint, with one coordinator.',
  );
}

/** The next backfill of this migration begins a pass of its own: a proof found a row not in order. */
export async function forgetCheckpoint(connection: Connection, migrationId: number): Promise<void> {
  await connection.query('DELETE FROM pgtandem.backfill WHERE migration_id = $1', [migrationId]);
}
