import { type ColumnFacts, readColumns } from '../db/catalog.js';
import { type Connection, transaction } from '../db/connect.js';
import { columnRule } from './columns.js';
import { publish } from './publish.js';
import { type Order, visibleAfter } from './stage.js';
import type { Migration } from './store.js';

/*
 * PostgreSQL cannot put a column in the middle of a table. Where a migration has moved one to the
 * end, the proxies go on showing it in its old place: in `*`, and in INSERT without a column list.
 * The table belongs to its owner again, who may alter it: the order follows what is there.
 */

/**
 * What is shown of a table: the names that were shown and still are there, then the new ones.
 * @returns null when the table's own order is the same, so that nothing need be done. Pure.
 */
export function orderOf(columns: ColumnFacts[], shown: string[]): Order | null {
  const there = columns.map((column) => column.name);
  const kept = shown.filter((name) => there.includes(name));
  const visible = [...kept, ...there.filter((name) => !kept.includes(name))];
  if (visible.every((name, i) => name === there[i])) return null;
  return { columns: columns.map(columnRule), visible };
}

async function tableColumns(connection: Connection, oid: number): Promise<ColumnFacts[]> {
  return transaction(connection, async () => {
    await connection.query(`SET LOCAL search_path = ''`);
    return readColumns(connection, oid);
  });
}

/** Publishes what remains of a migration whose old columns are gone. @returns the epoch. */
export async function publishOrder(connection: Connection, migration: Migration): Promise<number> {
  const { plan, settings } = migration;
  const columns = await tableColumns(connection, plan.table.oid);
  const order = settings.columnOrder === 'physical' ? null : orderOf(columns, visibleAfter(plan));
  // What an earlier migration kept of this table is part of the plan of this one.
  await connection.query(
    `UPDATE pgtandem.migration SET stage = '{"name": "none", "held": false, "version": 0}'
     WHERE stage->>'name' = 'ordered' AND (plan->'table'->>'oid')::bigint = $1 AND id <> $2`,
    [plan.table.oid, migration.id],
  );
  if (order === null) return publish(connection, migration, 'none');
  return publish(connection, migration, 'ordered', false, order);
}

/** Follows what the owner has altered; a table that is gone or in order needs nothing any more. */
export async function refreshOrder(connection: Connection, migration: Migration): Promise<void> {
  const shown = migration.stage.order?.visible ?? [];
  const columns = await tableColumns(connection, migration.plan.table.oid);
  const physical = migration.settings.columnOrder === 'physical';
  const order = physical ? null : orderOf(columns, shown);
  if (order === null) await publish(connection, migration, 'none');
  else await publish(connection, migration, 'ordered', false, order);
}
