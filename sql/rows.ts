import type { InsertStmt, Node } from 'libpg-query';
import type { Queries } from './columns.js';
import type { Piece } from './edits.js';
import type { Fragment } from './fragment.js';
import type { Step } from './part-value.js';
import type { Plan } from './plan.js';
import type { PreparedTable } from './prepared.js';
import { quoteIdentifier } from './rules.js';
import type { Span } from './source.js';
import type { ByteString } from './tree.js';

/** A value that an INSERT gives: an expression, or the word DEFAULT. */
export type Cell = Fragment | 'default';

/** Part of a column: what stands behind its name. */
export interface Part {
  text: Piece;
  nodes: Node[];
  steps: readonly Step[];
}

/** The parts of the columns that are paired, by their place in the list. */
export type Parts = ReadonlyMap<number, Part>;

/** An INSERT with the places in its text. */
export interface Layout {
  stmt: InsertStmt;
  table: PreparedTable;
  /** WITH queries that it sees. */
  queries: Queries;
  /** Columns that it fills, given or implied. */
  columns: ByteString[];
  /** Those among them that have another column, and are given in parts. */
  parts: Parts;
  /** Byte after the table's name or alias, where a column list goes that is not there. */
  afterName: number;
  /** Byte after the last name of the column list; null without one. */
  afterList: number | null;
  /** Token index of VALUES, DEFAULT, SELECT, WITH or an opening parenthesis. */
  from: number;
}

/** Rows of values with their places. */
export interface Rows {
  cells: Cell[][];
  spans: Span[][];
  /** Byte after the last row. */
  end: number;
}

/** Whether a column of the list is given in parts: `a[1]`, `a.b`. */
export function hasParts(layout: Layout): boolean {
  return (layout.stmt.cols ?? []).some(
    (node) => 'ResTarget' in node && node.ResTarget.indirection !== undefined,
  );
}

/** Adds names to the column list, or writes one; false when there is nothing to do. */
export function listColumns(
  plan: Plan,
  layout: Layout,
  additions: readonly { column: ByteString; part?: Part }[],
): boolean {
  const { stmt, columns, afterList, afterName } = layout;
  const names = additions.map(({ column }) => column);
  if (afterList === null) {
    const all = [...columns, ...names];
    if (additions.length === 0 && !layout.table.hides) return false;
    plan.insert(afterName, ` (${all.map(quoteIdentifier).join(', ')})`);
    stmt.cols = all.map((name) => ({ ResTarget: { name } }));
    return true;
  }
  for (const { column: name, part } of additions) {
    plan.insert(afterList, `, ${quoteIdentifier(name)}`, part?.text ?? '');
    stmt.cols?.push({ ResTarget: { name, ...(part && { indirection: part.nodes }) } });
  }
  return true;
}
