import Table from 'cli-table3';
import ms from 'ms';
import {
  describeCompared,
  describePace,
  describeProgress,
  describeReason,
  describeShares,
  percent,
  type Told,
} from '../backfill/words.js';
import type { Failing } from '../migration/failures.js';
import type { Plan, Settings } from '../migration/plan.js';
import { tableName } from '../migration/plan.js';
import { sides } from '../migration/sides.js';
import type { HistoryEntry, Migration } from '../migration/store.js';
import { verificationOf } from '../migration/verification.js';
import { printExpression } from '../sql/rules.js';

/** A plan for people. */
export function describePlan(name: string, plan: Plan, settings: Settings): string {
  const lines = [`Migration ${name} of ${plan.table.schema}.${plan.table.name}`, ''];
  for (const change of plan.changes) {
    lines.push(`  ${change.action}`);
    const { source, shadow } = change;
    const type = source ? `${source.rule.type} -> ${shadow.rule.type}` : shadow.rule.type;
    lines.push(`    type           ${type}`);
    lines.push(`    new from old   ${printExpression(change.up)}`);
    if (change.down) {
      const back = change.downFunction?.body ?? change.down;
      lines.push(`    old from new   ${printExpression(back)}`);
    }
    lines.push(`    until cutover  ${shadow.before}, written with every write of the table`);
    if (source && source.after !== source.before) {
      lines.push(`    after cutover  ${source.after} keeps the old values until it is complete`);
    }
  }
  for (const index of plan.indexes) lines.push(`  index ${index.name} is made anew`);
  lines.push('', '  1. expand: add the new columns, hidden, and the guard');
  lines.push('  2. write both, and wait for every proxy and every older transaction');
  lines.push(`  3. backfill, stopping at ${ms(settings.maxLagMs)} of replication lag`);
  lines.push('  4. verify: the database validates, for every row,');
  for (const side of sides(plan, 'before')) {
    lines.push(`       CHECK (${side.holds('')})`);
  }
  const when = settings.cutover === 'auto' ? 'as soon as it is ready' : 'when you say so';
  lines.push(`  5. cutover, ${when}: pgtandem cutover ${name}`);
  const soak =
    settings.cutover === 'auto'
      ? `for ${ms(settings.soakMs)}, then complete`
      : `until you say pgtandem complete ${name}`;
  lines.push(
    `  6. soak: old and new are both written ${soak}; until then pgtandem revert goes back`,
  );
  for (const warning of plan.warnings) lines.push('', `  warning: ${warning}`);
  return `${lines.join('\n')}\n`;
}

/** One line for each migration. */
export function describeList(migrations: Migration[]): string {
  if (migrations.length === 0) return 'No migrations.\n';
  const table = new Table({
    head: ['name', 'table', 'phase', 'progress', 'since'],
    style: { head: [], border: [] },
  });
  for (const migration of migrations) {
    const { schema, name } = migration.plan.table;
    table.push([
      migration.name,
      `${schema}.${name}`,
      migration.phase.name + (migration.paused === null ? '' : ' (paused)'),
      progressText(migration),
      migration.changedAt.toISOString(),
    ]);
  }
  return `${table.toString()}\n`;
}

const backfillOf = ({ progress }: Migration) => (progress.backfill ?? {}) as Told;

/** In one line: how far, and how long yet or why not. */
function progressText(migration: Migration): string {
  const told = backfillOf(migration);
  if (migration.phase.name !== 'backfilling' || told.ratio === undefined) return '';
  return [percent(told.ratio), describePace(told), describeReason(told)].filter(Boolean).join(', ');
}

/** While it fills, all that is known; later, what the time went to. */
function backfillLines(migration: Migration): string[] {
  const told = backfillOf(migration);
  if (told.ratio === undefined) return [];
  const lines =
    migration.phase.name === 'backfilling' ? describeProgress(told) : [describeShares(told)];
  return lines.filter(Boolean).map((line, i) => `  ${i === 0 ? 'backfill' : '        '}  ${line}`);
}

/** What comparing the rows has found. */
function verifyLines(migration: Migration): string[] {
  const { cleanAt, disagreed, repaired, samples, now } = verificationOf(migration);
  const lines: string[] = [];
  if (now) lines.push(describeCompared(now));
  if (disagreed > 0) {
    lines.push(`${disagreed} rows disagreed, ${repaired} were repaired: ${samples.join(', ')}`);
  }
  if (cleanAt !== null) lines.push(`every row agreed at ${cleanAt}`);
  return lines.map((line, i) => `  ${i === 0 ? 'verify  ' : '        '}  ${line}`);
}

/** A step that fails for what may pass by itself. */
function failingLines({ phase, progress }: Migration): string[] {
  const failing = progress.failing as Failing | null | undefined;
  if (!failing) return [];
  const { times, reason, at, againMs } = failing;
  const often = times === 1 ? 'once' : `${times} times in a row`;
  return [
    `  fails     ${phase.name}: ${reason}`,
    `            ${often}, the last time at ${at}; tried again ${ms(againMs)} after that`,
  ];
}

/** Everything of one migration. */
export function describeMigration(migration: Migration, history: HistoryEntry[]): string {
  const { plan, phase, progress } = migration;
  const lines = [`${migration.name}: ${phase.name}`, `  table     ${tableName(plan)}`];
  for (const change of plan.changes) lines.push(`  change    ${change.action}`);
  if (migration.paused !== null) {
    lines.push(`  paused    ${migration.paused}`);
    lines.push(`            go on with: pgtandem resume ${migration.name}`);
  }
  lines.push(...failingLines(migration));
  lines.push(...backfillLines(migration), ...verifyLines(migration));
  if ('blocker' in phase && phase.blocker) {
    lines.push(`  blocked   ${phase.blocker} (${phase.attempt} attempts)`);
  }
  if ('unfit' in phase && phase.unfit) lines.push(`  no revert ${phase.unfit}`);
  for (const who of (progress.waitingFor as string[] | undefined) ?? []) {
    lines.push(`  waits for ${who}`);
  }
  if (phase.name === 'soaking' && typeof progress.used === 'string') {
    lines.push(`  not yet   ${progress.used}`);
  }
  if (progress.cutoverHoldMs !== undefined) {
    lines.push(`  cutover   statements were held for ${progress.cutoverHoldMs} ms`);
  }
  lines.push(`  guard     ${plan.guard}, ${progress.repairs ?? 0} rows repaired`);
  if (progress.misfits) {
    lines.push(`  misfits   ${progress.misfits} writes did not fit the old type`);
  }
  lines.push('', '  history');
  for (const { at, event, from, to, detail } of history) {
    lines.push(
      `    ${at.toISOString()}  ${from} -> ${to} (${event})${detail ? `: ${detail}` : ''}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** What `--json` prints of a migration; docs/cli.md describes it. */
export function toJson(migration: Migration, history: HistoryEntry[]) {
  const { name, sql, plan, phase, stage, paused, settings, progress } = migration;
  const { table, guard, changes, warnings } = plan;
  return {
    name,
    sql,
    table,
    guard,
    phase,
    stage,
    paused,
    settings,
    progress,
    warnings,
    changes: changes.map(({ kind, action, source, shadow }) => ({
      kind,
      action,
      source: source && { before: source.before, after: source.after },
      shadow: { before: shadow.before, after: shadow.after },
    })),
    history,
  };
}
