import type { Node, SelectStmt } from 'libpg-query';
import { FENCE, PLAIN } from './assign.js';
import { countColumns, targetWidths } from './columns.js';
import { join, joinWith, type Piece } from './edits.js';
import { castTo, columnOf, type Fragment } from './fragment.js';
import { Inner, nowhere, ONCE, placed } from './inner.js';
import { drawnDefault } from './once.js';
import { type Addition, additionsTo, assigned } from './pairs.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable } from './prepared.js';
import { type Layout, listColumns } from './rows.js';
import { quoteIdentifier } from './rules.js';
import { isBuiltIn, isUntyped } from './safety.js';
import { isOpen, isPlain, isResolved, readTargets, type Target } from './select.js';
import type { Source } from './source.js';
import { type ByteString, stringNodes } from './tree.js';
import { additionsFor } from './values.js';

/*
 * INSERT of any query. Where targets can be added to it they are; else it becomes a subselect:
 *
 *   INSERT INTO t (a, id, id_shadow)
 *   SELECT s.*, (s.id::integer)::bigint FROM (client's query OFFSET 0) AS s (a, id)
 *
 * Constants and parameters of its target list take their column's type at the outermost level only,
 * so they are given there. OFFSET 0 keeps a value from being computed for each column.
 */

const ROWS = `${ONCE} rows`;
const columnName = (place: number) => `${ROWS} ${place + 1}`;

export function insertSelect(plan: Plan, layout: Layout, select: SelectStmt): boolean {
  if (select.intoClause) throw new Wrong('INSERT ... SELECT has no INTO');
  const targets = isPlain(select) ? readTargets(plan, select, layout.from) : null;
  checkCount(layout, select);
  const cells = (targets?.targets ?? []).flatMap((target) => (target ? [target.value] : []));
  // A parameter by which rows are sorted is text there, and of its column's type nowhere else.
  const sorted = cells.some(({ node }, place) => 'ParamRef' in node && isResolved(select, place));
  if (targets && isOpen(select) && !sorted && cells.length === targets.targets.length) {
    try {
      return addTargets(plan, layout, select, targets.end, additionsFor(layout, cells));
    } catch (error) {
      if (!(error instanceof Unsure) || error.reason !== 'volatile') throw error;
    }
  }
  if (layout.parts.size > 0) throw new Unsure('indirection');
  return wrap({ plan, layout, select, targets: targets?.targets ?? null, inner: new Inner() });
}

/** @throws Wrong when the query has another number of columns, Unsure when that is not known. */
function checkCount(layout: Layout, select: SelectStmt): void {
  const count = countColumns(select, layout.queries);
  const { length } = layout.columns;
  if (count === null && !layout.stmt.cols) throw new Unsure('star');
  if (count !== null && count !== length) throw new Wrong('as many columns as the list has');
}

function addTargets(
  plan: Plan,
  layout: Layout,
  select: SelectStmt,
  end: number,
  additions: readonly Addition[],
): boolean {
  for (const { value } of additions) {
    plan.insert(end, ', ', value);
    select.targetList?.push({ ResTarget: { val: value.node } });
  }
  return listColumns(plan, layout, additions);
}

interface Wrap {
  plan: Plan;
  layout: Layout;
  select: SelectStmt;
  /** Targets of a plain SELECT; null where there are none. */
  targets: readonly (Target | null)[] | null;
  inner: Inner;
}

function wrap(work: Wrap): boolean {
  const { layout, inner } = work;
  const { columns, table } = layout;
  const outside = literalsOutside(work);
  const places = placesOf(work);
  const isValues = firstOf(work.select).valuesLists !== undefined;
  const given = (place: number): Fragment => {
    const reference = columnOf([ONCE], columnName(place));
    return (
      outside.get(place) ?? (isValues ? nowhere(reference) : placed(reference, places?.[place]))
    );
  };
  const leads: number[] = [];
  const additions = additionsTo({
    table,
    kind: 'insert',
    isGiven: (column) => columns.includes(column),
    value: (column) => {
      const place = columns.indexOf(column);
      if (place < 0) return drawnDefault(table, columns, column, inner);
      const { rule, type } = columnOfTable(table, column);
      if (rule.generated) throw new Unsure('generated');
      const literal = outside.get(place);
      if (literal) return assigned(table, column, literal);
      leads.push(place);
      return castTo(given(place), type);
    },
  });
  if (additions.length === 0) return false;
  inner.sort(table);
  const drawn = inner.outputs.map(({ column }) => ({ column, value: inner.reference(column) }));
  const whole: Fragment = {
    text: `${quoteIdentifier(ONCE)}.*`,
    copies: [],
    node: { ColumnRef: { fields: [...stringNodes([ONCE]), { A_Star: {} }] } },
  };
  const from = placeOf(work.plan, firstOf(work.select).targetList?.[0]);
  const star = isValues ? nowhere(whole) : placed(whole, from);
  const listed = places !== null;
  const values = listed ? columns.map((_, place) => given(place)) : [star];
  // With the star come the defaults that were drawn, in the order in which they were.
  if (listed) values.push(...drawn.map(({ value }) => value));
  values.push(...additions.map(({ value }) => value));
  const named = listed ? columns.length : Math.max(0, ...leads.map((place) => place + 1));
  const names = columns.slice(0, named).map((_, place) => columnName(place));
  const isCounted = listed && isAsked(work);
  const count = isCounted ? countedBy(whole, names, drawn) : null;
  write(work, values, names, count);
  const tree = treeOf(work, values, named);
  if (count) tree.whereClause = count.node;
  layout.stmt.selectStmt = { SelectStmt: tree };
  return listColumns(work.plan, layout, [...drawn, ...additions]);
}

/** Whether it was asked of the server how many columns a target gives. */
function isAsked({ select, layout }: Wrap): boolean {
  const unasked = { ...layout.queries, widthOf: () => null };
  return targetWidths(firstOf(select), unasked).includes(null);
}

/**
 * A condition that is true, and refused with 42601 where the query has by now another number of columns:
 * each that is named would be another one.
 */
function countedBy(
  whole: Fragment,
  names: readonly ByteString[],
  drawn: readonly { value: Fragment }[],
): Fragment {
  const own = names.map((name) => columnOf([ONCE], name));
  const row = [...own, ...drawn.map(({ value }) => value)];
  const list = (items: readonly Fragment[]) => ({ List: { items: items.map(({ node }) => node) } });
  const select = { valuesLists: [list([whole]), list(row)], ...PLAIN };
  const exists = {
    SubLink: { subLinkType: 'EXISTS_SUBLINK' as const, subselect: { SelectStmt: select } },
  };
  const args: Node[] = [{ A_Const: { boolval: { boolval: true } } }, exists];
  return {
    ...join(' WHERE true OR EXISTS (VALUES (', whole, '), (', joinWith(', ', row), '))'),
    node: { BoolExpr: { boolop: 'OR_EXPR', args } },
  };
}

/** The first arm of a set operation, which names the columns. */
function firstOf(select: SelectStmt): SelectStmt {
  let first = select;
  while (first.larg) first = first.larg;
  return first;
}

/** Where the server sees a target, a star that was spelled out too; below 0: nowhere. */
function placeOf(plan: Plan, target: Node | undefined): number | undefined {
  const at = target && 'ResTarget' in target ? target.ResTarget.location : undefined;
  return at ?? (target && plan.spelled.get(target));
}

/** Where the values of each column begin in the text; null when that is not known. */
function placesOf({ plan, layout, select, targets }: Wrap): number[] | null {
  const first = firstOf(select);
  const own = targets ?? (isPlain(first) ? readTargets(plan, first, -1)?.targets : null) ?? [];
  // A star alone is the place of all that it gives.
  if (own.length === 1 && !own[0]) return null;
  const widths = targetWidths(first, layout.queries);
  const starts = own.flatMap((target, i): (number | undefined)[] => {
    if (target?.span) return [plan.source.valueStart(target.span.first)];
    const at = placeOf(plan, first.targetList?.[i]);
    return Array.from({ length: widths[i] ?? 0 }, () => at);
  });
  if (starts.length !== layout.columns.length) return null;
  const places = starts.filter((at) => at !== undefined);
  return places.length === starts.length ? places : null;
}

/** Constants and parameters that have to stand at the outermost level, by their place. */
function literalsOutside(work: Wrap): Map<number, Fragment> {
  const { plan, layout, select, targets } = work;
  const outside = new Map<number, Fragment>();
  const untyped = (targets ?? []).flatMap((target, place) =>
    target && isUntyped(target.value.node) && !isResolved(select, place) ? [{ target, place }] : [],
  );
  if (!targets && isPlain(select) && (select.targetList ?? []).some(isUntypedTarget)) {
    throw new Unsure('star');
  }
  const hasStar = targets?.some((target) => !target?.span) ?? false;
  for (const { target, place } of untyped) {
    if ('CollateClause' in target.value.node) throw new Unsure('collate');
    if (targets && hasStar) castInside(plan, layout, select, targets, place);
    else {
      outside.set(place, target.value);
      if ('ParamRef' in target.value.node) setInside(plan, select, target, place, NULL);
    }
  }
  return outside;
}

function isUntypedTarget(target: Node): boolean {
  const value = 'ResTarget' in target ? target.ResTarget.val : undefined;
  return value !== undefined && isUntyped(value);
}

const NULL: Fragment = { text: 'NULL', copies: [], node: { A_Const: { isnull: true } } };

/** Beside a star a constant is cast where it stands, to its column's type without modifier. */
function castInside(
  plan: Plan,
  layout: Layout,
  select: SelectStmt,
  targets: readonly (Target | null)[],
  place: number,
): void {
  const { columns, table } = layout;
  const stars = targets.filter((target) => target === null).length;
  const first = stars === 0 ? targets.length : targets.indexOf(null);
  if (stars > 1) throw new Unsure('star');
  const column = columns[place < first ? place : columns.length - targets.length + place];
  if (column === undefined || !table.columns.has(column)) throw new Unsure('star');
  const { base, rule } = columnOfTable(table, column);
  const modified = rule.type !== rule.baseType && /^interval/.test(rule.baseType);
  if (!isBuiltIn(base.node) || modified) throw new Unsure('star');
  const target = targets[place]!;
  setInside(plan, select, target, place, castTo(target.value, base));
}

function setInside(
  plan: Plan,
  select: SelectStmt,
  target: Target,
  place: number,
  value: Fragment,
): void {
  const { source } = plan;
  const { span } = target;
  if (!span) throw new Unsure('star');
  plan.move(source.start(span.first), source.end(span.last), value);
  const node = select.targetList?.[place];
  if (node && 'ResTarget' in node) node.ResTarget.val = value.node;
}

function write(
  work: Wrap,
  values: readonly Fragment[],
  names: readonly ByteString[],
  count: Fragment | null,
): void {
  const { plan, layout, select, inner } = work;
  const { source } = plan;
  const drawn = inner.outputs;
  const rows = `${quoteIdentifier(ROWS)}`;
  const list = names.length > 0 ? ` (${names.map(quoteIdentifier).join(', ')})` : '';
  const parts: (ByteString | Piece)[] = ['SELECT ', joinWith(', ', values), ' FROM ('];
  let tail = ` OFFSET 0) AS ${quoteIdentifier(ONCE)}`;
  if (drawn.length > 0) {
    const defaults = drawn.map(({ name, value }) =>
      join(', ', value, ` AS ${quoteIdentifier(name)}`),
    );
    parts.push(`SELECT ${rows}.*`, ...defaults, ' FROM (');
    tail = `) AS ${rows}${list}${tail}`;
  } else tail = `${isLimited(select) ? ')' : ' OFFSET 0)'} AS ${quoteIdentifier(ONCE)}${list}`;
  const end = endOfQuery(source, layout);
  plan.insert(source.start(layout.from), ...parts);
  plan.insert(end, tail, count ?? '');
}

function isLimited(select: SelectStmt): boolean {
  return select.limitCount !== undefined || select.limitOffset !== undefined;
}

function treeOf(work: Wrap, values: readonly Fragment[], named: number): SelectStmt {
  const { select, inner } = work;
  const names = Array.from({ length: named }, (_, place) => columnName(place));
  const colnames = named > 0 ? { colnames: stringNodes(names) } : {};
  const targets = (nodes: readonly Node[]) => nodes.map((val) => ({ ResTarget: { val } }));
  const outer = (subquery: SelectStmt, alias: { aliasname: string; colnames?: Node[] }) => ({
    targetList: targets(values.map(({ node }) => node)),
    fromClause: [{ RangeSubselect: { subquery: { SelectStmt: subquery }, alias } }],
    ...PLAIN,
  });
  if (inner.outputs.length === 0) {
    if (!isLimited(select)) Object.assign(select, FENCE);
    return outer(select, { aliasname: ONCE, ...colnames });
  }
  const star: Node = { ColumnRef: { fields: [...stringNodes([ROWS]), { A_Star: {} }] } };
  const alias = { aliasname: ROWS, ...colnames };
  const middle: SelectStmt = {
    targetList: [
      ...targets([star]),
      ...inner.outputs.map(({ name, value }) => ({ ResTarget: { name, val: value.node } })),
    ],
    fromClause: [{ RangeSubselect: { subquery: { SelectStmt: select }, alias } }],
    ...FENCE,
    op: 'SETOP_NONE',
  };
  return outer(middle, { aliasname: ONCE });
}

/** The byte after the query of an INSERT: before ON CONFLICT, RETURNING or the statement's end. */
function endOfQuery(source: Source, { stmt, from }: Layout): number {
  const conflict = stmt.onConflictClause?.location;
  const limit = conflict === undefined ? source.count : source.indexAt(conflict);
  for (let depth = 0, index = from; ; index++) {
    const word = source.word(index);
    const label = source.word(index - 1) === '.' || source.word(index - 1) === 'as';
    const returning = word === 'returning' && depth === 0 && !label;
    if (index >= limit || word === ';' || returning) return source.end(index - 1);
    if (word === '(' || word === '[') depth++;
    else if ((word === ')' || word === ']') && --depth < 0) return source.end(index - 1);
  }
}
