import { type Connection, sqlState } from '../db/connect.js';
import { type Member, readTree } from '../db/tree.js';
import { quoteIdentifier as q, quoteLiteral } from '../sql/rules.js';
import { type Context, runBriefly, stopIfAborted } from './context.js';
import { createIndexSql } from './ddl.js';
import { isLockFailure } from './locks.js';
import { type Plan, type PlannedIndex, relationName } from './plan.js';
import type { Migration } from './store.js';

/*
 * An index of a partitioned table is a tree of indexes, which CREATE INDEX CONCURRENTLY does not
 * make: it is made of the table alone, then of each partition concurrently, and put together. A
 * partition that is made meanwhile gets its part from PostgreSQL.
 */

/** A part of an index, of the relation whose oid it is. */
interface Part {
  relation: number;
  schema: string;
  name: string;
}

const PARTS_QUERY = `
WITH RECURSIVE tree AS (
  SELECT i.indexrelid AS oid FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1 AND c.relname = ANY ($2)
  UNION ALL
  SELECT h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid)
SELECT t.oid::int8 AS oid, i.indrelid::int8 AS relation, n.nspname AS schema, c.relname AS name
FROM tree t JOIN pg_catalog.pg_index i ON i.indexrelid = t.oid
JOIN pg_catalog.pg_class c ON c.oid = t.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`;

async function partsOf(
  connection: Connection,
  plan: Plan,
  name: string,
): Promise<Map<number, Part>> {
  const { rows } = await connection.query(PARTS_QUERY, [plan.table.oid, [name]]);
  return new Map(
    rows.map((row) => [Number(row.relation), { ...row, relation: Number(row.relation) }]),
  );
}

/** oids of the table's indexes of these names, and of all their parts. */
export async function indexOids(
  connection: Connection,
  plan: Plan,
  names: readonly string[],
): Promise<Set<number>> {
  const { rows } = await connection.query(PARTS_QUERY, [plan.table.oid, names]);
  return new Set(rows.map((row) => Number(row.oid)));
}

/** Makes an index on the new columns of a partitioned table; may be done again after a crash. */
export async function makePartIndex(
  context: Context,
  migration: Migration,
  index: PlannedIndex,
): Promise<void> {
  const { connection } = context;
  const { plan } = migration;
  for (;;) {
    stopIfAborted(context);
    const there = await partsOf(connection, plan, index.spare);
    const members = await readTree(connection, plan.table.oid);
    const member = members.find(({ oid }) => !there.has(oid));
    if (!member) return;
    const parent = member === members[0] ? null : there.get(member.parents[0]!)!;
    try {
      await makePart(context, migration, index, member, parent);
    } catch (error) {
      // The partition was dropped meanwhile.
      if (!['42P01', '42704'].includes(sqlState(error) ?? '')) throw error;
    }
  }
}

async function makePart(
  context: Context,
  migration: Migration,
  index: PlannedIndex,
  member: Member,
  parent: Part | null,
): Promise<void> {
  const { connection } = context;
  const name = parent === null ? index.spare : `${index.spare}_${member.oid}`;
  const own = relationName({ schema: member.schema, name });
  const attach = parent ? [`ALTER INDEX ${relationName(parent)} ATTACH PARTITION ${own}`] : [];
  if (member.kind === 'p') {
    const create = `CREATE INDEX ${q(name)} ON ONLY ${relationName(member)} ${index.definition}`;
    const space = `SET LOCAL default_tablespace = ${quoteLiteral(index.tablespace ?? '')}`;
    await runBriefly(context, migration, [space, create, ...attach]);
    return;
  }
  const { rows } = await connection.query(
    `SELECT i.indisvalid AND i.indisready AS valid FROM pg_index i
     JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1 AND c.relname = $2`,
    [member.oid, name],
  );
  if (rows[0]?.valid) {
    await runBriefly(context, migration, attach);
    return;
  }
  if (rows[0]) await connection.query(`DROP INDEX CONCURRENTLY IF EXISTS ${own}`);
  try {
    for (const sql of createIndexSql(index, member, name)) await connection.query(sql);
  } catch (error) {
    if (!isLockFailure(error)) throw error;
    await context.wake.wait(1_000, context.signal);
  }
}

/**
 * Gives the parts of two indexes each other's names, partition by partition: as the indexes of the
 * table itself are renamed in a swap, before it does that. In the swap's transaction.
 * @param other the name of the one that takes over, or goes back.
 */
export async function swapPartNames(
  connection: Connection,
  plan: Plan,
  index: PlannedIndex,
  other: string,
): Promise<void> {
  const one = await partsOf(connection, plan, index.name);
  const two = await partsOf(connection, plan, other);
  const statements = [...one.values()].flatMap((a) => {
    const b = two.get(a.relation);
    if (!b || a.relation === plan.table.oid) return [];
    const rename = (from: string, to: string) =>
      `ALTER INDEX ${relationName({ schema: a.schema, name: from })} RENAME TO ${q(to)}`;
    const between = `_pgtandem_between_${a.relation}`;
    return [rename(a.name, between), rename(b.name, a.name), rename(between, b.name)];
  });
  if (statements.length > 0) await connection.query(statements.join('; '));
}
