import { type Connection, transaction } from '../db/connect.js';
import type { RuleSet, TableRule } from '../sql/rules.js';
import type { Plan } from './plan.js';
import { type Order, type Stage, tableRule } from './stage.js';
import { type Migration, notify } from './store.js';

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
  const { rows } = await connection.query(
    `SELECT name, plan, stage FROM pgtandem.migration WHERE stage->>'name' <> 'none' ORDER BY id`,
  );
  const ruleSet = makeRuleSet(epoch, rows);
  await connection.query(
    'UPDATE pgtandem.rules SET epoch = $1, rule_set = $2, published_at = clock_timestamp()',
    [epoch, ruleSet],
  );
  await notify(connection);
  return epoch;
}

/** A table has one rule: of two migrations the later one's, as the earlier is complete. Pure. */
export function makeRuleSet(
  epoch: number,
  migrations: { name: string; plan: Plan; stage: Stage }[],
): RuleSet {
  const byTable = new Map<number, TableRule>();
  for (const { name, plan, stage } of migrations) {
    const rule = tableRule(plan, name, stage);
    if (rule) byTable.set(rule.oid, rule);
  }
  return { epoch, tables: [...byTable.values()] };
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
