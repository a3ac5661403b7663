import type { List, Node } from 'libpg-query';
import { join, joinWith, type Piece } from './edits.js';
import { castTo, type Fragment } from './fragment.js';
import { ONCE, placed } from './inner.js';
import { additionsTo, assigned, fallbackOf, sameDefaults } from './pairs.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable } from './prepared.js';
import { type Cell, type Layout, listColumns, type Rows } from './rows.js';
import { quoteIdentifier } from './rules.js';
import { isOfSelect, isRepeatable, isScalar } from './safety.js';
import { type ByteString, stringNodes, toBytes } from './tree.js';

/*
 * Rows of which some values may be evaluated only once, all others staying where they are, since
 * each is assigned to its column by itself:
 *
 *   WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('s')))
 *   INSERT INTO t (a, id, id_shadow)
 *   VALUES ($1, (SELECT column1 FROM "pgtandem 1"), ((SELECT column1 FROM "pgtandem 1"))::bigint)
 *
 * A WITH query is computed when it is first read, so that each value is still drawn after the rows
 * before it have been written. VALUES refuses sets and aggregates in the words of the original.
 */

/** One query for each value; many make planning slow. */
const MAX_QUERIES = 1000;

interface Query {
  name: ByteString;
  value: Fragment;
}

/** @throws Unsure when it is not certain that the rows would be the same. */
export function insertCells(
  plan: Plan,
  layout: Layout,
  rows: Rows,
  lists: readonly Node[],
): boolean {
  const queries: Query[] = [];
  const draw = (value: Fragment): Fragment => {
    if (queries.length === MAX_QUERIES) throw new Unsure('volatile');
    const name = `${ONCE} ${queries.length + 1}`;
    queries.push({ name, value });
    return placed(reference(name), value.copies[0]?.from);
  };
  const work = { plan, layout, draw, single: lists.length === 1 };
  const changes = rows.cells.map((cells) => rowOf(work, cells));
  changes.forEach(({ moved, extra }, row) => {
    const spans = rows.spans[row]!;
    const list: List = 'List' in lists[row]! ? lists[row].List : {};
    for (const [place, value] of moved) {
      const span = spans[place]!;
      plan.move(plan.source.start(span.first), plan.source.end(span.last), value);
      if (list.items) list.items[place] = value.node;
    }
    const end = plan.source.end(spans.at(-1)!.last);
    for (const { value } of extra) {
      plan.insert(end, ', ', value);
      list.items?.push(value.node);
    }
  });
  addQueries(plan, layout, queries);
  return listColumns(plan, layout, changes[0]?.extra ?? []);
}

interface Work {
  plan: Plan;
  layout: Layout;
  draw: (value: Fragment) => Fragment;
  single: boolean;
}

interface Row {
  /** Values in place of those at a place of the row. */
  moved: Map<number, Fragment>;
  /** Values of the columns that are added. */
  extra: { column: ByteString; value: Fragment }[];
}

function rowOf({ layout, draw, single }: Work, cells: readonly Cell[]): Row {
  const { table, columns } = layout;
  const moved = new Map<number, Fragment>();
  const drawn = new Map<ByteString, Fragment>();
  const additions = additionsTo({
    table,
    kind: 'insert',
    isGiven: (column) => columns.includes(column),
    value: (column) => {
      const { rule, type, fallback } = columnOfTable(table, column);
      const place = columns.indexOf(column);
      const cell = place < 0 ? 'default' : cells[place]!;
      const known = moved.get(place) ?? drawn.get(column);
      if (known) return castTo(known, type);
      if (cell === 'default') {
        if (!rule.defaultVolatile || rule.identity || rule.generated) {
          return fallbackOf(table, column);
        }
      } else {
        if (isRepeatable(cell.node, type.node, table.rule.guard === 'none')) {
          return assigned(table, column, cell);
        }
        checkMovable(cell.node, single);
        if (rule.generated) throw new Unsure('generated');
      }
      const value = draw(cell === 'default' ? fallback : cell);
      if (place < 0) {
        drawn.set(column, value);
        for (const name of sameDefaults(table, columns, column)) {
          if (!drawn.has(name)) drawn.set(name, draw(columnOfTable(table, name).fallback));
        }
      } else moved.set(place, value);
      return castTo(value, type);
    },
  });
  const order = table.rule.columns.map((rule) => toBytes(rule.name));
  const defaults = [...drawn]
    .map(([column, value]) => ({ column, value }))
    .sort((a, b) => order.indexOf(a.column) - order.indexOf(b.column));
  return { moved, extra: [...defaults, ...additions] };
}

/** @throws Unsure, or Wrong for what the server refuses in VALUES. */
export function checkMovable(node: Node, single: boolean): void {
  if (isOfSelect(node)) throw new Wrong('not allowed in VALUES');
  // A row without a type takes that of its column only where it stands.
  if ('RowExpr' in node) throw new Unsure('row');
  // One row alone may be computed by something that gives several.
  if (single && !isScalar(node)) throw new Unsure('volatile');
}

function reference(name: ByteString): Fragment {
  const select: Node = {
    SelectStmt: {
      targetList: [{ ResTarget: { val: { ColumnRef: { fields: stringNodes(['column1']) } } } }],
      fromClause: [{ RangeVar: { relname: name, inh: true, relpersistence: 'p' } }],
      limitOption: 'LIMIT_OPTION_DEFAULT',
      op: 'SETOP_NONE',
    },
  };
  return {
    text: `(SELECT column1 FROM ${quoteIdentifier(name)})`,
    copies: [],
    node: { SubLink: { subLinkType: 'EXPR_SUBLINK', subselect: select } },
  };
}

/** Puts the queries before the INSERT, behind those that it has. */
function addQueries(plan: Plan, layout: Layout, queries: readonly Query[]): void {
  const { stmt } = layout;
  const { source } = plan;
  const insert = source.indexAt(stmt.relation?.location ?? 0) - 2;
  source.expect(insert, 'insert', 'into');
  const texts = queries.map(
    ({ name, value }): Piece =>
      join(`${quoteIdentifier(name)} AS MATERIALIZED (VALUES (`, value, '))'),
  );
  const text = joinWith(', ', texts);
  if (stmt.withClause) plan.insert(source.end(insert - 1), ', ', text);
  else plan.insert(source.start(insert), 'WITH ', join(text, ' '));
  stmt.withClause ??= {};
  stmt.withClause.ctes = [
    ...(stmt.withClause.ctes ?? []),
    ...queries.map(
      ({ name, value }): Node => ({
        CommonTableExpr: {
          ctename: name,
          ctematerialized: 'CTEMaterializeAlways',
          ctequery: {
            SelectStmt: {
              valuesLists: [{ List: { items: [value.node] } }],
              limitOption: 'LIMIT_OPTION_DEFAULT',
              op: 'SETOP_NONE',
            },
          },
        },
      }),
    ),
  ];
}
