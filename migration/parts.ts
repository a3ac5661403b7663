import type { Connection } from '../db/connect.js';
import { type Member, readTree, readTrees } from '../db/tree.js';
import type { PartRule, RuleSet } from '../sql/rules.js';
import { ownColumns, type Plan } from './plan.js';

/*
 * Partitions come and go while a migration is under way: that is what they are for. The guard and
 * the proof are the partitioned table's, and PostgreSQL gives them to every partition that is made
 * or attached; the rules of the proxies name the partitions, and follow within a second.
 */

export const partRule = ({ oid, schema, name }: Member): PartRule => ({ oid, schema, name });

/**
 * The partitions that go by the table's rule: of one with its columns in another order what `*` is
 * would not be true. No migration goes on with such a one (shape.ts). Pure.
 */
export function namedParts([table, ...parts]: readonly Member[]): PartRule[] {
  const order = (member: Member) => member.columns.join('\0');
  return parts.filter((part) => order(part) === order(table!)).map(partRule);
}

/**
 * What the rules are to say of partitions now, by oid of the table: those that are there, and
 * those that were detached and have a column of the migration's yet, which is to stay hidden.
 * @param plans of the migrations under way.
 * @param before the rules in force.
 */
export async function readParts(
  connection: Connection,
  oids: readonly number[],
  plans: readonly Plan[],
  before: RuleSet,
): Promise<Map<number, PartRule[]>> {
  const trees = await readTrees(connection, oids);
  const parts = new Map<number, PartRule[]>();
  for (const [oid, members] of trees) parts.set(oid, namedParts(members));
  for (const plan of plans) {
    const known = parts.get(plan.table.oid);
    known?.push(...(await detachedParts(connection, plan, known, before)));
  }
  return parts;
}

/** Partitions of the rules in force that are none any more, and keep a column of the migration's. */
export async function detachedParts(
  connection: Connection,
  plan: Plan,
  present: readonly { oid: number }[],
  rules: RuleSet,
): Promise<PartRule[]> {
  const there = new Set(present.map(({ oid }) => oid));
  const known = rules.tables.find(({ oid }) => oid === plan.table.oid)?.parts ?? [];
  const gone = known.filter(({ oid }) => !there.has(oid)).map(({ oid }) => oid);
  if (gone.length === 0) return [];
  const { rows } = await connection.query(
    `SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = ANY ($1::oid[]) AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
       WHERE a.attrelid = c.oid AND a.attname = ANY ($2) AND NOT a.attisdropped)
     ORDER BY n.nspname, c.relname`,
    [gone, ownColumns(plan)],
  );
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}

/**
 * A partition that the rules in force do not know, described: statements that name it are neither
 * held nor hidden from. Null when they know all. Asked while the table is locked.
 */
export async function unknownParts(connection: Connection, plan: Plan): Promise<string | null> {
  if (!plan.parts) return null;
  const rules = await rulesNow(connection);
  const known = rules.tables.find(({ oid }) => oid === plan.table.oid)?.parts ?? [];
  const oids = new Set(known.map(({ oid }) => oid));
  const members = await readTree(connection, plan.table.oid);
  const fresh = namedParts(members).find(({ oid }) => !oids.has(oid));
  return fresh ? `partition ${fresh.schema}.${fresh.name} is new to the proxies` : null;
}

/** The rules in force. */
export async function rulesNow(connection: Connection): Promise<RuleSet> {
  return (await connection.query('SELECT rule_set FROM pgtandem.rules')).rows[0].rule_set;
}

/** Whether two lists name the same partitions by the same names. Pure. */
export function sameParts(a: readonly PartRule[] = [], b: readonly PartRule[] = []): boolean {
  const keys = (parts: readonly PartRule[]) =>
    parts.map(({ oid, schema, name }) => `${oid}\0${schema}\0${name}`).sort();
  return keys(a).join('\n') === keys(b).join('\n');
}
