import { type Connection, transaction } from '../db/connect.js';
import { readTrees } from '../db/tree.js';
import type { PartRule, RuleSet, TableRule } from '../sql/rules.js';
import { type ObservedTable, readObserved } from './observed.js';
import { readParts, rulesNow } from './parts.js';
import type { Plan } from './plan.js';
import { type Order, type Stage, tableRule } from './stage.js';
import { type Migration, notify, PLAN_NOW } from './store.js';

/**
 * Puts a stage in force: saves it with the migration and publishes the rule set made of all
 * migrations' stages, under the next epoch. Part of the caller's transaction; the row lock on the
 * rule set makes publications one after another. A stage that is in force already (after a crash)
 * is not published again.
 * @returns the epoch under which it is in force.
 */
export async function publishStage(
  connection: Connection,
  migration: Migration,
  name: Stage['name'],
  held: boolean,
  order?: Order,
): Promise<number> {
  const current = await connection.query('SELECT epoch FROM pgtandem.rules FOR UPDATE');
  const epoch = Number(current.rows[0].epoch) + 1;
  const { rows: before } = await connection.query(
    'SELECT stage FROM pgtandem.migration WHERE id = $1',
    [migration.id],
  );
  const last: Stage = before[0].stage;
  const sameOrder = JSON.stringify(last.order) === JSON.stringify(order);
  if (last.name === name && last.held === held && sameOrder) return epoch - 1;
  const version = last.name === name && sameOrder ? last.version : epoch;
  const stage: Stage = { name, held, version, ...(order ? { order } : {}) };
  await connection.query('UPDATE pgtandem.migration SET stage = $2 WHERE id = $1', [
    migration.id,
    stage,
  ]);
  await writeRules(connection, epoch);
  return epoch;
}

/** Writes what all migrations and observations come to, under an epoch. */
async function writeRules(connection: Connection, epoch: number): Promise<void> {
  const { rows } = await connection.query(
    `SELECT name, ${PLAN_NOW} AS plan, stage FROM pgtandem.migration
     WHERE stage->>'name' <> 'none' ORDER BY id`,
  );
  const observed = await readObserved(connection);
  const plans: Plan[] = rows.map((row) => row.plan);
  const oids = [...plans.map(({ table }) => table.oid), ...observed.map(({ oid }) => oid)];
  const trees = await readTrees(connection, oids);
  const parts = await readParts(connection, trees, plans, await rulesNow(connection));
  const ruleSet = makeRuleSet(epoch, rows, observed, parts);
  await connection.query(
    'UPDATE pgtandem.rules SET epoch = $1, rule_set = $2, published_at = clock_timestamp()',
    [epoch, ruleSet],
  );
  await notify(connection);
}

/**
 * Publishes the rules once more, under the next epoch: what is observed has changed, or tables
 * have another name. Part of the caller's transaction.
 * @param renamed tables under migration: what was planned under their old names is to drain.
 * @returns the epoch.
 */
export async function publishAgain(
  connection: Connection,
  renamed: readonly number[] = [],
): Promise<number> {
  const { rows } = await connection.query('SELECT epoch FROM pgtandem.rules FOR UPDATE');
  const epoch = Number(rows[0].epoch) + 1;
  await connection.query(
    `UPDATE pgtandem.migration SET stage = jsonb_set(stage, '{version}', to_jsonb($1::bigint))
     WHERE stage->>'name' <> 'none' AND (plan->'table'->>'oid')::bigint = ANY ($2)`,
    [epoch, renamed],
  );
  await writeRules(connection, epoch);
  return epoch;
}

/**
 * A table has one rule: of two migrations the later one's, as the earlier is complete. One that is
 * only observed has a rule that does nothing. Pure.
 * @param partsOf partitions and children, by oid of the table; by default those of the plans.
 */
export function makeRuleSet(
  epoch: number,
  migrations: { name: string; plan: Plan; stage: Stage }[],
  observed: readonly ObservedTable[] = [],
  partsOf: ReadonlyMap<number, PartRule[]> = plannedParts(migrations),
): RuleSet {
  const byTable = new Map<number, TableRule>();
  for (const { name, plan, stage } of migrations) {
    const rule = tableRule(plan, name, stage);
    if (rule) byTable.set(rule.oid, rule);
  }
  for (const [oid, { parts: own, ...rule }] of byTable) {
    const parts = partsOf.get(oid) ?? [];
    byTable.set(oid, parts.length > 0 ? { ...rule, parts: presentParts(parts, own) } : rule);
  }
  const once = eachOnce([...byTable.values()]);
  // A partition or child of a table that has a rule goes by that one.
  const named = new Set(once.flatMap(({ parts }) => parts ?? []).map(({ oid }) => oid));
  const idle = observed.filter(({ oid }) => !byTable.has(oid) && !named.has(oid));
  const isObserved = new Set(observed.map(({ oid }) => oid));
  const rules = [...once, ...idle.map((table) => idleRule(table, partsOf.get(table.oid) ?? []))];
  const tables = rules.map((rule) =>
    isObserved.has(rule.oid) ? { ...rule, observed: true as const } : rule,
  );
  return { epoch, tables };
}

/** Those that are there, under the names that they have now; children with columns of their own. */
function presentParts(parts: readonly PartRule[], own: readonly PartRule[] = []): PartRule[] {
  const rules = new Map(own.map((rule) => [rule.oid, rule]));
  return parts.map((part) => ({ ...rules.get(part.oid), ...part }));
}

/**
 * A child may have been migrated alone, before its parent or after it. What is under way goes before
 * what only keeps an order, and of these the later before the earlier: a relation has one rule. Pure.
 */
function eachOnce(rules: readonly TableRule[]): TableRule[] {
  const taken = new Set<number>();
  const isOrder = ({ orderOnly }: TableRule) => Number(orderOnly ?? false);
  const ranked = rules.toReversed().sort((a, b) => isOrder(a) - isOrder(b));
  const kept = new Map<number, TableRule>();
  for (const rule of ranked) {
    if (taken.has(rule.oid)) continue;
    const parts = rule.parts?.filter(({ oid }) => !taken.has(oid));
    for (const { oid } of [rule, ...(parts ?? [])]) taken.add(oid);
    kept.set(rule.oid, parts ? { ...rule, parts } : rule);
  }
  return rules.flatMap(({ oid }) => kept.get(oid) ?? []);
}

const plannedParts = (migrations: readonly { plan: Plan }[]) =>
  new Map(
    migrations.map(({ plan }) => {
      const parts = plan.parts ?? plan.children ?? [];
      return [plan.table.oid, parts.map(({ oid, schema, name }) => ({ oid, schema, name }))];
    }),
  );

/** A rule that does nothing. */
function idleRule({ oid, schema, name }: ObservedTable, parts: PartRule[]): TableRule {
  const nothing = { columns: [], visible: [], pairs: [] };
  return {
    oid,
    schema,
    name,
    version: 1,
    held: false,
    guard: 'repair',
    orderOnly: true,
    ...nothing,
    ...(parts.length > 0 && { parts }),
  };
}

/** As `publishStage`, in a transaction of its own. */
export async function publish(
  connection: Connection,
  migration: Migration,
  name: Stage['name'],
  held = false,
  order?: Order,
): Promise<number> {
  return transaction(connection, () => publishStage(connection, migration, name, held, order));
}
