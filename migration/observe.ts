import { type Connection, transaction } from '../db/connect.js';
import { type Member, readTrees } from '../db/tree.js';
import type { PartRule, RuleSet, TableRule } from '../sql/rules.js';
import { UserError } from './errors.js';
import { type ObservedTable, readObserved } from './observed.js';
import { readParts, sameParts } from './parts.js';
import { ENDED } from './phase.js';
import { publishAgain } from './publish.js';
import type { Migration } from './store.js';

/**
 * Lets the proxies record the statements on a table, or (`on` false) no longer. What was recorded
 * stays for a while.
 * @param name as in SQL: `orders`, `"My Schema".orders`.
 * @throws UserError when there is no such table, or nothing to end.
 */
export async function observe(
  connection: Connection,
  name: string,
  on: boolean,
): Promise<ObservedTable> {
  const table = await find(connection, name);
  return transaction(connection, async () => {
    const { rowCount } = await connection.query(
      on
        ? 'INSERT INTO pgtandem.observed (table_oid) VALUES ($1) ON CONFLICT DO NOTHING'
        : 'DELETE FROM pgtandem.observed WHERE table_oid = $1',
      [table.oid],
    );
    if (!on && rowCount === 0) {
      throw new UserError(`${name} is not observed.`, 'See what is: pgtandem observe.');
    }
    if (rowCount !== 0) await publishAgain(connection);
    const now = (await readObserved(connection)).find(({ oid }) => oid === table.oid);
    return now ?? { ...table, since: new Date() };
  });
}

async function find(
  connection: Connection,
  name: string,
): Promise<{ oid: number; schema: string; name: string }> {
  const { rows } = await connection.query(
    `SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
    [name],
  );
  const [row] = rows;
  if (row?.kind !== 'r' && row?.kind !== 'p') {
    throw new UserError(
      row ? `${name} is not a table.` : `There is no table ${name}.`,
      'Name a table as in SQL, with its schema where the search_path does not find it.',
    );
  }
  return { oid: Number(row.oid), schema: row.schema, name: row.name };
}

/** What another rule speaks of is not looked for in this one. */
function expectedParts(
  { parts: named }: TableRule,
  parts: readonly PartRule[],
  spokenOf: ReadonlySet<number>,
): PartRule[] {
  const own = new Set((named ?? []).map(({ oid }) => oid));
  return parts.filter(({ oid }) => own.has(oid) || !spokenOf.has(oid));
}

/** What is compared each second: rules and migrations, and what the catalog says then of their tables. */
export interface Followed {
  /** Read before the migrations: those know of all that is in it. */
  rules: RuleSet;
  /** oids of the tables that are observed. */
  observed: ReadonlySet<number>;
  migrations: readonly Migration[];
  /** By oid of the table. */
  trees: ReadonlyMap<number, Member[]>;
}

/** @param now rules and observed tables, read before the migrations. */
export async function lookAround(
  connection: Connection,
  { rules, observed }: Pick<Followed, 'rules' | 'observed'>,
  migrations: readonly Migration[],
): Promise<Followed> {
  const going = migrations.filter(({ phase }) => !ENDED.has(phase.name));
  const tables = [...rules.tables, ...going.map(({ plan }) => plan.table)];
  const oids = [...new Set(tables.map(({ oid }) => oid))];
  const trees = oids.length > 0 ? await readTrees(connection, oids) : new Map();
  return { rules, observed, migrations, trees };
}

/** The rules in force, with the tables that are observed. */
export async function readRules(
  connection: Connection,
): Promise<Pick<Followed, 'rules' | 'observed'>> {
  const { rows } = await connection.query({
    name: 'rules and observed',
    text: `SELECT rule_set AS rules,
      ARRAY(SELECT table_oid::int8 FROM pgtandem.observed)::text[] AS observed FROM pgtandem.rules`,
  });
  const { rules, observed } = rows[0];
  return { rules, observed: new Set<number>(observed.map(Number)) };
}

/**
 * Follows the catalog: tables of the rules, and partitions of theirs, that have another name or
 * schema than they had, came or went are published anew, and observed ones that are gone forgotten.
 * @returns whether anything was.
 */
export async function followNames(
  connection: Connection,
  { rules, observed, migrations, trees }: Followed,
): Promise<boolean> {
  if (rules.tables.length === 0) return false;
  const plans = migrations.filter(({ stage }) => stage.name !== 'none').map(({ plan }) => plan);
  const parts = await readParts(connection, trees, plans, rules);
  const spokenOf = new Set(
    rules.tables.flatMap(({ oid, parts }) => [oid, ...(parts ?? []).map((part) => part.oid)]),
  );
  const renamed: number[] = [];
  let forgotten = false;
  for (const table of rules.tables) {
    const [now] = trees.get(table.oid)!;
    if (!now) {
      // A table under migration that is gone is for the migration's own step to find out.
      forgotten ||= observed.has(table.oid);
    } else if (
      now.schema !== table.schema ||
      now.name !== table.name ||
      !sameParts(table.parts, expectedParts(table, parts.get(table.oid) ?? [], spokenOf))
    ) {
      renamed.push(table.oid);
    }
  }
  if (renamed.length === 0 && !forgotten) return false;
  await transaction(connection, async () => {
    await connection.query(
      `DELETE FROM pgtandem.observed
       WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = table_oid)`,
    );
    await publishAgain(connection, renamed);
  });
  return true;
}
