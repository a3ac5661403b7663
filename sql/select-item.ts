import type { Node } from 'libpg-query';
import { joinedToOne, multiAssign, PLAIN } from './assign.js';
import { join, joinWith } from './edits.js';
import { columnOf, type Fragment } from './fragment.js';
import { ONCE, placed } from './inner.js';
import type { Addition } from './pairs.js';
import { type Plan, Unsure } from './plan.js';
import { quoteIdentifier } from './rules.js';
import type { SetItem } from './set-list.js';
import { type ByteString, stringNodes } from './tree.js';

/*
 * Columns that are assigned by one subselect:
 *
 *   SET (a, b, a_shadow) = (WITH d (x, y) AS MATERIALIZED (client's select)
 *                           SELECT d.*, up(d.x) FROM (VALUES (1)) AS one LEFT JOIN d ON true)
 *
 * A WITH query is computed once where it reads nothing of the row, and for each row where it does,
 * which is what becomes of the client's select by itself. Where it gives no row the columns become
 * NULL, and what is made from them is made from that NULL.
 */

/** The targets of the item as it is now. */
export function selectOnce(
  plan: Plan,
  item: SetItem,
  name: ByteString,
  additions: readonly Addition[],
): Node[] {
  const { source } = plan;
  const { select } = item;
  if (!select) throw new Unsure('shape');
  const names = item.columns.map((_, i) => `${ONCE} ${i + 1}`);
  const columns = additions.map(({ column }) => column);
  const from = joinedToOne(name);
  const close = source.close(item.span.first);
  plan.insert(source.start(close), ...columns.map((column) => `, ${quoteIdentifier(column)}`));
  const head = `WITH ${quoteIdentifier(name)} (${names.map(quoteIdentifier).join(', ')})`;
  plan.insert(source.end(select.open), `${head} AS MATERIALIZED (`);
  const own = outputs(select, name, names);
  const values = [...own, ...additions.map(({ value }) => value)];
  plan.insert(
    source.start(item.span.last),
    ') SELECT ',
    join(joinWith(', ', values), ` FROM ${from.text}`),
  );
  return multiAssign([...item.columns, ...columns], {
    targetList: values.map(({ node }) => ({ ResTarget: { val: node } })),
    fromClause: [from.node],
    withClause: {
      ctes: [
        {
          CommonTableExpr: {
            ctename: name,
            aliascolnames: stringNodes(names),
            ctematerialized: 'CTEMaterializeAlways',
            ctequery: { SelectStmt: select.stmt },
          },
        },
      ],
    },
    ...PLAIN,
  });
}

/** The columns of the client's select, each by itself where it is known how many it gives. */
function outputs(
  { stmt, starts }: NonNullable<SetItem['select']>,
  name: ByteString,
  names: readonly ByteString[],
): Fragment[] {
  if (starts) return names.map((column, i) => placed(columnOf([name], column), starts[i]));
  // As many as there are, so that the server sees when they do not fit.
  const node: Node = { ColumnRef: { fields: [...stringNodes([name]), { A_Star: {} }] } };
  const first = stmt.targetList?.[0];
  const from = first && 'ResTarget' in first ? first.ResTarget.location : undefined;
  return [placed({ text: `${quoteIdentifier(name)}.*`, copies: [], node }, from)];
}
