import type { InsertStmt, SelectStmt } from 'libpg-query';
import { countColumns, type Queries } from './columns.js';
import { joinWith } from './edits.js';
import { insertOnce } from './once.js';
import type { Addition } from './pairs.js';
import { partsOf } from './parts.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import { hasParts, type Layout, listColumns } from './rows.js';
import type { Source } from './source.js';
import { rewriteSet } from './update.js';
import { additionsFor, insertValues } from './values.js';
import { insertSelect } from './wrap.js';

/** Adds the other column of each pair to an INSERT, and the column list where it matters. */
export function rewriteInsert(
  plan: Plan,
  stmt: InsertStmt,
  table: PreparedTable,
  queries: Queries,
): void {
  const layout = layOut(plan.source, stmt, table, queries);
  const implied = !stmt.cols && 'selectStmt' in stmt;
  const count = implied ? countValues(stmt, queries) : null;
  if (implied) layout.columns = table.visible.slice(0, count ?? undefined);
  if (implied && count === null) plan.uncounted = true;
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
    const [column] = table.columns.keys();
    const reads = ['excluded', column ?? ''];
    const { relation } = stmt;
    const targets = conflict.targetList;
    const list = { targets, relation, limit: null, reads, namesOf: () => null };
    rewriteSet(plan, list, table);
  }
}

function layOut(source: Source, stmt: InsertStmt, table: PreparedTable, queries: Queries): Layout {
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
  return { stmt, table, queries, columns, parts: new Map(), afterName, afterList, from: at };
}

/** How many values an INSERT without a column list gives; null when only the server knows. */
function countValues(stmt: InsertStmt, queries: Queries): number | null {
  const select = selectOf(stmt);
  return select ? countColumns(select, queries) : null;
}

function selectOf(stmt: InsertStmt): SelectStmt | undefined {
  const source = stmt.selectStmt;
  return source && 'SelectStmt' in source ? source.SelectStmt : undefined;
}

/** Adds what the pairs need; false when nothing was to be added. */
function addColumns(plan: Plan, layout: Layout): boolean {
  checkColumns(layout);
  layout.parts = partsOf(plan, layout);
  const select = selectOf(layout.stmt);
  if (!select) return addToDefaults(plan, layout);
  const { valuesLists, limitOption, op, ...rest } = select;
  if (valuesLists && Object.keys(rest).length === 0) {
    return insertValues(plan, layout, valuesLists);
  }
  return insertSelect(plan, layout, select);
}

/** What is not an INSERT of whole columns, each once, is the server's or the guard's. */
function checkColumns(layout: Layout): void {
  const { stmt, table, columns } = layout;
  const paired = new Set(table.pairs.flatMap((pair) => [pair.follow, ...pair.forward.columns]));
  if (stmt.override === 'OVERRIDING_USER_VALUE') {
    // It concerns identity columns alone.
    const given = columns.filter((column) => paired.has(column));
    if (given.some((column) => columnOfTable(table, column).rule.identity)) {
      throw new Unsure('overriding');
    }
  }
  if (!hasParts(layout) && new Set(columns).size !== columns.length) {
    throw new Wrong('a column twice');
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
    return insertOnce(plan, layout, { cells: [[]], spans: [[]], end: source.end(from + 1) });
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
