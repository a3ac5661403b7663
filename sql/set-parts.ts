import type { Fragment } from './fragment.js';
import type { Addition } from './pairs.js';
import { valueOfParts } from './part-value.js';
import { isSteady, twinOf } from './parts.js';
import { Unsure } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import { isRepeatable } from './safety.js';
import type { SetItem } from './set-list.js';
import type { ByteString } from './tree.js';

/* UPDATE of parts of columns: `SET a[1] = x`. */

/** The new value of a column of which parts are assigned, from the one that it has. */
export function newValueOfParts(
  table: PreparedTable,
  column: ByteString,
  before: Fragment,
  items: readonly SetItem[],
): Fragment {
  const own = items.filter(({ columns }) => columns.includes(column));
  const writes = own.map(({ part }) => {
    if (!part) throw new Unsure('indirection');
    return part;
  });
  return valueOfParts(columnOfTable(table, column), before, writes, table.rule.guard);
}

/** The parts that an UPDATE assigns, for columns that are the same in every row already. */
export function partsTwice(
  table: PreparedTable,
  items: readonly SetItem[],
  isGiven: (column: ByteString) => boolean,
): Addition[] {
  const strict = table.rule.guard === 'none';
  return items.flatMap((item): Addition[] => {
    const [column] = item.columns;
    const { part } = item;
    if (!part || column === undefined || !table.columns.has(column)) return [];
    const found = twinOf(table, column);
    if (!found || found.pair.everyUpdate || isGiven(found.twin)) return [];
    const { type } = columnOfTable(table, column);
    if (!isSteady(part) || !isRepeatable(part.value.node, type.node, strict)) {
      throw new Unsure('indirection');
    }
    return [{ column: found.twin, value: part.value, part }];
  });
}
