import type { List, Node } from 'libpg-query';
import { insertCells } from './cells.js';
import { type Constants, constantFor, constantsOf } from './constants.js';
import { insertOnce } from './once.js';
import { type Addition, additionsTo, assigned, fallbackOf, impliedDefault } from './pairs.js';
import { addParts, insertedInParts, twinsOf } from './parts.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import type { PreparedPair } from './prepared.js';
import { type Cell, hasParts, type Layout, listColumns, type Rows } from './rows.js';

/** Adds the other column of each pair to the rows of a VALUES list. */
export function insertValues(plan: Plan, layout: Layout, lists: readonly Node[]): boolean {
  const rows = readRows(plan, layout, lists);
  try {
    return addToRows(plan, layout, rows, lists);
  } catch (error) {
    if (!(error instanceof Unsure) || error.reason !== 'volatile') throw error;
    if (layout.parts.size > 0) throw new Unsure('indirection');
  }
  if (!hasParts(layout)) {
    try {
      return insertOnce(plan, layout, rows);
    } catch (error) {
      if (!(error instanceof Unsure)) throw error;
      // A row without a type can stay where it is there.
      const isTried = error.reason === 'volatile' && lists.length > 1;
      if (!isTried && error.reason !== 'row') throw error;
    }
  }
  return insertCells(plan, layout, rows, lists);
}

/** The rows of a VALUES list. One that does not fit the columns is an error of the server's. */
function readRows(plan: Plan, layout: Layout, lists: readonly Node[]): Rows {
  const { source } = plan;
  source.expect(layout.from, 'values');
  const rows: Rows = { cells: [], spans: [], end: 0 };
  let open = layout.from + 1;
  for (const node of lists) {
    const items = ('List' in node ? node.List.items : undefined) ?? [];
    source.expect(open, '(');
    const spans = source.items(open + 1);
    if (spans.length !== items.length) throw new Unsure('shape');
    if (items.some(isStar)) throw new Unsure('star');
    if (items.length !== layout.columns.length) throw new Wrong('as many values as columns');
    rows.cells.push(
      items.map((item, i) => {
        if (!('SetToDefault' in item)) return plan.copy(spans[i]!, item);
        const { table, columns, parts } = layout;
        // A part has no default: the server says so.
        if (parts.has(i)) return 'default';
        const value = impliedDefault(table, columns[i]!, (column) => columns.includes(column));
        if (!value) return 'default';
        plan.replace(source.start(spans[i]!.first), source.end(spans[i]!.last), value);
        items[i] = value.node;
        return value;
      }),
    );
    rows.spans.push(spans);
    const close = source.close(open);
    rows.end = source.end(close);
    open = close + 2;
  }
  return rows;
}

/** What stands for several values, or none. */
export function isStar(node: Node): boolean {
  if ('A_Indirection' in node) {
    return (node.A_Indirection.indirection ?? []).some((part) => 'A_Star' in part);
  }
  return 'ColumnRef' in node && (node.ColumnRef.fields ?? []).some((field) => 'A_Star' in field);
}

/**
 * @param constants of the pairs whose constants are given as such, in a row of VALUES.
 * @throws Unsure when a value cannot be written twice.
 */
export function additionsFor(
  layout: Layout,
  cells: readonly Cell[],
  constants?: ReadonlyMap<PreparedPair, Constants>,
): Addition[] {
  const { table, columns, parts } = layout;
  const twins = twinsOf(layout, parts);
  const whole = additionsTo({
    table,
    kind: 'insert',
    isGiven: (column) => columns.includes(column) || twins.has(column),
    value: (column) => {
      const inParts = insertedInParts(layout, cells, column);
      if (inParts) return inParts;
      const cell = cells[columns.indexOf(column)];
      if (!cell || cell === 'default') return fallbackOf(table, column);
      return assigned(table, column, cell);
    },
    constant: (pair) => {
      const known = constants?.get(pair);
      const cell = known && cells[columns.indexOf(known.lead)];
      return cell && cell !== 'default' ? constantFor(known, cell) : null;
    },
  });
  return [...addParts(layout, parts, cells), ...whole];
}

/** A column of which parts are given is no constant. */
function constantsIn({ table, parts }: Layout): Map<PreparedPair, Constants> {
  const found = parts.size > 0 ? [] : table.pairs.map((pair) => [pair, constantsOf(table, pair)]);
  return new Map(found.filter((each): each is [PreparedPair, Constants] => each[1] !== null));
}

function addToRows(plan: Plan, layout: Layout, rows: Rows, lists: readonly Node[]): boolean {
  const constants = constantsIn(layout);
  const added = rows.cells.map((cells) => additionsFor(layout, cells, constants));
  added.forEach((additions, i) => {
    const list: List = 'List' in lists[i]! ? lists[i].List : {};
    const end = plan.source.end(rows.spans[i]!.at(-1)!.last);
    for (const { value } of additions) {
      plan.insert(end, ', ', value);
      list.items?.push(value.node);
    }
  });
  return listColumns(plan, layout, added[0] ?? []);
}
