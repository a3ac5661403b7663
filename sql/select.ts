import type { Node, SelectStmt } from 'libpg-query';
import { copyOf, type Fragment } from './fragment.js';
import { Unsure } from './plan.js';
import type { Source, Span } from './source.js';
import type { ByteString } from './tree.js';

/** Words that end a target list; all of them are reserved, so that no bare label is one. */
const ENDS = new Set(
  `from into where group having window union intersect except order limit offset fetch for on
  returning`.split(/\s+/),
);

/**
 * The target list of the SELECT of an INSERT, when something can be added to it that does not
 * change which rows it returns: no DISTINCT, grouping or set operation, and no star.
 *
 * @throws Unsure otherwise.
 */
export function selectRow(
  source: Source,
  from: number,
  select: SelectStmt,
  columns: readonly ByteString[],
): { cells: Fragment[]; end: number } {
  const { distinctClause, groupClause, groupDistinct, havingClause, intoClause, op } = select;
  const plain = !distinctClause && !groupClause && !groupDistinct && !havingClause && !intoClause;
  const targets = select.targetList ?? [];
  const first = targets[0];
  const word = source.word(from);
  const written = word === 'select' || (word === 'with' && select.withClause !== undefined);
  if (!plain || op !== 'SETOP_NONE' || !first || !('ResTarget' in first) || !written) {
    throw new Unsure('insert-select');
  }
  const start = source.indexAt(first.ResTarget.location ?? 0);
  const spans = source.items(start, (index) => endsTargets(source, index));
  if (spans.length !== targets.length || targets.length !== columns.length) {
    throw new Unsure('insert-select');
  }
  const cells = targets.map((target, i) => targetOf(source, target, spans[i]!));
  return { cells, end: source.end(spans.at(-1)!.last) };
}

function endsTargets(source: Source, index: number): boolean {
  const before = source.word(index - 1);
  if (!ENDS.has(source.word(index)) || before === '.' || before === 'as') return false;
  return !(source.word(index) === 'from' && before === 'distinct');
}

/** A target's expression without its label. */
function targetOf(source: Source, target: Node, span: Span): Fragment {
  const { name, val } = 'ResTarget' in target ? target.ResTarget : {};
  const star = val && 'ColumnRef' in val && val.ColumnRef.fields?.some((f) => 'A_Star' in f);
  if (!val || star || 'A_Indirection' in val) throw new Unsure('insert-select');
  if (name === undefined) return copyOf(source, span, val);
  const last = source.word(span.last - 1) === 'as' ? span.last - 2 : span.last - 1;
  return copyOf(source, { first: span.first, last }, val);
}
