import { forgetCheckpoint } from '../backfill/checkpoint.js';
import { runBackfill } from '../backfill/engine.js';
import { type BackfillJob, DEFAULT_THROTTLE, type ThrottleSettings } from '../backfill/job.js';
import { Pacer } from '../backfill/pace.js';
import type { Progress } from '../backfill/progress.js';
import { SignalWatch } from '../backfill/signals/watch.js';
import { describeProgress, LogPace, type Told } from '../backfill/words.js';
import { type Connection, openerOf, transaction } from '../db/connect.js';
import { leavesOf, readTree } from '../db/tree.js';
import { printExpression } from '../sql/rules.js';
import { type Context, stopIfAborted } from './context.js';
import { LiveSettings } from './live-settings.js';
import { hasMembers } from './plan.js';
import { sides } from './sides.js';
import { type Migration, reload, reloadSettings, saveProgress } from './store.js';

/** What the engine is to fill: every change of the migration in one pass. Pure. */
export function backfillJob(migration: Migration): BackfillJob {
  const { plan } = migration;
  const all = sides(plan, 'before');
  return {
    migrationId: migration.id,
    migration: migration.name,
    table: plan.table,
    namedOid: plan.table.oid,
    set: all.map((side) => ({ column: side.follow, value: printExpression(side.forward) })),
    pending: all.map((side) => `NOT ${side.holds('')}`).join(' OR '),
    silenceTriggers: plan.silenceTriggers,
  };
}

/** The same for each of the relations that have its rows. */
export async function jobsOf(context: Context, migration: Migration): Promise<BackfillJob[]> {
  const job = backfillJob(migration);
  if (!hasMembers(migration.plan)) return [job];
  const leaves = await readLeaves(context.connection, migration);
  return leaves.map(({ oid, schema, name }) => ({ ...job, table: { oid, schema, name } }));
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

/**
 * Fills the table, or its partitions one after another; returns when all are filled.
 * @returns what was told last.
 */
export async function fill(context: Context, migration: Migration): Promise<Told> {
  const job = backfillJob(migration);
  const filling = new Filling(context, migration);
  try {
    if (!hasMembers(migration.plan)) await filling.run(job, (progress) => progress);
    else await fillParts(context, migration, job, filling);
  } finally {
    await filling.close();
  }
  stopIfAborted(context);
  return filling.last;
}

/** How often the progress is saved for people, milliseconds. */
const PROGRESS_MS = 500;
/** The same while the fill stands still or is slowed down for the reason that was saved. */
const SLOWED_MS = 1_000;

/** Runs of the engine, one after another, that are told of as one. */
class Filling {
  last: Told;
  private saved: { atMs: number; reason: string | null } = { atMs: -SLOWED_MS, reason: null };
  private readonly lines = new LogPace();
  private readonly pacer = new Pacer();
  private watch: SignalWatch | null = null;
  private readonly settings: LiveSettings<ThrottleSettings>;

  constructor(
    private readonly context: Context,
    private readonly migration: Migration,
  ) {
    this.last = (migration.progress.backfill ?? {}) as Told;
    this.settings = new LiveSettings(context.connection, () => this.readSettings());
  }

  /** @returns what the engine told last, before `shown` made something else of it. */
  async run(job: BackfillJob, shown: (progress: Progress) => Told): Promise<Progress | null> {
    const { metrics, signal, url, instance } = this.context;
    const settings = () => this.settings.value();
    let own: Progress | null = null;
    const { pacer } = this;
    const spent = this.last.spent ?? null;
    this.watch ??= await SignalWatch.open(openerOf(url, instance), job, metrics);
    const of = { url, instance, job, settings, metrics, signal, spent, pacer, watch: this.watch };
    const engine = runBackfill(of);
    for (let item = await engine.next(); !item.done; item = await engine.next()) {
      own = item.value;
      this.last = shown(own);
      await this.tell(own.throttled?.name ?? null, own.slowed?.name ?? null);
    }
    // Also when it was stopped: what the time went to so far is the next run's to go on with.
    if (signal.aborted) await this.save();
    return own;
  }

  async close(): Promise<void> {
    this.settings.close();
    await this.watch?.close();
  }

  private async readSettings(): Promise<ThrottleSettings> {
    const now = await reloadSettings(this.context.connection, this.migration.id);
    return { ...DEFAULT_THROTTLE, ...(now ?? this.migration.settings) };
  }

  private async tell(throttled: string | null, slowed: string | null): Promise<void> {
    const nowMs = performance.now();
    if (this.lines.isDue(nowMs, throttled)) {
      const text = `backfill ${describeProgress(this.last).join('; ')}`;
      this.context.log.info({ migration: this.migration.name }, text);
    }
    const reason = throttled ?? slowed;
    const isSame = reason !== null && reason === this.saved.reason;
    if (nowMs - this.saved.atMs < (isSame ? SLOWED_MS : PROGRESS_MS)) return;
    this.saved = { atMs: nowMs, reason };
    await this.save();
  }

  private save(): Promise<void> {
    return saveProgress(this.context.connection, this.migration.id, { backfill: this.last });
  }
}

/**
 * Partitions that come meanwhile are found at the end of each; those that go are passed over. What
 * is done and what the checkpoint is of are saved in the transaction that takes the last away.
 */
async function fillParts(
  context: Context,
  migration: Migration,
  job: BackfillJob,
  filling: Filling,
): Promise<void> {
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
    const run = () =>
      filling.run({ ...job, table }, (progress) => partProgress(progress, leaves, filled));
    // Whatever is written to one that is empty now is in order.
    const last = leaf.blocks === 0 ? null : await unlessGone(connection, leaf.oid, run);
    stopIfAborted(context);
    const rows = filled.rows + (last?.rowsFilled ?? 0);
    await become({ done: [...filled.done, leaf.oid], current: null, rows });
  }
}

/** What fails because its partition was dropped meanwhile has nothing more to do: null. */
export async function unlessGone<T>(
  connection: Connection,
  oid: number,
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    const { rows } = await connection.query('SELECT FROM pg_class WHERE oid = $1', [oid]);
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
): Told {
  const sum = (those: typeof leaves) => those.reduce((all, { blocks }) => all + blocks, 0);
  const isDone = ({ oid }: { oid: number }) => filled.done.includes(oid);
  const others = leaves.filter(({ oid }) => oid !== filled.current);
  const number = leaves.filter(isDone).length + 1;
  const name = leaves.find(({ oid }) => oid === filled.current)?.name ?? '';
  const blocksDone = sum(others.filter(isDone)) + progress.blocksDone;
  const blocksTotal = sum(others) + progress.blocksTotal;
  const left = progress.blocksTotal - progress.blocksDone;
  const allLeft = blocksTotal - blocksDone;
  // The rest is taken to be like the rest of this partition.
  const scaled = (value: number | null) =>
    value === null || left <= 0 ? null : (value / left) * allLeft;
  return {
    ...progress,
    blocksDone,
    blocksTotal,
    ratio: blocksTotal === 0 ? 1 : Math.min(1, blocksDone / blocksTotal),
    rowsFilled: filled.rows + progress.rowsFilled,
    rowsLeft: scaled(progress.rowsLeft),
    etaSeconds: scaled(progress.etaSeconds),
    partition: `${name} (${number} of ${leaves.length})`,
  };
}
