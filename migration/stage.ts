import type { ColumnRule, Guard, Pair, PartRule, TableRule } from '../sql/rules.js';
import { type ChildPlan, type NamedTwice, type Plan, planOf } from './plan.js';
import { type Side, sides } from './sides.js';

/**
 * What the proxies are told of a migration's table; saved with the migration, and changed in the
 * transaction that makes it true. A phase has one stage, or passes through several.
 *
 * - `none`: nothing is known of the table.
 * - `hide-new`: the new columns are hidden; nothing is written to them (before they are there,
 *   and before they are taken away).
 * - `before`: the old columns lead, the new ones follow.
 * - `after`: the new columns lead, the old ones follow.
 * - `hide-old`: the old columns are hidden; nothing is written to them.
 * - `ordered`: it is complete, and only the places of the columns are kept (see order.ts).
 */
export interface Stage {
  name: 'none' | 'hide-new' | 'before' | 'after' | 'hide-old' | 'ordered';
  /** Whether statements on the table wait. */
  held: boolean;
  /** The epoch at which the stage was entered. */
  version: number;
  /** Of `ordered`: the table's columns now, and their names in the order that is shown. */
  order?: Order;
}

/** Columns of a table as they lie, and as they are shown. */
export interface Order {
  columns: ColumnRule[];
  visible: string[];
  /** The same of the children by inheritance. */
  children?: { oid: number; columns: ColumnRule[]; visible: string[] }[];
}

/**
 * The rule of a plan's table at a stage, with its children's columns under the names that they had.
 * Pure. @returns null when there is none.
 */
export function tableRule(plan: Plan, migration: string, stage: Stage): TableRule | null {
  const rule = ownRule(plan, migration, stage);
  if (!rule || !plan.children) return rule;
  const parts = plan.children.flatMap((child) => childRule(plan, child, stage) ?? []);
  return { ...rule, parts };
}

function childRule(plan: Plan, child: ChildPlan, stage: Stage): PartRule | null {
  const order = stage.order?.children?.find(({ oid }) => oid === child.oid);
  if (stage.name === 'ordered' && !order) return null;
  const { oid, schema, name, columns, visible, views } = ownRule(
    planOf(plan, child),
    '',
    order ? { ...stage, order } : stage,
  )!;
  return { oid, schema, name, columns, visible, ...(views && { views }) };
}

function ownRule(plan: Plan, migration: string, stage: Stage): TableRule | null {
  if (stage.name === 'none') return null;
  const { oid, schema, name } = plan.table;
  if (stage.name === 'ordered') {
    const { columns, visible } = stage.order!;
    const { version } = stage;
    const rest = { held: false, guard: 'repair', orderOnly: true, pairs: [] } as const;
    return { oid, schema, name, version, ...rest, pairs: [], columns, visible };
  }
  const isAfter = stage.name === 'after' || stage.name === 'hide-old';
  const views = viewsAt(plan, stage.name);
  const watched = [...leaving(plan), ...arriving(plan)];
  return {
    oid,
    schema,
    name,
    version: stage.version,
    held: stage.held,
    guard: guardAt(plan, stage),
    columns: isAfter ? columnsAfter(plan) : columnsBefore(plan),
    visible: isAfter ? visibleAfter(plan) : plan.visible,
    ...(views && { views }),
    ...(watched.length > 0 && { watched }),
    observed: true,
    pairs: stage.name === 'before' || stage.name === 'after' ? pairs(plan, migration, stage) : [],
  };
}

/**
 * After cutover no CHECK can tell an added column that was left out from one that the application
 * means to be so: with guard `reject` nothing holds it, and what would rely on the guard is refused.
 */
function guardAt(plan: Plan, stage: Stage): Guard {
  const isFree = stage.name === 'after' && plan.changes.some(({ source }) => source === null);
  return plan.guard === 'reject' && isFree ? 'none' : plan.guard;
}

function pairs(plan: Plan, migration: string, stage: Stage): Pair[] {
  const moment = stage.name === 'before' ? 'before' : 'after';
  // After cutover an added column is made from what the user's triggers leave of the row, unless the
  // application gives it: were the proxy to give it too, the guard could not tell the two apart.
  const isLeft = ({ change: { source, shadow } }: Side) =>
    moment === 'after' &&
    source === null &&
    shadow.rule.default === null &&
    plan.rowTriggers &&
    plan.guard === 'repair';
  const written = sides(plan, moment).filter((side) => !isLeft(side));
  return written.map((side) => ({
    name: plan.changes.length === 1 ? migration : `${migration}.${side.change.shadow.after}`,
    follow: side.follow,
    forward: side.forward,
    backward: side.backward,
    everyUpdate: moment === 'before' && plan.everyUpdate,
  }));
}

/**
 * What `*` is on either side while both can be had; null where that is the same. What a column is
 * called counts, not its type: there is one column of that name, for both sides.
 */
function viewsAt(plan: Plan, stage: Stage['name']): TableRule['views'] | null {
  if (stage !== 'before' && stage !== 'after') return null;
  const old = plan.visible;
  const hidden = new Set(
    plan.changes.flatMap(({ shadow }) => (shadow.before === shadow.after ? [] : [shadow.after])),
  );
  const fresh = visibleAfter(plan).filter(
    (name) => stage === 'after' || old.includes(name) || !hidden.has(name),
  );
  return fresh.join('\0') === old.join('\0') ? null : { old, new: fresh };
}

/** Names that applications may use now, and not any more when the migration is complete. Pure. */
export function leaving(plan: Plan): string[] {
  const after = visibleAfter(plan);
  const kept = plan.changes.flatMap(({ source }) =>
    source && source.before === source.after ? [source.before] : [],
  );
  return [...new Set(kept)].filter((name) => !after.includes(name));
}

/** Names that applications may use before the cutover, and not any more after an abort. Pure. */
export function arriving(plan: Plan): string[] {
  return plan.changes.flatMap(({ shadow }) =>
    shadow.before === shadow.after && !plan.visible.includes(shadow.after) ? [shadow.after] : [],
  );
}

/** A column that follows has no default and may be NULL: what it holds is what it is given. */
function following(rule: ColumnRule, name: string): ColumnRule {
  return { ...rule, name, default: null, defaultVolatile: false, notNull: false };
}

/** The new columns are among them before they are there: a `*` is spelled out in time. */
function columnsBefore(plan: Plan): ColumnRule[] {
  const shadows = plan.changes.map(({ shadow }) => following(shadow.rule, shadow.before));
  return [...plan.columns, ...shadows];
}

function columnsAfter(plan: Plan): ColumnRule[] {
  const sources = new Map(
    plan.changes.flatMap(({ source }) => (source ? [[source.before, source]] : [])) as [
      string,
      NamedTwice,
    ][],
  );
  const kept = plan.columns.map((column) => {
    const source = sources.get(column.name);
    return source ? following(column, source.after) : column;
  });
  return [...kept, ...plan.changes.map(({ shadow }) => ({ ...shadow.rule, name: shadow.after }))];
}

/** As on a table that was altered directly: in the old place, an added column last. */
export function visibleAfter(plan: Plan): string[] {
  const shadowOf = new Map<string, string>();
  for (const { source, shadow } of plan.changes)
    if (source) shadowOf.set(source.before, shadow.after);
  const added = plan.changes.filter(({ source }) => source === null);
  return [
    ...plan.visible.map((name) => shadowOf.get(name) ?? name),
    ...added.map(({ shadow }) => shadow.after),
  ];
}
