import type { Node, UpdateStmt } from 'libpg-query';
import { assignOnce } from './assign.js';
import { type Queries, starColumns } from './columns.js';
import { castTo, columnOf, type Fragment } from './fragment.js';
import { Inner, ONCE, placed, refersTo } from './inner.js';
import { type Addition, additionsTo, assigned, fallbackOf } from './pairs.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import { quoteIdentifier } from './rules.js';
import { isRepeatable } from './safety.js';
import { selectOnce } from './select-item.js';
import { readSet, type SetItem, type SetList } from './set-list.js';
import { newValueOfParts, partsTwice } from './set-parts.js';
import { type ByteString, strings } from './tree.js';

/** Adds the other column of each pair to the SET list of an UPDATE. */
export function rewriteUpdate(
  plan: Plan,
  stmt: UpdateStmt,
  table: PreparedTable,
  queries: Queries,
): void {
  const { relation, fromClause = [] } = stmt;
  stmt.targetList ??= [];
  if (!relation) return;
  const name = relation.alias?.aliasname ?? relation.relname ?? '';
  const reads = readColumn([stmt.whereClause, stmt.targetList], table, name, !stmt.fromClause);
  const namesOf = (item: ByteString) => starColumns(fromClause, item, queries);
  const list = { targets: stmt.targetList, relation, limit: null, reads, namesOf };
  rewriteSet(plan, list, table);
}

/** The same for any SET list; what is not certain is left to the guard. */
export function rewriteSet(plan: Plan, list: SetList, table: PreparedTable): void {
  if (table.pairs.length === 0) return;
  try {
    addAssignments(plan, list, table);
  } catch (error) {
    if (error instanceof Unsure) plan.guardWrite(table, error.reason);
    else if (!(error instanceof Wrong)) throw error;
  }
}

/** A column of the table that is read anyway, so that reading it needs no other privilege. */
function readColumn(
  value: unknown,
  table: PreparedTable,
  name: ByteString,
  alone: boolean,
): readonly ByteString[] | null {
  if (typeof value !== 'object' || value === null || 'SubLink' in value) return null;
  if ('ColumnRef' in value) {
    const fields = strings((value.ColumnRef as { fields?: Node[] }).fields);
    const column = fields.at(-1);
    const own = fields.length === 1 ? alone : fields.length === 2 && fields[0] === name;
    if (!own || typeof column !== 'string' || !table.columns.has(column)) return null;
    return fields.map(String);
  }
  for (const child of Object.values(value)) {
    const found = readColumn(child, table, name, alone);
    if (found) return found;
  }
  return null;
}

/** The name by which a subselect among the items is known. */
const selectName = (place: number) => `${ONCE} ${place} of`;

function addAssignments(plan: Plan, list: SetList, table: PreparedTable): void {
  const items = readSet(plan, list, table);
  const inner = new Inner();
  const assignments = assignmentsOf(items);
  const alias = list.relation.alias?.aliasname;
  const path = alias ? [alias] : [table.schema, table.name];
  const parts = partsTwice(table, items, (column) => assignments.has(column));
  const twins = new Set(parts.map(({ column }) => column));
  const whole = additionsTo({
    table,
    kind: 'update',
    isGiven: (column) => assignments.has(column) || twins.has(column),
    value: (column) => {
      const given = assignments.get(column);
      if (given?.item.part) {
        return newValueOfParts(table, column, columnOf(path, column), items);
      }
      if (given) return newValue(table, column, given, items, inner);
      // A generated column is computed after the assignments; its old value is not the new one.
      if (columnOfTable(table, column).rule.generated) throw new Unsure('generated');
      return columnOf(path, column);
    },
  });
  const additions = [...parts, ...whole];
  const reads = columnRead(list, path, inner);
  const end = plan.source.end(items.at(-1)!.span.last);
  const once = additions.filter(({ value }) => refersTo(value.node, ONCE));
  const groups = items.map((_, place) =>
    additions.filter(({ value }) => refersTo(value.node, selectName(place))),
  );
  const grouped = [...once, ...groups.flat()];
  if (new Set(grouped).size !== grouped.length) throw new Unsure('subselect');
  const selects = new Map(
    items.map((item, place) => [item, { name: selectName(place), additions: groups[place]! }]),
  );
  if (grouped.length > 0) {
    list.targets.splice(
      0,
      list.targets.length,
      ...rebuild(plan, items, selects, inner, once, reads, table),
    );
  }
  for (const addition of additions)
    if (!grouped.includes(addition)) append(plan, list, end, addition);
}

function append(plan: Plan, list: SetList, end: number, { column, value, part }: Addition): void {
  plan.insert(end, `, ${quoteIdentifier(column)}`, part?.text ?? '', ' = ', value);
  const indirection = part && { indirection: part.nodes };
  list.targets.push({ ResTarget: { name: column, ...indirection, val: value.node } });
}

interface Given {
  item: SetItem;
  place: number;
}

function assignmentsOf(items: readonly SetItem[]): Map<ByteString, Given> {
  const assignments = new Map<ByteString, Given>();
  for (const item of items) {
    item.columns.forEach((column, place) => {
      const before = assignments.get(column);
      const parts = item.cells.length === 0 && item.form === 'plain';
      if (before && !parts && before.item.cells.length > 0) throw new Wrong('a column twice');
      assignments.set(column, { item: before?.item ?? item, place: before?.place ?? place });
    });
  }
  return assignments;
}

/** The new value of a column that is assigned, as the column holds it. */
function newValue(
  table: PreparedTable,
  column: ByteString,
  { item, place }: Given,
  items: readonly SetItem[],
  inner: Inner,
): Fragment {
  const { rule, type, fallback } = columnOfTable(table, column);
  if (item.form === 'select') {
    if (rule.generated) throw new Unsure('generated');
    const name = selectName(items.indexOf(item));
    const reference = columnOf([name], `${ONCE} ${place + 1}`);
    return castTo(placed(reference, item.select?.starts?.[place]), type);
  }
  const cell = item.cells[place];
  if (!cell) throw new Unsure('indirection');
  if (cell === 'default') {
    if (!rule.defaultVolatile || rule.identity || rule.generated) return fallbackOf(table, column);
    return castTo(inner.output(column, fallback), type);
  }
  if (isRepeatable(cell.node, type.node, table.rule.guard === 'none')) {
    return assigned(table, column, cell);
  }
  if (rule.generated) throw new Unsure('generated');
  if ('RowExpr' in cell.node) throw new Unsure('row');
  return castTo(inner.output(column, cell), type);
}

/** A column of the row: without one the server computes an expression once for all rows. */
function columnRead(list: SetList, path: readonly ByteString[], inner: Inner): Fragment {
  if (list.reads) return columnOf(list.reads.slice(0, -1), list.reads.at(-1)!);
  return columnOf(path, inner.outputs[0]?.column ?? '');
}

/** The items again, with those that are evaluated once as subselects. */
function rebuild(
  plan: Plan,
  items: readonly SetItem[],
  selects: ReadonlyMap<SetItem, { name: ByteString; additions: Addition[] }>,
  inner: Inner,
  once: readonly Addition[],
  reads: Fragment,
  table: PreparedTable,
): Node[] {
  const targets = new Map(items.map((item) => [item, item.targets]));
  if (once.length > 0) {
    const assign = { plan, items, inner, additions: once, reads, table };
    for (const [item, nodes] of assignOnce(assign)) targets.set(item, nodes);
  }
  for (const [item, { name, additions }] of selects) {
    if (additions.length > 0) targets.set(item, selectOnce(plan, item, name, additions));
  }
  return items.flatMap((item) => targets.get(item)!);
}
