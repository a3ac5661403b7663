import { describeCompared, describeShares } from '../backfill/words.js';
import { type Connection, transaction } from '../db/connect.js';
import { type Member, readTree } from '../db/tree.js';
import type { PartRule } from '../sql/rules.js';
import { learnBaseline } from './baseline.js';
import { acknowledged, type Context, runDdl, showWaiting, stopIfAborted } from './context.js';
import { abortSql, completeSql, expandSql } from './ddl.js';
import { stillThere, writers } from './drain.js';
import { fill, jobsOf } from './filling.js';
import { removeGuardSql } from './guard.js';
import { publishOrder } from './order.js';
import { detachedParts, rulesNow, unknownParts } from './parts.js';
import { backoffMs, type Phase, type PhaseName } from './phase.js';
import { ownName, type Plan, tableName } from './plan.js';
import { publish, publishAgain } from './publish.js';
import { assertShape } from './shape.js';
import { sides } from './sides.js';
import { changeSettings, type Migration, move, reload, saveProgress } from './store.js';
import { attemptSwap, release } from './swap.js';
import { readSituation, whyUsed } from './unused.js';
import { compareRows, noteClean, recheckDue } from './verification.js';
import {
  DisprovedError,
  dropFitsSql,
  makeIndexes,
  proveBefore,
  proveFits,
  withdrawProof,
} from './verify.js';

/** The effect of a phase; returns when the migration has moved on from it, or was told to stop. */
type Step = (context: Context, migration: Migration) => Promise<unknown>;

/** What is done in each phase. Every step may be done again after a crash. */
export const STEPS: Record<PhaseName, Step> = {
  planned: (context, migration) =>
    move(context.connection, migration, 'begun', { name: 'expanding' }),
  expanding,
  'dual-writing': dualWriting,
  backfilling,
  verifying,
  ready,
  'cutting-over': cuttingOver,
  soaking,
  reverting,
  reverted: (context, migration) => waitForRequest(context, migration),
  completing,
  completed: async () => undefined,
  aborting,
  aborted: async () => undefined,
};

async function expanding(context: Context, migration: Migration): Promise<void> {
  const { connection } = context;
  const { plan } = migration;
  let epoch = await publish(connection, migration, 'hide-new');
  for (;;) {
    await acknowledged(context, migration, epoch);
    await assertShape(connection, plan, 'original');
    const expand = (members: readonly Member[]) => expandSql(plan, members);
    if (await runDdl(context, migration, expand, () => allKnown(connection, plan))) break;
    epoch = await transaction(connection, () => publishAgain(connection, [plan.table.oid]));
  }
  await move(connection, migration, 'expanded', { name: 'dual-writing' });
}

/** A partition that is new to the proxies would show what is new in it. */
const allKnown = async (connection: Connection, plan: Plan) =>
  (await unknownParts(connection, plan)) === null;

async function dualWriting(context: Context, migration: Migration): Promise<void> {
  const { connection } = context;
  const epoch = await publish(connection, migration, 'before');
  await acknowledged(context, migration, epoch);
  // What was planned before, and written, may not be committed yet: a backfill would not see it.
  let old = await writers(connection, migration.plan.table.oid);
  while (old.length > 0) {
    stopIfAborted(context);
    await showWaiting(
      context,
      migration,
      old.map((holder) => holder.description),
    );
    await context.wake.wait(200, context.signal);
    old = await stillThere(connection, migration.plan.table.oid, old);
  }
  await showWaiting(context, migration, []);
  // Until here the guard had to repair what was planned before; what it counts from now on is news.
  const counter = `pgtandem.${ownName('repairs', migration.plan.table.oid)}`;
  await connection.query('SELECT setval($1::regclass, 1, false)', [counter]);
  await move(connection, migration, 'drained', { name: 'backfilling', asked: false });
}

async function backfilling(context: Context, migration: Migration): Promise<void> {
  const { connection, log } = context;
  await learnBaseline(context, migration);
  const last = await fill(context, migration);
  const done = { ...last, ratio: 1, rowsLeft: 0, etaSeconds: 0, throttled: null, slowed: null };
  await saveProgress(connection, migration.id, { backfill: done });
  log.info({ migration: migration.name }, `backfill done; ${describeShares(last)}`);
  await move(connection, migration, 'filled', { name: 'verifying', asked: asked(migration) });
}

/** Whether a cutover was asked for before the migration was ready. */
const asked = ({ phase }: Migration) => 'asked' in phase && phase.asked;

/** After so many passes that each left a row wrong, something else is wrong. */
const MAX_PASSES = 3;

/**
 * The database proves every row. Where it finds one that disagrees, the rows are compared and put in
 * order, and it proves again; the constraints are in force meanwhile, so that no new one comes.
 */
async function verifying(context: Context, migration: Migration): Promise<void> {
  const { connection } = context;
  await release(context, migration, 'before');
  await assertShape(connection, migration.plan, 'before');
  let now = migration;
  for (let pass = 1; ; pass++) {
    try {
      await proveBefore(context, now);
      break;
    } catch (error) {
      if (!(error instanceof DisprovedError) || pass > MAX_PASSES) throw error;
      const found = await compareRows(context, now, await jobsOf(context, now), false);
      stopIfAborted(context);
      // Every row is in order, and the proof fails all the same: a NULL where there may be none.
      if (found.disagreed === 0) throw error;
      now = await move(connection, now, 'disproved', now.phase, describeCompared(found));
    }
  }
  await noteClean(context, now);
  await makeIndexes(context, now);
  await move(connection, now, 'proved', { name: 'ready', asked: asked(now) });
}

async function ready(context: Context, migration: Migration): Promise<void> {
  await release(context, migration, 'before');
  if (asked(migration) || migration.settings.cutover === 'auto') {
    const phase: Phase = { name: 'cutting-over', attempt: 0, blocker: null };
    await move(context.connection, migration, 'due', phase);
    return;
  }
  if (await waitForRequest(context, migration, () => recheckDue(context, migration))) return;
  const found = await compareRows(context, migration, await jobsOf(context, migration), true);
  stopIfAborted(context);
  if (found.disagreed === 0) {
    await noteClean(context, migration);
    return;
  }
  await withdrawProof(context, migration);
  const again: Phase = { name: 'verifying', asked: asked(migration) };
  await move(context.connection, migration, 'disproved', again, describeCompared(found));
}

/**
 * Nothing is to be done; an operator's request or changed settings end the waiting.
 * @returns false when `isDue` ended it.
 */
async function waitForRequest(
  context: Context,
  migration: Migration,
  isDue?: () => Promise<boolean>,
): Promise<boolean> {
  const before = JSON.stringify(migration.settings);
  for (;;) {
    stopIfAborted(context);
    const now = await reload(context.connection, migration.id);
    if (JSON.stringify(now?.settings) !== before) return true;
    if (await isDue?.()) return false;
    await context.wake.wait(1_000, context.signal);
  }
}

async function cuttingOver(context: Context, migration: Migration): Promise<void> {
  const phase = migration.phase as Extract<Phase, { name: 'cutting-over' }>;
  const { connection, metrics } = context;
  await release(context, migration, 'before');
  await pauseBetween(context, phase.attempt);
  const result = await attemptSwap(context, migration, 'cutover', (holdMs) => ({
    name: 'soaking',
    since: new Date().toISOString(),
    holdMs,
    unfit: null,
  }));
  const count = (outcome: string) =>
    metrics.count('pgtandem_cutover_attempts_total', { migration: migration.name, outcome });
  if (result.outcome === 'swapped') {
    count('done');
    await saveProgress(connection, migration.id, { cutoverHoldMs: Math.round(result.holdMs) });
  } else if (result.outcome === 'blocked') {
    count('blocked');
    const again: Phase = { ...phase, attempt: phase.attempt + 1, blocker: result.blocker };
    await move(connection, migration, 'blocked', again, result.blocker);
  } else {
    count('failed');
    const again: Phase = { name: 'verifying', asked: true };
    await move(connection, migration, 'disproved', again, result.reason);
  }
}

async function pauseBetween(context: Context, attempt: number): Promise<void> {
  const until = performance.now() + backoffMs(attempt);
  for (let left = until - performance.now(); left > 0; left = until - performance.now()) {
    stopIfAborted(context);
    await context.wake.wait(left, context.signal);
  }
  stopIfAborted(context);
}

async function soaking(context: Context, migration: Migration): Promise<void> {
  const phase = migration.phase as Extract<Phase, { name: 'soaking' }>;
  await release(context, migration, 'after');
  await dropFits(context, migration);
  for (;;) {
    stopIfAborted(context);
    const now = await reload(context.connection, migration.id);
    if (now?.settings.cutover === 'auto') {
      const left = Date.parse(phase.since) + now.settings.soakMs - Date.now();
      const used = left <= 0 ? await stillUsed(context, now) : null;
      if (left <= 0 && used === null) {
        await move(context.connection, migration, 'soaked', { name: 'completing' });
        return;
      }
      if ((now.progress.used ?? null) !== used) {
        await saveProgress(context.connection, migration.id, { used });
      }
      await context.wake.wait(left > 0 ? Math.min(left, 1_000) : USED_MS, context.signal);
    } else {
      await context.wake.wait(1_000, context.signal);
    }
  }
}

/** How often it is looked whether the old name is still used, milliseconds. */
const USED_MS = 2_000;

/** Why the old column can't be dropped yet; null when it can. */
async function stillUsed(context: Context, migration: Migration): Promise<string | null> {
  const { unusedForMs } = migration.settings;
  if (!unusedForMs) return null;
  const situation = await readSituation(context.connection, migration, 'complete');
  return whyUsed(situation, unusedForMs, 'complete');
}

async function dropFits(context: Context, migration: Migration): Promise<void> {
  const { rows } = await context.connection.query(
    `SELECT FROM pg_constraint WHERE conrelid = $1
     AND (conname LIKE '\\_pgtandem\\_fit\\_%' OR conname LIKE '\\_pgtandem\\_not\\_null\\_%')`,
    [migration.plan.table.oid],
  );
  if (rows.length > 0) await runDdl(context, migration, () => dropFitsSql(migration.plan));
}

async function reverting(context: Context, migration: Migration): Promise<void> {
  const phase = migration.phase as Extract<Phase, { name: 'reverting' }>;
  const { connection } = context;
  await release(context, migration, 'after');
  await pauseBetween(context, phase.attempt);
  // What was asked for last counts: a migration that is to go back does not go on of itself.
  await changeSettings(connection, migration.id, { cutover: 'manual' });
  const stay = (unfit: string): Phase => ({
    name: 'soaking',
    since: phase.since,
    holdMs: 0,
    unfit,
  });
  try {
    await assertShape(connection, migration.plan, 'after');
    await proveFits(context, migration);
  } catch (error) {
    if (!(error instanceof DisprovedError)) throw error;
    const reason = await countMisfits(context, migration.plan);
    await move(connection, migration, 'unfit', stay(reason), reason);
    return;
  }
  const result = await attemptSwap(context, migration, 'revert', (holdMs) => ({
    name: 'reverted',
    holdMs,
  }));
  if (result.outcome === 'swapped') {
    await saveProgress(connection, migration.id, { revertHoldMs: Math.round(result.holdMs) });
  } else if (result.outcome === 'blocked') {
    const again: Phase = { ...phase, attempt: phase.attempt + 1, blocker: result.blocker };
    await move(connection, migration, 'blocked', again, result.blocker);
  } else {
    await move(connection, migration, 'unfit', stay(result.reason), result.reason);
  }
}

/** How many values have no counterpart in the old type, for the one who wants to go back. */
async function countMisfits(context: Context, plan: Plan): Promise<string> {
  const parts: string[] = [];
  for (const side of sides(plan, 'after')) {
    if (!side.misfit) continue;
    const { rows } = await context.connection.query(
      `SELECT count(*) AS count FROM ${tableName(plan)}
       WHERE ${side.misfit('')}`,
    );
    const { source, shadow } = side.change;
    parts.push(
      `${rows[0].count} rows hold a ${shadow.after} that does not fit ${source?.rule.type}`,
    );
  }
  return `${parts.join('; ')}: a revert would lose them. Change these values first.`;
}

async function completing(context: Context, migration: Migration): Promise<void> {
  const { connection } = context;
  const { plan } = migration;
  const detached = await partsLeft(connection, plan);
  await runDdl(context, migration, () => [...removeGuardSql(plan), ...dropFitsSql(plan)]);
  await acknowledged(context, migration, await publish(connection, migration, 'hide-old'));
  const { rows } = await connection.query(`SELECT current_setting('server_version_num')::int AS v`);
  await runDdl(context, migration, (members) => completeSql(plan, members, rows[0].v, detached));
  await acknowledged(context, migration, await publishOrder(connection, migration));
  await move(connection, migration, 'cleaned', { name: 'completed' });
}

/** Partitions that were detached with what is ours in them. */
async function partsLeft(connection: Connection, plan: Plan): Promise<PartRule[]> {
  const members = await readTree(connection, plan.table.oid);
  return detachedParts(connection, plan, members, await rulesNow(connection));
}

async function aborting(context: Context, migration: Migration): Promise<void> {
  const { connection } = context;
  const { plan } = migration;
  const detached = await partsLeft(connection, plan);
  await runDdl(context, migration, () => [...removeGuardSql(plan), ...dropFitsSql(plan)]);
  await acknowledged(context, migration, await publish(connection, migration, 'hide-new'));
  await runDdl(context, migration, (members) => abortSql(plan, members, detached));
  await acknowledged(context, migration, await publish(connection, migration, 'none'));
  await move(connection, migration, 'cleaned', { name: 'aborted' });
}
