import type { Node, RangeVar } from 'libpg-query';
import { PLAIN } from './assign.js';
import type { Star } from './findings.js';
import { columnOf } from './fragment.js';
import type { Plan } from './plan.js';
import { quoteIdentifier } from './rules.js';
import { type Item, isMisnamed, type Scope } from './scope.js';
import { strings } from './tree.js';

/*
 * A bare star over USING or NATURAL JOIN: which columns are merged only the server knows. There the
 * table becomes a subselect of its visible columns, which is the same as long as nothing needs the
 * table itself: its system columns, its rows as values, locks, what grouping by its key implies.
 * All visible columns are read by the star anyway, so that no other privilege is needed.
 */
export function hideTables(plan: Plan, star: Star): void {
  const { scope } = star;
  const bare = strings(star.ref.fields).length === 1;
  if (!bare || !scope.merged || !scope.plain) return;
  const hiding = scope.items.filter((item) => item.table?.hides || item.opaque);
  const places = hiding.map((item) => placeOf(plan, item));
  if (places.includes(null)) return;
  for (const [i, item] of hiding.entries()) hide(plan, item, places[i]!);
}

/**
 * A table whose alias names columns by their place becomes such a subselect, too, where hidden columns
 * stand before visible ones.
 */
export function hideMisnamed(plan: Plan, scope: Scope): void {
  for (const item of scope.items.filter(isMisnamed)) {
    const place = scope.plain ? placeOf(plan, item) : null;
    if (place) hide(plan, item, place);
    else plan.guardRead('star');
  }
}

interface Place {
  start: number;
  end: number;
  node: Extract<Node, { RangeVar: unknown }>;
}

/** Where the table stands, when it can be a subselect. */
function placeOf(plan: Plan, item: Item): Place | null {
  const { node } = item;
  if (!item.table || item.needed || !node || !('RangeVar' in node)) return null;
  const { source } = plan;
  const relation = node.RangeVar;
  const first = source.indexAt(relation.location ?? 0);
  const after = source.afterName(first);
  const only = !relation.inh;
  if (source.word(after) === '*' || (only && source.word(first - 1) !== 'only')) return null;
  const start = source.start(only ? first - 1 : first);
  return { start, end: source.end(after - 1), node };
}

function hide(plan: Plan, item: Item, { start, end, node }: Place): void {
  const { alias, ...relation }: RangeVar = node.RangeVar;
  const columns = (item.table?.visible ?? []).map((column) => columnOf([], column));
  const list = columns.map(({ text }) => text).join(', ');
  const name = alias ? '' : ` AS ${quoteIdentifier(item.name ?? '')}`;
  plan.insert(start, `(SELECT ${list} FROM `);
  plan.insert(end, `)${name}`);
  const subquery: Node = {
    SelectStmt: {
      targetList: columns.map((column) => ({ ResTarget: { val: column.node } })),
      fromClause: [{ RangeVar: relation }],
      ...PLAIN,
    },
  };
  const holder: Record<string, unknown> = node;
  delete holder.RangeVar;
  holder.RangeSubselect = { subquery, alias: alias ?? { aliasname: item.name ?? '' } };
  item.table = null;
  item.path = [item.name ?? ''];
}

/** Whether a NATURAL JOIN sees columns that should be hidden. */
export function seesHidden(scope: Scope): boolean {
  return scope.items.some((item) => item.table?.hides || item.opaque);
}
