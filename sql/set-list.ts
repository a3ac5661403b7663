import type { Node, RangeVar, SelectStmt } from 'libpg-query';
import { columnOf, type Fragment } from './fragment.js';
import { impliedDefault } from './pairs.js';
import type { PartWrite } from './part-value.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import type { PreparedTable } from './prepared.js';
import type { Cell, Part } from './rows.js';
import { isPlain, readTargets } from './select.js';
import type { Source, Span } from './source.js';
import { readSteps } from './steps.js';
import { type ByteString, strings } from './tree.js';
import { isStar } from './values.js';

/** A SET list: of an UPDATE, of ON CONFLICT DO UPDATE, or of a MERGE's action. */
export interface SetList {
  targets: Node[];
  /** The table as it is named in the statement. */
  relation: RangeVar;
  /** Token index before which the list ends at the latest; null: where the text says. */
  limit: number | null;
  /** A column of the row that the statement may read: qualifier and name; null: any. */
  reads: readonly ByteString[] | null;
  /** The names of the columns that the star of another item stands for; null: they are not known. */
  namesOf(item: ByteString): readonly ByteString[] | null;
}

/**
 * One item of a SET list:
 * - `plain`: `a = x`;
 * - `row`: `(a, b) = ROW (x, y)`, with or without the word;
 * - `select`: `(a, b) = (SELECT ...)`; its span is that of the subselect in its parentheses.
 */
export interface SetItem {
  form: 'plain' | 'row' | 'select';
  span: Span;
  targets: Node[];
  /** Columns, and what each is assigned; no cells where that is not known apart. */
  columns: ByteString[];
  cells: Cell[];
  /** What is assigned to a part of the column: `a[1] = x`, `a.f = x`. */
  part: (PartWrite & Part) | null;
  /** The subselect with the parenthesis that opens it, and where its values begin if known. */
  select: { stmt: SelectStmt; open: number; starts: number[] | null } | null;
}

/** @throws Unsure when it is not as it was expected, Wrong when the server refuses it. */
export function readSet(plan: Plan, list: SetList, table: PreparedTable): SetItem[] {
  const { source } = plan;
  const { targets, limit } = list;
  const first = targets[0];
  if (!first || !('ResTarget' in first)) throw new Unsure('shape');
  let start = source.indexAt(first.ResTarget.location ?? 0);
  if (source.word(start - 1) === '(') start--;
  source.expect(start - 1, 'set');
  const spans = source.items(start, (index) => index === limit || endsSet(source, index));
  const names = targets.map(nameOfTarget);
  const meant = (column: ByteString) =>
    impliedDefault(table, column, (other) => names.includes(other));
  let next = 0;
  const items = spans.map((span): SetItem => {
    const count = source.word(span.first) === '(' ? columnsOf(targets[next]) : 1;
    const group = targets.slice(next, next + count);
    next += count;
    return readItem(plan, span, group, { meant, namesOf: list.namesOf });
  });
  if (next !== targets.length) throw new Unsure('shape');
  return items;
}

function endsSet(source: Source, index: number): boolean {
  const word = source.word(index);
  if (word !== 'from' && word !== 'where' && word !== 'returning') return false;
  if (source.word(index - 1) === '.') return false;
  // IS [NOT] DISTINCT FROM
  return !(
    word === 'from' &&
    source.word(index - 1) === 'distinct' &&
    source.word(index - 2) !== '.'
  );
}

function columnsOf(target: Node | undefined): number {
  const value = target && 'ResTarget' in target ? target.ResTarget.val : undefined;
  return value && 'MultiAssignRef' in value ? (value.MultiAssignRef.ncolumns ?? 1) : 1;
}

export function nameOfTarget(target: Node): ByteString {
  return 'ResTarget' in target ? (target.ResTarget.name ?? '') : '';
}

interface Meanings extends Pick<SetList, 'namesOf'> {
  /** What DEFAULT means for a column where that is not its own. */
  meant(column: ByteString): Fragment | null;
}

function readItem(plan: Plan, span: Span, targets: Node[], { meant, namesOf }: Meanings): SetItem {
  const { source } = plan;
  const columns = targets.map(nameOfTarget);
  const first = targets[0];
  const value = first && 'ResTarget' in first ? first.ResTarget.val : undefined;
  if (!value) throw new Unsure('shape');
  if (targets.some((target) => 'ResTarget' in target && target.ResTarget.indirection)) {
    const part = targets.length === 1 ? partOf(plan, span, targets[0]!, value) : null;
    return { form: 'plain', span, targets, columns, cells: [], part, select: null };
  }
  if (!('MultiAssignRef' in value)) {
    const equals = source.afterName(span.first);
    source.expect(equals, '=');
    // In SET it is one value, a row; elsewhere it would be several.
    if (isStar(value)) throw new Unsure('row');
    const place = { first: equals + 1, last: span.last };
    const cell = cellOf(plan, place, value, () => meant(columns[0]!));
    if (cell !== 'default' && 'ResTarget' in first!) first.ResTarget.val = cell.node;
    return { form: 'plain', span, targets, columns, cells: [cell], part: null, select: null };
  }
  const row = value.MultiAssignRef.source;
  let open = source.close(span.first) + 1;
  source.expect(open, '=');
  if (row && 'SubLink' in row) {
    source.expect(open + 1, '(');
    if (source.close(open + 1) !== span.last) throw new Unsure('shape');
    const { subselect } = row.SubLink;
    if (!subselect || !('SelectStmt' in subselect)) throw new Unsure('shape');
    const stmt = subselect.SelectStmt;
    const select = { stmt, open: open + 1, starts: startsOf(plan, stmt, columns.length) };
    return { form: 'select', span, targets, columns, cells: [], part: null, select };
  }
  // Anything else is refused: a row or a subselect is what has to stand here.
  if (!row || !('RowExpr' in row)) throw new Wrong('neither a row nor a subselect');
  open += source.word(open + 1) === 'row' ? 2 : 1;
  source.expect(open, '(');
  const nodes = row.RowExpr.args ?? [];
  const spans = spansOf(source, source.items(open + 1), nodes);
  const stars = nodes.map((node) => (isStar(node) ? columnsOfStar(node, namesOf) : null));
  const count = stars.reduce((sum, star) => sum + (star?.length ?? 1), 0);
  if (count !== columns.length) throw new Wrong('as many values as columns');
  const cells: Cell[] = [];
  nodes.forEach((node, i) => {
    const own = spans[i];
    if (stars[i]) cells.push(...stars[i]);
    else if (!own) cells.push(columnOf(spelled(node).slice(0, -1), spelled(node).at(-1)!));
    else {
      const cell = cellOf(plan, own, node, () => meant(columns[cells.length]!));
      if (cell !== 'default') nodes[i] = cell.node;
      cells.push(cell);
    }
  });
  return { form: 'row', span, targets, columns, cells, part: null, select: null };
}

/** Where each value of a row stands; null for those that a star was spelled out to. */
function spansOf(
  source: Source,
  written: readonly Span[],
  nodes: readonly Node[],
): (Span | null)[] {
  const spans: (Span | null)[] = [];
  for (const span of written) {
    const from = spans.length;
    if (source.word(span.last) === '*') {
      while (spans.length < nodes.length && spelled(nodes[spans.length]!).length > 0) {
        spans.push(null);
      }
    }
    if (spans.length === from) spans.push(span);
  }
  if (spans.length !== nodes.length) throw new Unsure('shape');
  return spans;
}

/** The columns that the star of another table stands for, each by its name. */
function columnsOfStar(node: Node, namesOf: SetList['namesOf']): Fragment[] {
  const [item, star, ...more] = 'ColumnRef' in node ? strings(node.ColumnRef.fields) : [];
  const isPlainStar = typeof item === 'string' && star === null && more.length === 0;
  const names = isPlainStar ? namesOf(item) : null;
  if (!isPlainStar || !names) throw new Unsure('row');
  return names.map((name) => columnOf([item], name));
}

/** The names of a column that a star was spelled out to; none of what the client wrote. */
function spelled(node: Node): ByteString[] {
  if (!('ColumnRef' in node) || node.ColumnRef.location !== undefined) return [];
  return strings(node.ColumnRef.fields).map(String);
}

/** The assignment to a part of a column; null where it is not one value. */
function partOf(plan: Plan, span: Span, target: Node, value: Node): SetItem['part'] {
  const { indirection } = 'ResTarget' in target ? target.ResTarget : {};
  if (!indirection || 'MultiAssignRef' in value || 'SetToDefault' in value) return null;
  if (isStar(value)) throw new Unsure('row');
  const { steps, after } = readSteps(plan, span.first, indirection);
  plan.source.expect(after, '=');
  const { text, copies } = plan.copy({ first: span.first + 1, last: after - 1 }, value);
  const copy = plan.copy({ first: after + 1, last: span.last }, value);
  return { steps, value: copy, text: { text, copies }, nodes: indirection };
}

/** Where each value of a subselect begins, when it is known that there are that many. */
function startsOf(plan: Plan, select: SelectStmt, count: number): number[] | null {
  const targets = (isPlain(select) ? readTargets(plan, select, -1)?.targets : null) ?? [];
  const starts = targets.flatMap((target) =>
    target?.span ? [plan.source.valueStart(target.span.first)] : [],
  );
  return starts.length === count && targets.length === count ? starts : null;
}

function cellOf(plan: Plan, span: Span, node: Node, meant: () => Fragment | null): Cell {
  if (!('SetToDefault' in node)) return plan.copy(span, node);
  const value = meant();
  if (!value) return 'default';
  plan.replace(plan.source.start(span.first), plan.source.end(span.last), value);
  return value;
}
