import type { Node, SelectStmt } from 'libpg-query';
import { checkMovable } from './cells.js';
import { join, joinWith, type Piece } from './edits.js';
import { castTo, columnOf, type Fragment } from './fragment.js';
import { Inner, ONCE, placed } from './inner.js';
import { type Addition, additionsTo, fallbackOf, sameDefaults } from './pairs.js';
import { type Plan, Unsure } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import type { Cell, Layout, Rows } from './rows.js';
import { quoteIdentifier } from './rules.js';
import { isRepeatable, isScalar, isUntyped } from './safety.js';
import { type ByteString, stringNodes, toBytes } from './tree.js';
import { typedCells } from './typed.js';

/*
 * INSERT whose lead column is computed by something that may be evaluated only once:
 *
 *   INSERT INTO t (a, id, id_shadow)
 *   SELECT $1, d.v, (d.v::integer)::bigint FROM (SELECT nextval('s') AS v OFFSET 0) d
 *
 * The values of the other columns stay where a constant or a parameter still takes its column's
 * type. OFFSET 0 keeps the planner from writing the inner expression into the outer list twice.
 */

const ROWS = `${ONCE} rows`;
const ALONE = `${ONCE} alone`;

interface Output {
  column: ByteString;
  value: Fragment;
}

/** @throws Unsure when it is not certain that the rows would be the same. */
export function insertOnce(plan: Plan, layout: Layout, rows: Rows): boolean {
  const kept = keptColumns(layout, rows);
  const inner = new Inner();
  const single = rows.cells.length === 1;
  const { outputs, from } = single
    ? oneRow(layout, rows.cells[0]!, kept, inner)
    : manyRows(plan, layout, rows, kept, inner);
  write(plan, layout, rows, outputs, inner, from);
  return true;
}

/** Columns that are given a value; those that say DEFAULT in every row are left out. */
function keptColumns(layout: Layout, rows: Rows): ByteString[] {
  return layout.columns.filter((_, i) => {
    const defaults = rows.cells.filter((cells) => cells[i] === 'default').length;
    if (defaults > 0 && defaults < rows.cells.length) throw new Unsure('volatile');
    return defaults === 0;
  });
}

/** The default of a column that no row gives, evaluated once where it has to be. */
export function drawnDefault(
  table: PreparedTable,
  given: readonly ByteString[],
  column: ByteString,
  inner: Inner,
): Fragment {
  const { rule, type, fallback } = columnOfTable(table, column);
  if (!rule.defaultVolatile || rule.identity || rule.generated) return fallbackOf(table, column);
  const value = inner.output(column, fallback);
  for (const name of sameDefaults(table, given, column)) {
    inner.output(name, columnOfTable(table, name).fallback);
  }
  return castTo(value, type);
}

function additionsWith(
  layout: Layout,
  kept: readonly ByteString[],
  inner: Inner,
  given: (column: ByteString) => Fragment,
): Addition[] {
  return additionsTo({
    table: layout.table,
    kind: 'insert',
    isGiven: (column) => layout.columns.includes(column),
    value: (column) => {
      if (kept.includes(column)) return given(column);
      return drawnDefault(layout.table, kept, column, inner);
    },
  });
}

/** Defaults that were drawn inside are written outside; all columns with their values. */
function withDefaults(
  layout: Layout,
  kept: readonly Output[],
  inner: Inner,
  additions: readonly Addition[],
): Output[] {
  const names = new Set(kept.map(({ column }) => column));
  const drawn = layout.table.rule.columns
    .map((rule) => toBytes(rule.name))
    .filter((column) => inner.has(column) && !names.has(column))
    .map((column) => ({ column, value: inner.reference(column) }));
  return [...kept, ...drawn, ...additions];
}

function oneRow(
  layout: Layout,
  cells: readonly Cell[],
  kept: readonly ByteString[],
  inner: Inner,
): { outputs: Output[]; from: null } {
  const { table, columns } = layout;
  const strict = table.rule.guard === 'none';
  const cellOf = (column: ByteString): Fragment => {
    const cell = cells[columns.indexOf(column)];
    if (!cell || cell === 'default') throw new Unsure('volatile');
    return cell;
  };
  const isOnce = (column: ByteString, mind: boolean): boolean => {
    const { node } = cellOf(column);
    const known = table.columns.get(column)?.type.node;
    return known ? !isRepeatable(node, known, mind) : !isScalar(node);
  };
  const additions = additionsWith(layout, kept, inner, (column) => {
    const { type, rule } = columnOfTable(table, column);
    if (rule.generated) throw new Unsure('generated');
    const cell = cellOf(column);
    return castTo(isOnce(column, strict) ? inner.output(column, cell) : cell, type);
  });
  for (const column of kept) if (isOnce(column, false)) inner.output(column, cellOf(column));
  for (const { column, value } of inner.outputs) {
    if (kept.includes(column)) checkMovable(value.node, false);
  }
  inner.sort(table);
  const given = kept.map((column) => {
    if (inner.has(column)) return { column, value: inner.reference(column) };
    const value = cellOf(column);
    // In a SELECT a row without a type is none of the column's composite type.
    if ('RowExpr' in value.node) throw new Unsure('row');
    return { column, value };
  });
  return { outputs: withDefaults(layout, given, inner, additions), from: null };
}

/** Rows of a VALUES list in FROM: each cell is evaluated once, but its type is fixed there. */
function manyRows(
  plan: Plan,
  layout: Layout,
  rows: Rows,
  kept: readonly ByteString[],
  inner: Inner,
): { outputs: Output[]; from: RowSource } {
  const { table, columns } = layout;
  if (kept.length === 0) throw new Unsure('volatile');
  const typed = kept.map((column) => {
    const place = columns.indexOf(column);
    const cells = rows.cells.map((row) => row[place]!);
    return typedCells(cells, columnOfTable(table, column));
  });
  if (sharesParameter(typed)) throw new Unsure('volatile');
  const given = kept.map((column, i) => {
    const name = `${ROWS} ${i + 1}`;
    const place = firstTyped(plan, rows, columns.indexOf(column));
    const value = placed(columnOf([ROWS], name), place);
    return { column, value: inner.output(column, value) };
  });
  const additions = additionsWith(layout, kept, inner, (column) => {
    const { type, rule } = columnOfTable(table, column);
    if (rule.generated) throw new Unsure('generated');
    return castTo(inner.reference(column), type);
  });
  inner.sort(table);
  const names = kept.map((_, i) => `${ROWS} ${i + 1}`);
  const cells = rows.cells.map((_, row) => typed.map((column) => column[row]!));
  return { outputs: withDefaults(layout, given, inner, additions), from: { names, cells } };
}

/**
 * Where the first value of a column is that has a type of its own: where the server says that it is of the
 * wrong one.
 */
function firstTyped(plan: Plan, rows: Rows, place: number): number | undefined {
  const row = rows.cells.findIndex((cells) => {
    const cell = cells[place];
    return cell !== undefined && cell !== 'default' && !isUntyped(cell.node);
  });
  const span = rows.spans[row]?.[place];
  const cell = rows.cells[row]?.[place];
  if (!span || !cell || cell === 'default') return undefined;
  // Of a constant that is cast it is the constant's.
  let { node } = cell;
  while ('TypeCast' in node && node.TypeCast.arg) node = node.TypeCast.arg;
  const constant = 'A_Const' in node ? node.A_Const.location : undefined;
  return constant ?? plan.source.valueStart(span.first);
}

/** Whether two columns use one parameter: the casts would hide that it cannot be of both types. */
function sharesParameter(columns: readonly (readonly Fragment[])[]): boolean {
  const users = new Map<number, number>();
  return columns.some((cells, column) =>
    cells.some(({ node }) => {
      return parametersOf(node).some((number) => {
        const user = users.get(number) ?? column;
        users.set(number, column);
        return user !== column;
      });
    }),
  );
}

/** Not looked for in the text: a string may have one in it. */
function parametersOf(part: unknown): number[] {
  if (typeof part !== 'object' || part === null) return [];
  const own = 'ParamRef' in part ? [(part as Extract<Node, { ParamRef: unknown }>).ParamRef] : [];
  return [...own.map(({ number }) => number ?? 0), ...Object.values(part).flatMap(parametersOf)];
}

interface RowSource {
  names: ByteString[];
  cells: Fragment[][];
}

function write(
  plan: Plan,
  layout: Layout,
  rows: Rows,
  outputs: readonly Output[],
  inner: Inner,
  from: RowSource | null,
): void {
  const { source } = plan;
  const { stmt, afterName, afterList } = layout;
  if (inner.outputs.length === 0) throw new Unsure('volatile');
  const start = source.start(layout.from);
  const list = `(${outputs.map(({ column }) => quoteIdentifier(column)).join(', ')})`;
  if (afterList === null) plan.insert(afterName, ` ${list}`);
  else {
    const open = source.indexAt(placeOf(stmt.cols?.[0])) - 1;
    plan.move(source.start(open), source.end(source.close(open)), list);
  }
  const values = joinWith(
    ', ',
    outputs.map(({ value }) => value),
  );
  const named = inner.outputs.map(({ name, value }) => join(value, ` AS ${quoteIdentifier(name)}`));
  const alone = isAlone(inner, from);
  const guard = alone ? `, ${quoteIdentifier(ALONE)}."column1"` : '';
  let rowsText: ByteString | Piece = alone ? ` FROM (VALUES (1)) AS ${quoteIdentifier(ALONE)}` : '';
  if (from) rowsText = join(' FROM ', valuesText(from));
  plan.move(
    start,
    rows.end,
    join('SELECT ', values, ' FROM (SELECT ', joinWith(', ', named)),
    guard,
    join(rowsText, ` OFFSET 0) AS ${quoteIdentifier(ONCE)}`),
  );
  stmt.cols = outputs.map(({ column }) => ({ ResTarget: { name: column } }));
  stmt.selectStmt = { SelectStmt: treeOf(outputs, inner, from) };
}

/**
 * What is not known could be an aggregate, which the server refuses in VALUES; beside a column that
 * is not grouped it refuses it in a SELECT too.
 */
function isAlone(inner: Inner, from: RowSource | null): boolean {
  return from === null && inner.outputs.some(({ value }) => !isScalar(value.node));
}

function placeOf(column: Node | undefined): number {
  return column && 'ResTarget' in column ? (column.ResTarget.location ?? 0) : 0;
}

function valuesText(from: RowSource): Piece {
  const rows = from.cells.map((cells) => join('(', joinWith(', ', cells), ')'));
  const names = from.names.map(quoteIdentifier).join(', ');
  return join('(VALUES ', joinWith(', ', rows), `) AS ${quoteIdentifier(ROWS)} (${names})`);
}

function treeOf(outputs: readonly Output[], inner: Inner, from: RowSource | null): SelectStmt {
  const plain = { limitOption: 'LIMIT_OPTION_DEFAULT', op: 'SETOP_NONE' } as const;
  const subquery: SelectStmt = {
    targetList: inner.outputs.map(({ name, value }) => ({
      ResTarget: { name, val: value.node },
    })),
    limitOffset: { A_Const: { ival: {} } },
    limitOption: 'LIMIT_OPTION_COUNT',
    op: 'SETOP_NONE',
  };
  if (isAlone(inner, from)) {
    subquery.targetList?.push({ ResTarget: { val: columnOf([ALONE], 'column1').node } });
    const one: Node = { A_Const: { ival: { ival: 1 } } };
    const values: Node = { SelectStmt: { valuesLists: [{ List: { items: [one] } }], ...plain } };
    subquery.fromClause = [{ RangeSubselect: { subquery: values, alias: { aliasname: ALONE } } }];
  }
  if (from) {
    const valuesLists = from.cells.map((cells) => ({
      List: { items: cells.map(({ node }) => node) },
    }));
    const alias = { aliasname: ROWS, colnames: stringNodes(from.names) };
    subquery.fromClause = [
      { RangeSubselect: { subquery: { SelectStmt: { valuesLists, ...plain } }, alias } },
    ];
  }
  return {
    targetList: outputs.map(({ value }) => ({ ResTarget: { val: value.node } })),
    fromClause: [
      {
        RangeSubselect: {
          subquery: { SelectStmt: subquery },
          alias: { aliasname: ONCE },
        },
      },
    ],
    ...plain,
  };
}
