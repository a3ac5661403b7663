import { type Expression, printExpression, quoteIdentifier as q } from '../sql/rules.js';
import type { Plan, PlannedChange } from './plan.js';

/** Before cutover the source leads and the shadow follows; after it the shadow leads. */
export type Moment = 'before' | 'after';

/**
 * One change seen at one moment: which column leads, which follows, and what is true of a row in
 * order. From this one value come the rules for the proxies, the guard, the backfill and the
 * proof, so that they cannot disagree. `prefix` is put before column names: '' or `NEW.`.
 */
export interface Side {
  change: PlannedChange;
  leads: string[];
  follow: string;
  forward: Expression;
  backward: { lead: string; value: Expression } | null;
  /** SQL, never NULL: true of a row in order. */
  holds: (prefix: string) => string;
  /** SQL: true of a row whose lead has no counterpart in the old type; null: cannot be. */
  misfit: ((prefix: string) => string) | null;
  /** SQL: true when two values of the follow column have the same bytes. */
  sameFollow: (a: string, b: string) => string;
  /** SQL: true when no lead column differs between two rows. */
  sameLeads: (a: string, b: string) => string;
}

/**
 * Equality on which a proof can rest. Where equal values have equal bytes (btree `equalimage`) it
 * is IS NOT DISTINCT FROM; elsewhere, and for types without equality (json), it is the record
 * image operator `*=`: 1.0 and 1.00, or two spellings in citext, are not the same.
 * Source: PostgreSQL documentation, "Row and Array Comparisons", "Row Constructor Comparison".
 */
export function same(a: string, b: string, equalImage: boolean): string {
  return equalImage
    ? `(${a} IS NOT DISTINCT FROM ${b})`
    : `(ROW(${a})::record OPERATOR(pg_catalog.*=) ROW(${b})::record)`;
}

/**
 * Whether a value is NULL, in the words that mean the same for every type: `IS NULL` is also true of
 * a composite value of which all fields are NULL, and `IS NOT NULL` false where one is. PostgreSQL
 * makes the same of it that it looks for when a valid CHECK is to prove SET NOT NULL.
 * Source: `make_nulltest_from_distinct` in parse_expr.c, `NotNullImpliedByRelConstraints` in tablecmds.c.
 */
export const isNull = (value: string): string => `${value} IS NOT DISTINCT FROM NULL`;
export const isSet = (value: string): string => `${value} IS DISTINCT FROM NULL`;

/** Renames the columns of an expression. */
export function renamed(expression: Expression, name: (column: string) => string): Expression {
  return { texts: expression.texts, columns: expression.columns.map(name) };
}

/** The name, at a moment, of a column that the plan's expressions name as it was before. */
export function nameAt(plan: Plan, moment: Moment): (column: string) => string {
  const names = new Map<string, string>();
  for (const { source, shadow } of plan.changes) {
    if (source) names.set(source.before, source[moment]);
    names.set(shadow.before, shadow[moment]);
  }
  return (column) => names.get(column) ?? column;
}

const over = (expression: Expression, prefix: string) =>
  `(${printExpression(expression, (column) => `${prefix}${q(column)}`)})`;

export function sides(plan: Plan, moment: Moment): Side[] {
  const name = nameAt(plan, moment);
  return plan.changes.map((change) => {
    const up = renamed(change.up, name);
    if (moment === 'before') return beforeSide(change, up);
    if (change.source === null) return derivedSide(change, up);
    return afterSide(change, up);
  });
}

function upIsTrue(change: PlannedChange, up: Expression, shadow: string, prefix: string): string {
  const { type } = change.shadow.rule;
  return same(`${prefix}${q(shadow)}`, `${over(up, prefix)}::${type}`, change.shadow.equalImage);
}

/** The lead columns are compared byte by byte: which type each has need not be known. */
function sameColumns(columns: string[]): Side['sameLeads'] {
  return (a, b) =>
    columns.map((column) => same(`${a}${q(column)}`, `${b}${q(column)}`, false)).join(' AND ') ||
    'true';
}

function beforeSide(change: PlannedChange, up: Expression): Side {
  const follow = change.shadow.before;
  const leads = [...new Set(up.columns)];
  const backward =
    change.kind === 'rename' && change.down
      ? { lead: change.source!.before, value: change.down }
      : null;
  return {
    change,
    leads,
    follow,
    forward: up,
    backward,
    holds: (prefix) => upIsTrue(change, up, follow, prefix),
    misfit: null,
    sameFollow: (a, b) => same(`${a}${q(follow)}`, `${b}${q(follow)}`, change.shadow.equalImage),
    sameLeads: sameColumns(leads),
  };
}

/** An added column after cutover is the application's own: it is only filled where it is missing. */
function derivedSide(change: PlannedChange, up: Expression): Side {
  const side = beforeSide(change, up);
  return { ...side, follow: change.shadow.after };
}

function afterSide(change: PlannedChange, up: Expression): Side {
  const source = change.source!;
  const lead = change.shadow.after;
  const follow = source.after;
  const down = change.down!;
  const downIsTrue = (prefix: string) =>
    same(`${prefix}${q(follow)}`, `${over(down, prefix)}::${source.rule.type}`, source.equalImage);
  const rename = change.kind === 'rename';
  return {
    change,
    leads: [lead],
    follow,
    forward: down,
    backward: { lead, value: up },
    // A row that was there before cutover is true by up, one written since by down: a lossy
    // change (lower(email)) has both.
    holds: (prefix) =>
      rename
        ? downIsTrue(prefix)
        : `(${downIsTrue(prefix)} OR ${upIsTrue(change, up, lead, prefix)})`,
    misfit: rename
      ? null
      : (prefix) => `(${isNull(`${prefix}${q(follow)}`)} AND ${isSet(`${prefix}${q(lead)}`)})`,
    sameFollow: (a, b) => same(`${a}${q(follow)}`, `${b}${q(follow)}`, source.equalImage),
    sameLeads: (a, b) => same(`${a}${q(lead)}`, `${b}${q(lead)}`, change.shadow.equalImage),
  };
}
