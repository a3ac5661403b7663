import type { Node } from 'libpg-query';
import type { Star } from './findings.js';
import { columnOf } from './fragment.js';
import type { Plan } from './plan.js';
import { quoteIdentifier } from './rules.js';
import { findItem, type Item, isMisnamed } from './scope.js';
import { type ByteString, stringNodes, strings } from './tree.js';

/** A value in place of a star, as text and as tree. */
interface Target {
  text: ByteString;
  node: Node;
}

/**
 * Spells a star out where it would show hidden columns: the visible columns in its place,
 * qualified, and other tables' stars as they are. Where that is not certain the read is counted.
 */
export function expandStar(plan: Plan, star: Star): void {
  if (star.whole) {
    expand(plan, star, [star.whole], true);
    return;
  }
  const qualifiers = strings(star.ref.fields).slice(0, -1);
  if (qualifiers.length === 0) {
    expand(plan, star, star.scope.items);
    return;
  }
  const name = qualifiers.at(-1) ?? '';
  const item = findItem(star.scope, name);
  if (item) expand(plan, star, [item], true);
}

function expand(plan: Plan, star: Star, items: readonly Item[], qualified = false): void {
  if (!items.some((item) => item.table?.hides || item.opaque)) return;
  const names = items.map((item) => item.name);
  const distinct = new Set(names).size === names.length;
  const targets = items.map(targetsOf);
  if ((star.scope.merged && !qualified) || !distinct || targets.includes(null)) {
    plan.guardRead('star');
    return;
  }
  const flat = targets.flatMap((list) => list ?? []);
  const text = flat.map((target) => target.text).join(', ');
  const { source } = plan;
  const location = star.ref.location ?? 0;
  if (star.whole) {
    const open = source.indexAt(
      'ResTarget' in star.target ? (star.target.ResTarget.location ?? 0) : 0,
    );
    source.expect(open, '(');
    const close = source.close(open);
    source.expect(close + 1, '.', '*');
    plan.replace(source.start(open), source.end(close + 2), text);
  } else if (location < 0) {
    let keyword = source.indexAt(star.from) - 1;
    while (source.word(keyword) === 'only' || source.word(keyword) === '(') keyword--;
    source.expect(keyword, 'table');
    // The server knows of no place of what TABLE gives.
    const whole = `SELECT ${text} FROM`;
    const copies = [{ at: 0, from: -1, length: whole.length }];
    plan.replace(source.start(keyword), source.end(keyword), { text: whole, copies });
  } else {
    const first = source.indexAt(location);
    const at = qualified ? source.afterName(first) + 1 : first;
    source.expect(at, '*');
    plan.replace(location, source.end(at), text);
  }
  const place = star.targets.indexOf(star.target);
  const nodes = flat.map(({ node }) => (star.inRow ? node : { ResTarget: { val: node } }));
  for (const node of nodes) plan.spelled.set(node, location);
  star.targets.splice(place, 1, ...nodes);
}

/** What an item's star stands for; null when it cannot be said. */
function targetsOf(item: Item): Target[] | null {
  if (item.opaque || item.path.length === 0) return null;
  const { table } = item;
  if (!table?.hides) {
    const fields = [...stringNodes(item.path), { A_Star: {} }];
    return [
      {
        text: `${item.path.map(quoteIdentifier).join('.')}.*`,
        node: { ColumnRef: { fields } },
      },
    ];
  }
  if (isMisnamed(item)) return null;
  if (item.columns.length > table.visible.length) return null;
  return table.visible.map((column, i) => columnOf(item.path, item.columns[i] ?? column));
}
