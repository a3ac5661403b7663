import { forgetCheckpoint } from '../backfill/checkpoint.js';
import { runBackfill } from '../backfill/engine.js';
import { type BackfillJob, DEFAULT_THROTTLE } from '../backfill/job.js';
import type { Progress } from '../backfill/progress.js';
import { type Connection, transaction } from '../db/connect.js';
import { leavesOf, readTree } from '../db/tree.js';
import { printExpression } from '../sql/rules.js';
import { type Context, stopIfAborted } from './context.js';
import { sides } from './sides.js';
import { type Migration, reload, saveProgress } from './store.js';

/** What the engine is to fill: every change of the migration in one pass. Pure. */
export function backfillJob(migration: Migration): BackfillJob {
  const { plan } = migration;
  const all = sides(plan, 'before');
  return {
    migrationId: migration.id,
    migration: migration.name,
    table: plan.table,
    set: all.map((side) => ({ column: side.follow, value: printExpression(side.forward) })),
    pending: all.map((side) => `NOT ${side.holds('')}`).join(' OR '),
    silenceTriggers: plan.silenceTriggers,
  };
}

/** How far the fill of a partitioned table is; saved with the migration's progress. */
export interface PartsFilled {
  /** oids of the partitions that are in order: nothing that is written to them can change that. */
  done: number[];
  /** The one of which there is a checkpoint. */
  current: number | null;
  /** Rows that were filled in those that are done. */
  rows: number;
}

const NOTHING: PartsFilled = { done: [], current: null, rows: 0 };

/** Fills the table, or its partitions one after another; returns when all are filled. */
export async function fill(context: Context, migration: Migration): Promise<void> {
  const job = backfillJob(migration);
  if (!migration.plan.parts) await run(context, migration, job, (progress) => progress);
  else await fillParts(context, migration, job);
  stopIfAborted(context);
}

async function run(
  context: Context,
  migration: Migration,
  job: BackfillJob,
  shown: (progress: Progress) => object,
): Promise<Progress | null> {
  const { connection, metrics, signal, url } = context;
  const settings = async () => {
    const now = await reload(connection, migration.id);
    return { ...DEFAULT_THROTTLE, ...(now ?? migration).settings };
  };
  let saved = -PROGRESS_MS;
  let last: Progress | null = null;
  const engine = runBackfill({ url, job, settings, metrics, signal });
  for (let item = await engine.next(); ; item = await engine.next()) {
    if (item.done) return last;
    last = item.value;
    if (performance.now() - saved < PROGRESS_MS) continue;
    saved = performance.now();
    await saveProgress(connection, migration.id, { backfill: shown(item.value) });
  }
}

/** How often the progress is saved for people, milliseconds. */
const PROGRESS_MS = 500;

/**
 * Partitions that come meanwhile are found at the end of each; those that go are passed over. What
 * is done and what the checkpoint is of are saved in the transaction that takes the last away.
 */
async function fillParts(context: Context, migration: Migration, job: BackfillJob): Promise<void> {
  const { connection } = context;
  const now = (await reload(connection, migration.id)) ?? migration;
  let filled = (now.progress.parts as PartsFilled | undefined) ?? NOTHING;
  const become = async (next: PartsFilled) => {
    await transaction(connection, async () => {
      await saveProgress(connection, migration.id, { parts: next });
      await forgetCheckpoint(connection, migration.id);
    });
    filled = next;
  };
  for (;;) {
    stopIfAborted(context);
    const leaves = await readLeaves(connection, migration);
    const due = leaves.filter(({ oid }) => !filled.done.includes(oid));
    const leaf = due.find(({ oid }) => oid === filled.current) ?? due[0];
    if (!leaf) return;
    if (leaf.oid !== filled.current) await become({ ...filled, current: leaf.oid });
    const table = { oid: leaf.oid, schema: leaf.schema, name: leaf.name };
    const shown = (progress: Progress) => partProgress(progress, leaves, filled);
    // Whatever is written to one that is empty now is in order.
    const last =
      leaf.blocks === 0 ? null : await runPart(context, migration, { ...job, table }, shown);
    stopIfAborted(context);
    const rows = filled.rows + (last?.rowsFilled ?? 0);
    await become({ done: [...filled.done, leaf.oid], current: null, rows });
  }
}

/** A partition that was dropped meanwhile has nothing more to be filled. */
async function runPart(
  context: Context,
  migration: Migration,
  job: BackfillJob,
  shown: (progress: Progress) => object,
): Promise<Progress | null> {
  try {
    return await run(context, migration, job, shown);
  } catch (error) {
    const { rows } = await context.connection.query('SELECT FROM pg_class WHERE oid = $1', [
      job.table.oid,
    ]);
    if (rows.length > 0) throw error;
    return null;
  }
}

interface Leaf {
  oid: number;
  schema: string;
  name: string;
  /** Length of its file. */
  blocks: number;
}

async function readLeaves(connection: Connection, migration: Migration): Promise<Leaf[]> {
  const leaves = leavesOf(await readTree(connection, migration.plan.table.oid));
  const { rows } = await connection.query(
    `SELECT oid::int8 AS oid, coalesce(pg_catalog.pg_relation_size(oid)
       / pg_catalog.current_setting('block_size')::bigint, 0)::float8 AS blocks
     FROM unnest($1::oid[]) AS u(oid)`,
    [leaves.map(({ oid }) => oid)],
  );
  const blocks = new Map<number, number>(rows.map((row) => [Number(row.oid), row.blocks]));
  return leaves.map((leaf) => ({ ...leaf, blocks: blocks.get(leaf.oid) ?? 0 }));
}

/** The progress of one partition as that of the whole table. Pure. */
export function partProgress(
  progress: Progress,
  leaves: readonly { oid: number; name: string; blocks: number }[],
  filled: PartsFilled,
): Progress & { partition: string } {
  const sum = (those: typeof leaves) => those.reduce((all, { blocks }) => all + blocks, 0);
  const isDone = ({ oid }: { oid: number }) => filled.done.includes(oid);
  const others = leaves.filter(({ oid }) => oid !== filled.current);
  const number = leaves.filter(isDone).length + 1;
  const name = leaves.find(({ oid }) => oid === filled.current)?.name ?? '';
  const blocksDone = sum(others.filter(isDone)) + progress.blocksDone;
  const blocksTotal = sum(others) + progress.blocksTotal;
  const left = progress.blocksTotal - progress.blocksDone;
  const { etaSeconds } = progress;
  return {
    ...progress,
    blocksDone,
    blocksTotal,
    ratio: blocksTotal === 0 ? 1 : Math.min(1, blocksDone / blocksTotal),
    rowsFilled: filled.rows + progress.rowsFilled,
    etaSeconds:
      etaSeconds === null || left <= 0 ? null : (etaSeconds / left) * (blocksTotal - blocksDone),
    partition: `${name}, ${number} of ${leaves.length}`,
  };
}
