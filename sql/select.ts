import type { Node, SelectStmt } from 'libpg-query';
import { columnOf, type Fragment } from './fragment.js';
import { placed } from './inner.js';
import { type Plan, Unsure } from './plan.js';
import type { Source, Span } from './source.js';
import { type ByteString, sameTree, strings } from './tree.js';
import { isStar } from './values.js';

/** Words that end a target list; all of them are reserved, so that no bare label is one. */
const ENDS = new Set(
  `from into where group having window union intersect except order limit offset fetch for on
  returning`.split(/\s+/),
);

/** Whether a query is one SELECT with a target list: no set operation, no VALUES, no TABLE. */
export function isPlain(select: SelectStmt): boolean {
  return select.op === 'SETOP_NONE' && !select.valuesLists && select.targetList !== undefined;
}

/**
 * Whether something can be added to the target list that does not change which rows there are: no
 * DISTINCT, grouping or set operation, nor a star.
 */
export function isOpen(select: SelectStmt): boolean {
  const { distinctClause, groupClause, groupDistinct, havingClause, targetList } = select;
  const grouped = distinctClause || groupClause || groupDistinct || havingClause;
  return isPlain(select) && !grouped && !(targetList ?? []).some(isStarTarget);
}

/** Whether a target stands for several columns. */
export function isStarTarget(target: Node): boolean {
  const value = 'ResTarget' in target ? target.ResTarget.val : undefined;
  return !value || isStar(value);
}

/** A target's value without its label; no span for one that a star was spelled out to. */
export interface Target {
  span: Span | null;
  value: Fragment;
}

/**
 * The targets of a SELECT, null for those that are stars, and the byte after them; null where it is
 * not seen where they begin (a star alone was spelled out, in parentheses or behind WITH).
 *
 * @throws Unsure when they are not found.
 */
export function readTargets(
  plan: Plan,
  select: SelectStmt,
  from: number,
): { targets: (Target | null)[]; end: number } | null {
  const { source } = plan;
  const nodes = select.targetList ?? [];
  const first = nodes[0] && 'ResTarget' in nodes[0] ? nodes[0].ResTarget.location : undefined;
  // The star of TABLE is written nowhere.
  if (first !== undefined && first < 0) return null;
  const start = first === undefined ? firstTarget(source, select, from) : source.indexAt(first);
  if (start === null) return null;
  const spans = source.items(start, (index) => endsTargets(source, index));
  const targets: (Target | null)[] = [];
  for (const span of spans) {
    if (source.word(span.last) !== '*') {
      const node = nodes[targets.length];
      if (!node || !isWritten(node)) throw new Unsure('shape');
      targets.push(isStarTarget(node) ? null : targetOf(plan, node, span));
      continue;
    }
    let node = nodes[targets.length];
    if (node && isWritten(node))
      targets.push(isStarTarget(node) ? null : targetOf(plan, node, span));
    for (; node && !isWritten(node); node = nodes[targets.length])
      targets.push(spelledOut(plan, node));
  }
  if (targets.length !== nodes.length) throw new Unsure('shape');
  return { targets, end: source.end(spans.at(-1)!.last) };
}

/** Whether a target stands in the client's text. */
function isWritten(node: Node): boolean {
  return 'ResTarget' in node && node.ResTarget.location !== undefined;
}

function firstTarget(source: Source, select: SelectStmt, from: number): number | null {
  if (select.withClause || select.distinctClause || source.word(from) !== 'select') return null;
  return source.word(from + 1) === 'all' ? from + 2 : from + 1;
}

/** A column that a star was spelled out to. */
function spelledOut(plan: Plan, node: Node): Target | null {
  const value = 'ResTarget' in node ? node.ResTarget.val : undefined;
  if (!value || !('ColumnRef' in value) || isStarTarget(node)) return null;
  const names = strings(value.ColumnRef.fields).map(String);
  const column = columnOf(names.slice(0, -1), names.at(-1)!);
  return { span: null, value: placed(column, plan.spelled.get(node)) };
}

export function endsTargets(source: Source, index: number): boolean {
  const before = source.word(index - 1);
  if (!ENDS.has(source.word(index)) || before === '.' || before === 'as') return false;
  return !(source.word(index) === 'from' && before === 'distinct');
}

function targetOf(plan: Plan, node: Node, span: Span): Target {
  const { name, val } = 'ResTarget' in node ? node.ResTarget : {};
  if (!val) throw new Unsure('shape');
  const as = plan.source.word(span.last - 1) === 'as' ? 2 : 1;
  const own = name === undefined ? span : { first: span.first, last: span.last - as };
  return { span: own, value: plan.copy(own, val) };
}

/**
 * Whether the server gives a constant or parameter among the targets the type text, because rows
 * are sorted, grouped or made distinct by it.
 */
export function isResolved(select: SelectStmt, place: number): boolean {
  const { distinctClause, groupClause, sortClause, targetList } = select;
  const target = targetList?.[place];
  const { name, val } = target && 'ResTarget' in target ? target.ResTarget : {};
  // DISTINCT without ON is a list of nothing.
  if (distinctClause?.every((node) => Object.keys(node).length === 0)) return true;
  return mentions([distinctClause, groupClause, sortClause], place + 1, name, val);
}

function mentions(
  value: unknown,
  ordinal: number,
  name: ByteString | undefined,
  node: Node | undefined,
): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (sameTree(value, node)) return true;
  if ('A_Const' in value) {
    return (value.A_Const as { ival?: { ival?: number } }).ival?.ival === ordinal;
  }
  if ('ColumnRef' in value) {
    const fields = strings((value.ColumnRef as { fields?: Node[] }).fields);
    return fields.length === 1 && name !== undefined && fields[0] === name;
  }
  return Object.values(value).some((child) => mentions(child, ordinal, name, node));
}
