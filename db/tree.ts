import type { Connection } from './connect.js';

/** A table, or a partition of it at any level. */
export interface Member {
  oid: number;
  schema: string;
  name: string;
  /** `pg_class.relkind`: `p` has partitions and no rows, `r` has rows, `f` is a foreign table. */
  kind: string;
  /** The table of which it is a partition; null of the table itself. */
  parent: number | null;
  /** Whether DETACH PARTITION CONCURRENTLY was begun and has not ended. */
  detaching: boolean;
  /** Names of its columns as they lie; an attached partition may have them in an order of its own. */
  columns: string[];
}

/**
 * The tables themselves and all of their partitions, each after what it is a partition of, by oid
 * of the table. A table that is gone has no members. Partitions are in order of their names.
 */
export async function readTrees(
  connection: Connection,
  oids: readonly number[],
): Promise<Map<number, Member[]>> {
  const { rows } = await connection.query(TREES_QUERY, [oids]);
  const trees = new Map<number, Member[]>(oids.map((oid) => [oid, []]));
  for (const { root, level: _, ...member } of rows) trees.get(Number(root))!.push(toMember(member));
  return trees;
}

export async function readTree(connection: Connection, oid: number): Promise<Member[]> {
  return (await readTrees(connection, [oid])).get(oid)!;
}

/** Those of the members that have rows. */
export const leavesOf = (members: readonly Member[]) => members.filter(({ kind }) => kind !== 'p');

const toMember = (row: Record<string, unknown>) =>
  ({
    ...row,
    oid: Number(row.oid),
    parent: row.parent === null ? null : Number(row.parent),
  }) as Member;

const TREES_QUERY = `
WITH RECURSIVE tree (root, oid, parent, level, detaching) AS (
  SELECT c.oid, c.oid, NULL::oid, 0, false FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[])
  UNION ALL
  SELECT t.root, i.inhrelid, i.inhparent, t.level + 1, t.detaching OR i.inhdetachpending
  FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
SELECT t.root::int8, t.oid::int8, t.parent::int8, t.level, t.detaching,
       n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.root, t.level, n.nspname, c.relname`;

/** Columns of the keys by which a table and its partitions are divided, by names, once each. */
export async function readKeyColumns(
  connection: Connection,
  oids: readonly number[],
): Promise<string[]> {
  const { rows } = await connection.query(KEYS_QUERY, [oids]);
  return rows.map((row) => row.name);
}

/** The columns of an expression are Vars in its node tree. */
const KEYS_QUERY = `
SELECT DISTINCT a.attname AS name FROM pg_catalog.pg_partitioned_table p
JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND (
  a.attnum = ANY (p.partattrs::int2[]) OR a.attnum IN (
    SELECT m.nums[1]::int FROM regexp_matches(p.partexprs::text, ':varattno (\\d+)', 'g') AS m(nums)))
WHERE p.partrelid = ANY ($1::oid[]) AND a.attnum > 0 ORDER BY 1`;
