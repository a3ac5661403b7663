import type { Connection } from './connect.js';

/** A table, or a partition or a child by inheritance of it, at any level. */
export interface Member {
  oid: number;
  schema: string;
  name: string;
  /** `pg_class.relkind`: `p` has partitions and no rows, `r` has rows, `f` is a foreign table. */
  kind: string;
  /** Tables of which it is a partition or a child, in order; others than those of the tree among them. */
  parents: number[];
  /** Their names with their schemas, for messages. */
  parentNames: string[];
  /** Whether DETACH PARTITION CONCURRENTLY was begun and has not ended. */
  detaching: boolean;
  /** Names of its columns as they lie; an attached partition may have them in an order of its own. */
  columns: string[];
}

/**
 * The tables themselves and all of their partitions or children, each after what it is a partition or
 * child of, by oid of the table. A table that is gone has no members. Those of a level are in order of
 * their names.
 */
export async function readTrees(
  connection: Connection,
  oids: readonly number[],
): Promise<Map<number, Member[]>> {
  // Prepared: the coordinator asks it each second, and planning it takes longer than running it.
  const { rows } = await connection.query({ name: 'trees', text: TREES_QUERY, values: [oids] });
  const trees = new Map<number, Member[]>(oids.map((oid) => [oid, []]));
  for (const { root, level: _, ...member } of rows) trees.get(Number(root))!.push(toMember(member));
  return trees;
}

export async function readTree(connection: Connection, oid: number): Promise<Member[]> {
  return (await readTrees(connection, [oid])).get(oid)!;
}

/** Those of the members that have rows: of a partitioned table its leaves, of any other all. */
export const leavesOf = (members: readonly Member[]) => members.filter(({ kind }) => kind !== 'p');

/** The children by inheritance, which have triggers and columns of their own; partitions are none. */
export const childrenOf = ([table, ...rest]: readonly Member[]) =>
  table?.kind === 'p' ? [] : rest;

const toMember = (row: Record<string, unknown>) =>
  ({
    ...row,
    oid: Number(row.oid),
    parents: (row.parents as string[]).map(Number),
  }) as Member;

const TREES_QUERY = `
WITH RECURSIVE paths (root, oid, level, detaching) AS (
  SELECT c.oid, c.oid, 0, false FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[])
  UNION ALL
  SELECT p.root, i.inhrelid, p.level + 1, p.detaching OR i.inhdetachpending
  FROM paths p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid),
tree AS (SELECT root, oid, max(level) AS level, bool_or(detaching) AS detaching
         FROM paths GROUP BY root, oid)
SELECT t.root::int8, t.oid::int8, t.level, t.detaching,
       ARRAY(SELECT i.inhparent::int8 FROM pg_catalog.pg_inherits i
         WHERE i.inhrelid = t.oid ORDER BY i.inhseqno) AS parents,
       ARRAY(SELECT format('%s.%s', pn.nspname, pc.relname)
         FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent
         JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
         WHERE i.inhrelid = t.oid ORDER BY i.inhseqno) AS "parentNames",
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
