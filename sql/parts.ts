import type { Fragment, Template } from './fragment.js';
import type { Addition } from './pairs.js';
import { type PartWrite, valueOfParts } from './part-value.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable, leadsOf, type PreparedPair, type PreparedTable } from './prepared.js';
import type { Cell, Layout, Part, Parts } from './rows.js';
import { isRepeatable } from './safety.js';
import { readSteps } from './steps.js';
import type { ByteString } from './tree.js';

/*
 * Columns that are given in parts, `a[1]` or `c.f`. In an INSERT the server begins with NULL then,
 * whatever the default is, so a column that is another under a new name is given the same parts:
 *
 *   INSERT INTO t (a[1], a[2], b[1], b[2]) VALUES (x, y, x, y)
 *
 * So it is in an UPDATE where every row is known to have the same under both names. Else the other
 * column is made from what the column will hold (part-value.ts), where there is an expression for it.
 */

/** @throws Unsure where it is not known what is given. */
export function partsOf(plan: Plan, layout: Layout): Parts {
  const { table, stmt } = layout;
  const paired = new Set(table.pairs.flatMap((pair) => [pair.follow, ...leadsOf(pair)]));
  const parts = new Map<number, Part>();
  (stmt.cols ?? []).forEach((node, place) => {
    const target = 'ResTarget' in node ? node.ResTarget : {};
    if (!target.indirection || !paired.has(target.name ?? '')) return;
    const { source } = plan;
    const name = source.indexAt(target.location ?? 0);
    const { steps, after } = readSteps(plan, name, target.indirection);
    const { text, copies } = plan.copy({ first: name + 1, last: after - 1 }, node);
    parts.set(place, { text: { text, copies }, nodes: target.indirection, steps });
  });
  for (const place of parts.keys()) {
    const column = layout.columns[place]!;
    const isWhole = layout.columns.some((other, i) => other === column && !parts.has(i));
    if (isWhole) throw new Wrong('a column in whole and in part');
  }
  return parts;
}

/** Whether parts may be given a second time: fields, or subscripts without an effect. */
export function isSteady({ nodes }: Part): boolean {
  return nodes.every(
    (node) => 'String' in node || ('A_Indices' in node && isRepeatable(node, {}, true)),
  );
}

/** The column that is this one under another name, and their pair; null when there is none. */
export function twinOf(
  table: PreparedTable,
  column: ByteString,
): { twin: ByteString; pair: PreparedPair } | null {
  const [pair, ...others] = table.pairs.filter(
    (candidate) => candidate.follow === column || leadsOf(candidate).includes(column),
  );
  const [lead, ...more] = pair ? leadsOf(pair) : [];
  if (!pair || lead === undefined || others.length > 0 || more.length > 0) return null;
  const isLead = column === lead;
  const way = isLead ? pair.forward : pair.backward?.value;
  const twin = isLead ? pair.follow : pair.backward?.lead;
  const [one, other] = [lead, pair.follow].map((name) => columnOfTable(table, name).rule);
  const isSame = one!.type === other!.type && !one!.generated && !other!.generated;
  return way && twin !== undefined && isSame && isBare(way) ? { twin, pair } : null;
}

const isBare = ({ node, columns }: Template) => columns.length === 1 && 'ColumnRef' in node;

/** The parts again, for the other column, unless that is given too. */
export function addParts(layout: Layout, parts: Parts, cells: readonly Cell[]): Addition[] {
  const { table, columns } = layout;
  return [...parts].flatMap(([place, part]) => {
    const found = twinOf(table, columns[place]!);
    if (!found || columns.includes(found.twin)) return [];
    return [{ column: found.twin, value: steadyCell(layout, part, cells, place), part }];
  });
}

function steadyCell(
  { table, columns }: Layout,
  part: Part,
  cells: readonly Cell[],
  place: number,
): Fragment {
  const cell = cells[place];
  if (!cell || cell === 'default') throw new Wrong('a part has no default');
  const { type } = columnOfTable(table, columns[place]!);
  const strict = table.rule.guard === 'none';
  if (!isSteady(part) || !isRepeatable(cell.node, type.node, strict)) {
    throw new Unsure('indirection');
  }
  return cell;
}

/** Columns that are written, in parts, because their twin is. */
export function twinsOf({ table, columns }: Layout, parts: Parts): Set<ByteString> {
  const twins = [...parts.keys()].map((place) => twinOf(table, columns[place]!)?.twin);
  return new Set(twins.filter((twin) => twin !== undefined));
}

/** What a column holds of which an INSERT gives parts; null when it gives none. */
export function insertedInParts(
  layout: Layout,
  cells: readonly Cell[],
  column: ByteString,
): Fragment | null {
  const { table, columns, parts } = layout;
  const own = [...parts].filter(([place]) => columns[place] === column);
  if (own.length === 0) return null;
  const writes = own.map(([place, { steps }]): PartWrite => {
    const value = cells[place];
    if (!value || value === 'default') throw new Wrong('a part has no default');
    return { steps, value };
  });
  return valueOfParts(columnOfTable(table, column), null, writes, table.rule.guard);
}
