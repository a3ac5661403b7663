import type { Connection } from './connect.js';
import { DATABASE_SQL } from './views.js';

/** What the catalogs say of one table. */
export interface Relation {
  schema: string;
  name: string;
  /** `pg_class.relkind` */
  kind: string;
  /** `pg_am.amname`; null of what has no storage. */
  accessMethod: string | null;
  temporary: boolean;
  /** Whether the role may VACUUM it. */
  mayVacuum: boolean;
  /** The role, as SQL writes it. */
  role: string;
}

/**
 * VACUUM is for the table's owner, the database's owner, a superuser, and from PostgreSQL 17 on for
 * who has MAINTAIN; for the others it is a warning and no error.
 */
const SQL = `
SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, a.amname AS "accessMethod",
  c.relpersistence = 't' AS temporary, quote_ident(current_user) AS role,
  pg_catalog.pg_has_role(c.relowner, 'USAGE')
    OR pg_catalog.pg_has_role(d.datdba, 'USAGE')
    OR ($2 AND pg_catalog.has_table_privilege(c.oid, $3)) AS "mayVacuum"
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_database d ON d.datname = current_database()
LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
WHERE c.oid = $1`;

/** @returns null when there is no such table. */
export async function readRelation(connection: Connection, oid: number): Promise<Relation | null> {
  const { rows } = await connection.query(
    `SELECT current_setting('server_version_num')::int >= 170000 AS yes`,
  );
  const hasMaintain: boolean = rows[0].yes;
  // The name of a privilege that the server does not know is an error even when it is not needed.
  const privilege = hasMaintain ? 'MAINTAIN' : 'SELECT';
  return (await connection.query(SQL, [oid, hasMaintain, privilege])).rows[0] ?? null;
}

/** The file of a table and its length; stands still only while the table is locked. */
export interface RelationFile {
  oid: number;
  /** `pg_relation_filenode()`; changes with VACUUM FULL, CLUSTER, TRUNCATE, rewriting ALTERs. */
  relfilenode: number;
  blocks: number;
}

/**
 * A query of one row, a {@link RelationFile}.
 * @param table its name with its schema, as a string literal.
 */
export function relationFileSql(table: string): string {
  return `SELECT c.oid, pg_catalog.pg_relation_filenode(c.oid) AS relfilenode,
       (pg_catalog.pg_relation_size(c.oid)
         / pg_catalog.current_setting('block_size')::bigint)::float8 AS blocks
     FROM pg_catalog.pg_class c WHERE c.oid = ${table}::regclass`;
}

/** Whether a session waits for a lock on the table that the backend `pid` holds or is queued for. */
export async function blocksSomeone(
  connection: Connection,
  oid: number,
  pid: number,
): Promise<boolean> {
  const { rows } = await connection.query(
    `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = $1 AND NOT l.granted
       AND $2 = ANY (pg_catalog.pg_blocking_pids(l.pid))) AS yes`,
    [oid, pid],
  );
  return rows[0].yes;
}

const HOLDERS_OF_TABLE = `
SELECT DISTINCT l.pid, a.application_name AS application
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = $1 AND l.granted
  AND l.database = ${DATABASE_SQL}
  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`;

/**
 * Who holds a lock that an UPDATE of these rows waits for: sessions with a lock on the table that
 * conflicts with ROW EXCLUSIVE, or else the transactions that locked or changed the rows themselves
 * (not those that share a row's lock: their multixact is not looked into).
 * @param range SQL condition on ctid.
 */
export async function lockHolders(
  connection: Connection,
  oid: number,
  table: string,
  range: string,
): Promise<{ pid: number | null; application: string | null }[]> {
  const ofTable = await connection.query(HOLDERS_OF_TABLE, [oid]);
  if (ofTable.rows.length > 0) return ofTable.rows;
  const ofRows = await connection.query(
    `SELECT DISTINCT l.pid, a.application_name AS application
     FROM (SELECT DISTINCT xmax FROM ONLY ${table} WHERE ${range} AND xmax <> '0') r
     JOIN pg_catalog.pg_locks l
       ON l.locktype = 'transactionid' AND l.transactionid = r.xmax AND l.granted
     LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid`,
  );
  return ofRows.rows;
}
