import type { CopyStmt } from 'libpg-query';
import type { Plan } from './plan.js';
import type { PreparedTable } from './prepared.js';
import { quoteIdentifier } from './rules.js';
import { stringNodes, toBytes } from './tree.js';

/**
 * COPY of a table: without a column list it would move the hidden columns too, so the visible ones
 * are listed. What COPY FROM writes is left to the guard.
 */
export function rewriteCopy(plan: Plan, stmt: CopyStmt, table: PreparedTable): void {
  const { source } = plan;
  if (!stmt.attlist && table.hides) {
    // Generated columns are left out, as the server does by itself.
    const generated = new Set(
      table.rule.columns.filter((column) => column.generated).map(({ name }) => toBytes(name)),
    );
    const columns = table.visible.filter((column) => !generated.has(column));
    const after = source.afterName(source.indexAt(stmt.relation?.location ?? 0));
    plan.insert(source.end(after - 1), ` (${columns.map(quoteIdentifier).join(', ')})`);
    stmt.attlist = stringNodes(columns);
    plan.needed.add(table);
  }
  if (stmt.is_from && table.pairs.length > 0) plan.guardWrite(table, 'copy');
}
