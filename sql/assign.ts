import type { Node, SelectStmt } from 'libpg-query';
import { join, joinWith, type Piece } from './edits.js';
import type { Fragment } from './fragment.js';
import { type Inner, ONCE } from './inner.js';
import type { Addition } from './pairs.js';
import { type Plan, Unsure } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import type { Cell } from './rows.js';
import { quoteIdentifier } from './rules.js';
import { isRepeatable } from './safety.js';
import type { SetItem } from './set-list.js';
import { type ByteString, stringNodes } from './tree.js';

/*
 * Assignments of which the value may be evaluated only once for a row:
 *
 *   SET (id, id_shadow) = (SELECT d.v, (d.v::integer)::bigint
 *                          FROM (VALUES (nextval('s')) OFFSET 0) AS d (v)
 *                          WHERE (t.id IS NULL) IS NOT NULL)
 *
 * The condition is always true: a subselect that reads nothing of the row would be computed once
 * for all rows. Subselects of the client's within the value stay what they are, computed once when
 * they read nothing of the row. VALUES refuses aggregates and sets, as SET does, and OFFSET 0 keeps
 * the planner from writing the value into both columns.
 */

export interface Assign {
  plan: Plan;
  items: readonly SetItem[];
  inner: Inner;
  /** Columns that are made from what is evaluated once. */
  additions: readonly Addition[];
  /** A column of the row. */
  reads: Fragment;
  table: PreparedTable;
}

/** What stands in place of the items that it changes; each is the targets of an item. */
export function assignOnce(assign: Assign): Map<SetItem, Node[]> {
  const { plan, items, inner, additions, reads, table } = assign;
  const moved = (column: ByteString, cell: Cell) => isMoved(column, cell, inner, table);
  const changed = items.filter((item) =>
    item.cells.some((cell, i) => moved(item.columns[i]!, cell)),
  );
  for (const item of changed) {
    item.columns.forEach((column, i) => {
      const cell = item.cells[i]!;
      if (moved(column, cell) && cell !== 'default') inner.output(column, cell);
    });
  }
  inner.sort(table);
  const columns = inner.outputs.map(({ column }) => column);
  const values = [
    ...columns.map((column) => inner.reference(column)),
    ...additions.map(({ value }) => value),
  ];
  const all = [...columns, ...additions.map(({ column }) => column)];
  const select = selectOf(inner, values, reads);
  const group = join(`(${all.map(quoteIdentifier).join(', ')}) = (`, select.text, ')');
  const result = new Map<SetItem, Node[]>();
  for (const item of changed) {
    const first = item === changed[0];
    const kept = item.columns.flatMap((column, i) => {
      const cell = item.cells[i]!;
      return moved(column, cell) ? [] : [{ column, cell }];
    });
    const texts = kept.map(({ column, cell }) => assignmentText(column, cell));
    if (first) texts.unshift(group);
    const nodes = kept.map(({ column, cell }) => assignmentNode(column, cell));
    if (first) nodes.unshift(...multiAssign(all, select.node));
    replaceItem(plan, items, item, texts);
    result.set(item, nodes);
  }
  return result;
}

/** All values that can not be given twice are moved together, so that their order stays. */
function isMoved(column: ByteString, cell: Cell, inner: Inner, table: PreparedTable): boolean {
  if (inner.has(column)) return true;
  const known = table.columns.has(column);
  if (cell === 'default' || !known) return false;
  if (isRepeatable(cell.node, columnOfTable(table, column).type.node, false)) return false;
  // A row without a type takes that of its column only where it stands.
  return !('RowExpr' in cell.node);
}

function assignmentText(column: ByteString, cell: Cell): Piece {
  return join(`${quoteIdentifier(column)} = `, cell === 'default' ? 'DEFAULT' : cell);
}

function assignmentNode(column: ByteString, cell: Cell): Node {
  return {
    ResTarget: { name: column, val: cell === 'default' ? { SetToDefault: {} } : cell.node },
  };
}

/** The targets of `(a, b) = (SELECT ...)`. */
export function multiAssign(columns: readonly ByteString[], select: SelectStmt): Node[] {
  const source: Node = {
    SubLink: { subLinkType: 'EXPR_SUBLINK', subselect: { SelectStmt: select } },
  };
  return columns.map((name, i) => ({
    ResTarget: {
      name,
      val: { MultiAssignRef: { source, colno: i + 1, ncolumns: columns.length } },
    },
  }));
}

/** Writes assignments in place of an item; with none the comma before it goes too. */
function replaceItem(
  plan: Plan,
  items: readonly SetItem[],
  item: SetItem,
  texts: readonly Piece[],
): void {
  const { source } = plan;
  const before = items[items.indexOf(item) - 1];
  const start = source.start(item.span.first);
  const end = source.end(item.span.last);
  if (texts.length > 0) plan.move(start, end, joinWith(', ', texts));
  else if (before) plan.move(source.start(item.span.first - 1), end, '');
  else throw new Unsure('shape');
}

export const PLAIN = { limitOption: 'LIMIT_OPTION_DEFAULT', op: 'SETOP_NONE' } as const;
/** `OFFSET 0`, which keeps the planner from merging a subselect into the query around it. */
export const FENCE = {
  limitOffset: { A_Const: { ival: {} } },
  limitOption: 'LIMIT_OPTION_COUNT',
} as const;

function selectOf(
  inner: Inner,
  values: readonly Fragment[],
  reads: Fragment,
): { text: Piece; node: SelectStmt } {
  const names = inner.outputs.map(({ name }) => name);
  const cells = inner.outputs.map(({ value }) => value);
  const text = join(
    'SELECT ',
    joinWith(', ', values),
    join(' FROM (VALUES (', joinWith(', ', cells), ') OFFSET 0)'),
    ` AS ${quoteIdentifier(ONCE)} (${names.map(quoteIdentifier).join(', ')}) WHERE (`,
    join(reads.text, ' IS NULL) IS NOT NULL'),
  );
  const isNull: Node = { NullTest: { arg: reads.node, nulltesttype: 'IS_NULL' } };
  const subquery: Node = {
    SelectStmt: {
      valuesLists: [{ List: { items: cells.map(({ node }) => node) } }],
      ...FENCE,
      op: 'SETOP_NONE',
    },
  };
  const alias = { aliasname: ONCE, colnames: stringNodes(names) };
  return {
    text,
    node: {
      targetList: values.map(({ node }) => ({ ResTarget: { val: node } })),
      fromClause: [{ RangeSubselect: { subquery, alias } }],
      whereClause: { NullTest: { arg: isNull, nulltesttype: 'IS_NOT_NULL' } },
      ...PLAIN,
    },
  };
}

/** `one LEFT JOIN name ON true`: a row of NULLs where there is none. */
export function joinedToOne(name: ByteString): { text: ByteString; node: Node } {
  const one = `${ONCE} one`;
  const values: Node = {
    SelectStmt: {
      valuesLists: [{ List: { items: [{ A_Const: { ival: { ival: 1 } } }] } }],
      ...PLAIN,
    },
  };
  return {
    text: `(VALUES (1)) AS ${quoteIdentifier(one)} LEFT JOIN ${quoteIdentifier(name)} ON true`,
    node: {
      JoinExpr: {
        jointype: 'JOIN_LEFT',
        larg: { RangeSubselect: { subquery: values, alias: { aliasname: one } } },
        rarg: { RangeVar: { relname: name, inh: true, relpersistence: 'p' } },
        quals: { A_Const: { boolval: { boolval: true } } },
      },
    },
  };
}
