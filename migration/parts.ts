import type { Connection } from '../db/connect.js';
import { childrenOf, type Member, readTree } from '../db/tree.js';
import type { PartRule, RuleSet } from '../sql/rules.js';
import { hasMembers, ownColumns, type Plan } from './plan.js';

/*
 * Partitions come and go while a migration is under way: that is what they are for. The guard and
 * the proof are the partitioned table's, and PostgreSQL gives them to every partition that is made
 * or attached; the rules of the proxies name the partitions, and follow within a second.
 *
 * Children by inheritance get the column and the proof in the same way, but no trigger: each that the
 * plan knows is given one, and a migration does not go on with others.
 */

export const partRule = ({ oid, schema, name }: Member): PartRule => ({ oid, schema, name });

/**
 * The partitions that go by the table's rule: of one with its columns in another order what `*` is
 * would not be true. And the children that the plan knows, which have columns of their own; without a
 * plan no columns matter. No migration goes on with others (shape.ts). Pure.
 */
export function namedParts([table, ...parts]: readonly Member[], plan?: Plan): PartRule[] {
  if (table && table.kind !== 'p') {
    const planned = plan && new Set((plan.children ?? []).map(({ oid }) => oid));
    return parts.filter(({ oid }) => planned?.has(oid) ?? true).map(partRule);
  }
  const order = (member: Member) => member.columns.join('\0');
  return parts.filter((part) => order(part) === order(table!)).map(partRule);
}

/** A child that the plan does not know: it has no guard. Pure. */
export function strayChild(members: readonly Member[], plan: Plan): Member | undefined {
  const planned = new Set((plan.children ?? []).map(({ oid }) => oid));
  return childrenOf(members).find(({ oid }) => !planned.has(oid));
}

/**
 * What the rules are to say of partitions and children now, by oid of the table: those that are there,
 * and those that were detached and have a column of the migration's yet, which is to stay hidden.
 * @param trees the tables with their partitions and children, by oid of the table.
 * @param plans of the migrations under way.
 * @param before the rules in force.
 */
export async function readParts(
  connection: Connection,
  trees: ReadonlyMap<number, Member[]>,
  plans: readonly Plan[],
  before: RuleSet,
): Promise<Map<number, PartRule[]>> {
  const parts = new Map<number, PartRule[]>();
  const planOf = new Map(plans.map((plan) => [plan.table.oid, plan]));
  for (const [oid, members] of trees) parts.set(oid, namedParts(members, planOf.get(oid)));
  for (const plan of plans) {
    const known = parts.get(plan.table.oid);
    known?.push(...(await detachedParts(connection, plan, known, before)));
  }
  return parts;
}

/** Partitions and children of the rules in force that are none any more, and keep a column of the migration's. */
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
 * A partition, or a child of the plan's, that the rules in force do not know, described: statements that name it are neither
 * held nor hidden from. Null when they know all. Asked while the table is locked.
 */
export async function unknownParts(connection: Connection, plan: Plan): Promise<string | null> {
  if (!hasMembers(plan)) return null;
  const rules = await rulesNow(connection);
  const known = rules.tables.find(({ oid }) => oid === plan.table.oid)?.parts ?? [];
  const oids = new Set(known.map(({ oid }) => oid));
  const members = await readTree(connection, plan.table.oid);
  const fresh = namedParts(members, plan).find(({ oid }) => !oids.has(oid));
  const kind = plan.children ? 'child' : 'partition';
  return fresh ? `${kind} ${fresh.schema}.${fresh.name} is new to the proxies` : null;
}

/** The rules in force. */
export async function rulesNow(connection: Connection): Promise<RuleSet> {
  const text = 'SELECT rule_set FROM pgtandem.rules';
  return (await connection.query({ name: 'rules', text })).rows[0].rule_set;
}

/** Whether two lists name the same partitions or children by the same names. Pure. */
export function sameParts(a: readonly PartRule[] = [], b: readonly PartRule[] = []): boolean {
  const keys = (parts: readonly PartRule[]) =>
    parts.map(({ oid, schema, name }) => `${oid}\0${schema}\0${name}`).sort();
  return keys(a).join('\n') === keys(b).join('\n');
}
