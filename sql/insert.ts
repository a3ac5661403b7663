import type { InsertStmt, List, Node, SelectStmt } from 'libpg-query';
import { joinWith } from './edits.js';
import { copyOf } from './fragment.js';
import { insertOnce } from './once.js';
import { type Addition, additionsTo, assigned, fallbackOf } from './pairs.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import type { PreparedTable } from './prepared.js';
import type { Cell, Layout, Rows } from './rows.js';
import { quoteIdentifier } from './rules.js';
import { selectRow } from './select.js';
import type { Source, Span } from './source.js';
import { rewriteSet } from './update.js';

/** Adds the other column of each pair to an INSERT, and the column list where it matters. */
export function rewriteInsert(plan: Plan, stmt: InsertStmt, table: PreparedTable): void {
  const layout = layOut(plan.source, stmt, table);
  const implied = !stmt.cols && 'selectStmt' in stmt;
  const count = implied ? countValues(stmt) : null;
  if (implied) layout.columns = table.visible.slice(0, count ?? undefined);
  const tooMany = count !== null && count > table.visible.length;
  const listed = implied && table.hides && (!table.inPlace || tooMany);
  if (implied && !table.inPlace) plan.needed.add(table);
  let added = false;
  try {
    added = table.pairs.length > 0 && addColumns(plan, layout);
  } catch (error) {
    if (error instanceof Unsure) plan.guardWrite(table, error.reason);
    else if (!(error instanceof Wrong)) throw error;
  }
  if (listed && !added) listColumns(plan, layout, []);
  const conflict = stmt.onConflictClause;
  if (conflict?.targetList && stmt.relation) {
    rewriteSet(plan, { targets: conflict.targetList, relation: stmt.relation }, table);
  }
}

function layOut(source: Source, stmt: InsertStmt, table: PreparedTable): Layout {
  let at = source.afterName(source.indexAt(stmt.relation?.location ?? 0));
  if (source.word(at) === 'as') at = source.afterName(at + 1);
  const afterName = source.end(at - 1);
  let afterList: number | null = null;
  if (stmt.cols) {
    source.expect(at, '(');
    const close = source.close(at);
    afterList = source.end(close - 1);
    at = close + 1;
  }
  if (source.word(at) === 'overriding') at += 3;
  const columns = (stmt.cols ?? []).map((node) =>
    'ResTarget' in node ? (node.ResTarget.name ?? '') : '',
  );
  return { stmt, table, columns, afterName, afterList, from: at };
}

/** How many values an INSERT without a column list gives; null when only the server knows. */
function countValues(stmt: InsertStmt): number | null {
  const select = selectOf(stmt);
  const row = select?.valuesLists?.[0];
  if (row && 'List' in row) return row.List.items?.length ?? 0;
  const targets = select?.targetList;
  if (!targets) return null;
  const star = targets.some((target) => {
    const value = 'ResTarget' in target ? target.ResTarget.val : undefined;
    if (!value) return true;
    if ('ColumnRef' in value) return value.ColumnRef.fields?.some((field) => 'A_Star' in field);
    return 'A_Indirection' in value;
  });
  return star ? null : targets.length;
}

function selectOf(stmt: InsertStmt): SelectStmt | undefined {
  const source = stmt.selectStmt;
  return source && 'SelectStmt' in source ? source.SelectStmt : undefined;
}

/** Adds what the pairs need; false when nothing was to be added. */
function addColumns(plan: Plan, layout: Layout): boolean {
  const { stmt } = layout;
  checkColumns(layout);
  const select = selectOf(stmt);
  if (!select) return addToDefaults(plan, layout);
  if (!select.valuesLists) {
    const row = selectRow(plan.source, layout.from, select, layout.columns);
    const additions = additionsFor(layout, row.cells);
    addTargets(plan, select, row.end, additions);
    return listColumns(plan, layout, additions);
  }
  const { valuesLists, limitOption, op, ...rest } = select;
  if (Object.keys(rest).length > 0) throw new Unsure('values');
  const rows = readRows(plan.source, layout, valuesLists);
  try {
    return addToRows(plan, layout, rows, valuesLists);
  } catch (error) {
    if (!(error instanceof Unsure) || error.reason !== 'volatile') throw error;
    return insertOnce(plan, layout, rows);
  }
}

/** What is not an INSERT of whole columns, each once, is the server's or the guard's. */
function checkColumns(layout: Layout): void {
  const { stmt, table, columns } = layout;
  if (stmt.override === 'OVERRIDING_USER_VALUE') throw new Unsure('overriding');
  if (new Set(columns).size !== columns.length) throw new Wrong('a column twice');
  const paired = new Set(table.pairs.flatMap((pair) => [pair.follow, ...pair.forward.columns]));
  for (const node of stmt.cols ?? []) {
    if (!('ResTarget' in node) || !node.ResTarget.indirection) continue;
    if (paired.has(node.ResTarget.name ?? '')) throw new Unsure('indirection');
  }
}

/** The rows of a VALUES list. One that does not fit the columns is an error of the server's. */
function readRows(source: Source, layout: Layout, lists: readonly Node[]): Rows {
  source.expect(layout.from, 'values');
  const rows: Rows = { cells: [], ends: [], end: 0 };
  let open = layout.from + 1;
  for (const node of lists) {
    const items = ('List' in node ? node.List.items : undefined) ?? [];
    source.expect(open, '(');
    const spans = source.items(open + 1);
    if (spans.length !== items.length) throw new Unsure('shape');
    if (items.length !== layout.columns.length) throw new Wrong('as many values as columns');
    rows.cells.push(items.map((item, i) => cellOf(source, item, spans[i]!)));
    rows.ends.push(source.end(spans.at(-1)!.last));
    const close = source.close(open);
    rows.end = source.end(close);
    open = close + 2;
  }
  return rows;
}

function cellOf(source: Source, node: Node, span: Span): Cell {
  return 'SetToDefault' in node ? 'default' : copyOf(source, span, node);
}

/** @throws Unsure when a value cannot be written twice. */
function additionsFor(layout: Layout, cells: readonly Cell[]): Addition[] {
  const { table, columns } = layout;
  return additionsTo({
    table,
    kind: 'insert',
    isGiven: (column) => columns.includes(column),
    value: (column) => {
      const cell = cells[columns.indexOf(column)];
      if (!cell || cell === 'default') return fallbackOf(table, column);
      return assigned(table, column, cell);
    },
  });
}

function addToRows(plan: Plan, layout: Layout, rows: Rows, lists: readonly Node[]): boolean {
  const added = rows.cells.map((cells) => additionsFor(layout, cells));
  added.forEach((additions, i) => {
    const list: List = 'List' in lists[i]! ? lists[i].List : {};
    for (const { value } of additions) {
      plan.insert(rows.ends[i]!, ', ', value);
      list.items?.push(value.node);
    }
  });
  return listColumns(plan, layout, added[0] ?? []);
}

function addTargets(
  plan: Plan,
  select: SelectStmt,
  end: number,
  additions: readonly Addition[],
): void {
  for (const { value } of additions) {
    plan.insert(end, ', ', value);
    select.targetList?.push({ ResTarget: { val: value.node } });
  }
}

/** `DEFAULT VALUES` becomes a VALUES list of what is added; everything else keeps its default. */
function addToDefaults(plan: Plan, layout: Layout): boolean {
  const { source } = plan;
  const { stmt, from } = layout;
  source.expect(from, 'default', 'values');
  let additions: Addition[];
  try {
    additions = additionsFor(layout, []);
  } catch (error) {
    if (!(error instanceof Unsure) || error.reason !== 'volatile') throw error;
    return insertOnce(plan, layout, { cells: [[]], ends: [], end: source.end(from + 1) });
  }
  if (additions.length === 0) return false;
  const values = joinWith(
    ', ',
    additions.map(({ value }) => value),
  );
  plan.replace(source.start(from), source.end(from + 1), 'VALUES (', values, ')');
  const items = additions.map(({ value }) => value.node);
  stmt.selectStmt = {
    SelectStmt: {
      valuesLists: [{ List: { items } }],
      limitOption: 'LIMIT_OPTION_DEFAULT',
      op: 'SETOP_NONE',
    },
  };
  return listColumns(plan, layout, additions);
}

/** Adds names to the column list, or writes one; false when there is nothing to do. */
function listColumns(plan: Plan, layout: Layout, additions: readonly Addition[]): boolean {
  const { stmt, columns, afterList, afterName } = layout;
  const names = additions.map(({ column }) => column);
  if (afterList === null) {
    const all = [...columns, ...names];
    if (additions.length === 0 && !layout.table.hides) return false;
    plan.insert(afterName, ` (${all.map(quoteIdentifier).join(', ')})`);
    stmt.cols = all.map((name) => ({ ResTarget: { name } }));
    return true;
  }
  for (const name of names) {
    plan.insert(afterList, `, ${quoteIdentifier(name)}`);
    stmt.cols?.push({ ResTarget: { name } });
  }
  return true;
}
