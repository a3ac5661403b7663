import type { Node } from 'libpg-query';
import type { Template } from './fragment.js';
import type { Addition } from './pairs.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable, leadsOf, type PreparedTable } from './prepared.js';
import type { Cell, Layout, Part, Parts } from './rows.js';
import { isRepeatable } from './safety.js';
import type { ByteString } from './tree.js';

/*
 * Columns of an INSERT that are given in parts, `a[1]` or `c.f`. The server begins with NULL then,
 * whatever the default is, so a column that is another under a new name is given the same parts:
 *
 *   INSERT INTO t (a[1], a[2], b[1], b[2]) VALUES (x, y, x, y)
 *
 * Of which type a part is the rules do not know, so nothing is computed from it.
 */

/** @throws Unsure when the other column is not the same under another name. */
export function partsOf(plan: Plan, layout: Layout): Parts {
  const { table, stmt } = layout;
  const paired = new Set(table.pairs.flatMap((pair) => [pair.follow, ...leadsOf(pair)]));
  const parts = new Map<number, Part>();
  (stmt.cols ?? []).forEach((node, place) => {
    const target = 'ResTarget' in node ? node.ResTarget : {};
    if (!target.indirection || !paired.has(target.name ?? '')) return;
    if (!target.indirection.every(isSteady)) throw new Unsure('indirection');
    const { source } = plan;
    const name = source.indexAt(target.location ?? 0);
    const [span] = source.items(name);
    if (!span || !/^[.[]$/.test(source.word(name + 1))) throw new Unsure('shape');
    const text = plan.copy({ first: name + 1, last: span.last }, node);
    parts.set(place, { text, nodes: target.indirection });
  });
  for (const place of parts.keys()) {
    const column = layout.columns[place]!;
    const isWhole = layout.columns.some((other, i) => other === column && !parts.has(i));
    if (isWhole) throw new Wrong('a column in whole and in part');
    twinOf(table, column);
  }
  return parts;
}

/** A field, or a subscript that may be given twice. */
function isSteady(node: Node): boolean {
  return 'String' in node || ('A_Indices' in node && isRepeatable(node, {}, true));
}

/** The column that is this one under another name. @throws Unsure when there is none. */
function twinOf(table: PreparedTable, column: ByteString): ByteString {
  const [pair, ...others] = table.pairs.filter(
    (candidate) => candidate.follow === column || leadsOf(candidate).includes(column),
  );
  const [lead, ...more] = pair ? leadsOf(pair) : [];
  if (!pair || lead === undefined || others.length > 0 || more.length > 0) {
    throw new Unsure('indirection');
  }
  const isLead = column === lead;
  const way = isLead ? pair.forward : pair.backward?.value;
  const twin = isLead ? pair.follow : pair.backward?.lead;
  const [one, other] = [lead, pair.follow].map((name) => columnOfTable(table, name).rule);
  const isSame = one!.type === other!.type && !one!.generated && !other!.generated;
  if (!way || twin === undefined || !isSame || !isBare(way)) throw new Unsure('indirection');
  return twin;
}

const isBare = ({ node, columns }: Template) => columns.length === 1 && 'ColumnRef' in node;

/** The parts again, for the other column, unless that is given too. */
export function addParts(layout: Layout, parts: Parts, cells: readonly Cell[]): Addition[] {
  const { table, columns } = layout;
  return [...parts].flatMap(([place, part]) => {
    const twin = twinOf(table, columns[place]!);
    if (columns.includes(twin)) return [];
    const cell = cells[place];
    if (!cell || cell === 'default') throw new Wrong('a part has no default');
    const { type } = columnOfTable(table, columns[place]!);
    if (!isRepeatable(cell.node, type.node, table.rule.guard === 'none')) {
      throw new Unsure('indirection');
    }
    return [{ column: twin, value: cell, part }];
  });
}

/** Columns that are written, in parts, because their twin is. */
export function twinsOf({ table, columns }: Layout, parts: Parts): Set<ByteString> {
  return new Set([...parts.keys()].map((place) => twinOf(table, columns[place]!)));
}
