import { type ColumnFacts, readColumnsOf } from '../db/catalog.js';
import { type Connection, transaction } from '../db/connect.js';
import { columnRule } from './columns.js';
import { type Plan, planOf } from './plan.js';
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

/**
 * The same of a table and of the children that its plan knows.
 * @param shown what was shown of each, by oid.
 */
async function readOrder(
  connection: Connection,
  plan: Plan,
  shown: ReadonlyMap<number, string[]>,
): Promise<Order | null> {
  const oids = [...shown.keys()];
  const facts = await transaction(connection, async () => {
    await connection.query(`SET LOCAL search_path = ''`);
    return readColumnsOf(connection, oids);
  });
  const [own, ...children] = oids.map((oid) => {
    const columns = facts.get(oid) ?? [];
    const order = orderOf(columns, shown.get(oid)!);
    return { oid, order, kept: order ?? physicalOrder(columns) };
  });
  if ([own!, ...children].every(({ order }) => order === null)) return null;
  if (!plan.children) return own!.kept;
  const there = children.filter(({ oid }) => facts.has(oid));
  return { ...own!.kept, children: there.map(({ oid, kept }) => ({ oid, ...kept })) };
}

const physicalOrder = (columns: ColumnFacts[]): Order => ({
  columns: columns.map(columnRule),
  visible: columns.map(({ name }) => name),
});

/** Publishes what remains of a migration whose old columns are gone. @returns the epoch. */
export async function publishOrder(connection: Connection, migration: Migration): Promise<number> {
  const { plan, settings } = migration;
  const shown = new Map([[plan.table.oid, visibleAfter(plan)]]);
  for (const child of plan.children ?? []) shown.set(child.oid, visibleAfter(planOf(plan, child)));
  const isPhysical = settings.columnOrder === 'physical';
  const order = isPhysical ? null : await readOrder(connection, plan, shown);
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
  const { plan, settings, stage } = migration;
  const shown = new Map([[plan.table.oid, stage.order?.visible ?? []]]);
  for (const { oid, visible } of stage.order?.children ?? []) shown.set(oid, visible);
  const isPhysical = settings.columnOrder === 'physical';
  const order = isPhysical ? null : await readOrder(connection, plan, shown);
  if (order === null) await publish(connection, migration, 'none');
  else await publish(connection, migration, 'ordered', false, order);
}
