import type { Connection } from './connect.js';

/** A column as the catalog has it. Types and defaults are schema-qualified. */
export interface ColumnFacts {
  attnum: number;
  name: string;
  type: string;
  baseType: string;
  /** The type under a domain or an array of one, with its modifier; null of any other type. */
  under: string | null;
  notNull: boolean;
  /** Name of the not-null constraint (PostgreSQL 18), else null. */
  notNullName: string | null;
  identity: 'always' | 'by default' | null;
  generated: boolean;
  default: string | null;
  defaultVolatile: boolean;
  /** Schema-qualified name of the sequence that the column owns (serial), else null. */
  ownedSequence: string | null;
  comment: string | null;
  /** Column-level grants of privileges. */
  grants: { role: string; privilege: string; grantable: boolean }[];
  /** Whether equal values of the type have equal bytes (btree `equalimage`). */
  equalImage: boolean;
  /** Schema-qualified collation, when it is not the type's own; else null. */
  collation: string | null;
  /** Whether it is of a domain that has a default or is NOT NULL, which a column of it inherits. */
  demandingDomain: boolean;
  /** From how many tables it is inherited, and whether it is defined in this one (too). */
  inherited: number;
  local: boolean;
  /** `pg_attribute.attstattarget`; -1 for the default. */
  statisticsTarget: number;
}

export interface IndexFacts {
  oid: number;
  name: string;
  unique: boolean;
  primary: boolean;
  valid: boolean;
  clustered: boolean;
  /** Whether it is a partition's part of an index of the partitioned table. */
  inherited: boolean;
  tablespace: string | null;
  comment: string | null;
  /** What stands after `CREATE INDEX name ON table ` in `pg_get_indexdef`. */
  definition: string;
  /** attnums of key and included columns; 0 for an expression. */
  columns: number[];
}

export interface TableFacts {
  oid: number;
  schema: string;
  name: string;
  /** `pg_class.relkind`. */
  kind: string;
  persistence: string;
  isPartition: boolean;
  owned: boolean;
  rowSecurity: boolean;
  hasRules: boolean;
  columns: ColumnFacts[];
  indexes: IndexFacts[];
  /** `writes`: fires on INSERT or UPDATE. */
  triggers: { name: string; before: boolean; row: boolean; update: boolean; writes: boolean }[];
  /** Publications and subscriptions that the table is part of. */
  publications: string[];
  subscribed: boolean;
  /** Roles that may UPDATE but not SELECT the table. */
  blindWriters: string[];
  /** Functions and columns whose type is the table's row type. */
  rowTypeUsers: string[];
}

export interface ServerFacts {
  versionNumber: number;
  version: string;
  database: string;
  user: string;
  inRecovery: boolean;
  canSilenceTriggers: boolean;
  /** Whether our schema is there, or can be made. */
  canInstall: boolean;
}

export async function readServer(connection: Connection): Promise<ServerFacts> {
  const { rows } = await connection.query(`
    SELECT current_setting('server_version_num')::int AS "versionNumber",
           current_setting('server_version') AS version,
           current_database() AS database, current_user AS "user",
           pg_is_in_recovery() AS "inRecovery",
           has_database_privilege(current_database(), 'CREATE')
             OR to_regnamespace('pgtandem') IS NOT NULL AS "canInstall",
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super`);
  const row = rows[0];
  let silence: boolean = row.super;
  if (!silence && row.versionNumber >= 150000) {
    const asked = await connection.query(
      `SELECT has_parameter_privilege('session_replication_role', 'SET') AS yes`,
    );
    silence = asked.rows[0].yes;
  }
  return { ...row, canSilenceTriggers: silence };
}

/**
 * Reads a table by name as this connection's search_path resolves it.
 * @returns null when there is no such relation.
 */
export async function findTable(
  connection: Connection,
  schema: string | null,
  name: string,
): Promise<number | null> {
  const quoted = (part: string) => `"${part.replaceAll('"', '""')}"`;
  const { rows } = await connection.query('SELECT to_regclass($1)::oid::int8 AS oid', [
    schema === null ? quoted(name) : `${quoted(schema)}.${quoted(name)}`,
  ]);
  return rows[0].oid === null ? null : Number(rows[0].oid);
}

/**
 * Everything a plan must know of a table. Runs inside a transaction of the caller's in which
 * search_path is empty, so that what the server prints is qualified.
 */
export async function readTable(connection: Connection, oid: number): Promise<TableFacts> {
  const { rows } = await connection.query(TABLE_QUERY, [oid]);
  const [columns, indexes] = [
    await readColumns(connection, oid),
    await readIndexes(connection, oid),
  ];
  const blind = await connection.query(BLIND_WRITERS_QUERY, [oid]);
  const users = await connection.query(ROW_TYPE_QUERY, [oid]);
  const triggers = await connection.query(TRIGGERS_QUERY, [oid]);
  const publications = await connection.query(PUBLICATIONS_QUERY, [oid]);
  return {
    ...rows[0],
    oid,
    columns,
    indexes,
    triggers: triggers.rows,
    publications: publications.rows.map((row) => row.name),
    blindWriters: blind.rows.map((row) => row.role),
    rowTypeUsers: users.rows.map((row) => row.name),
  };
}

export async function readColumns(connection: Connection, oid: number): Promise<ColumnFacts[]> {
  return (await readColumnsOf(connection, [oid])).get(oid) ?? [];
}

/** The same of several tables, by oid; one that is gone has no entry. */
export async function readColumnsOf(
  connection: Connection,
  oids: readonly number[],
): Promise<Map<number, ColumnFacts[]>> {
  const { rows } = await connection.query(COLUMNS_QUERY, [oids]);
  const columns = new Map<number, ColumnFacts[]>();
  for (const { relation, ...row } of rows) {
    const facts = { ...row, default: row.generated ? null : row.default };
    columns.set(Number(relation), [...(columns.get(Number(relation)) ?? []), facts]);
  }
  return columns;
}

export async function readIndexes(connection: Connection, oid: number): Promise<IndexFacts[]> {
  const { rows } = await connection.query(INDEXES_QUERY, [oid]);
  return rows.map((row) => {
    const at = row.full.indexOf(row.head);
    if (at !== 0) throw new Error(`Index ${row.name}: cannot read ${row.full}`);
    return { ...row, definition: row.full.slice(row.head.length), oid: Number(row.oid) };
  });
}

/** What hangs on one column: described as the server does, with what a plan needs to tell it apart. */
export interface Dependent {
  description: string;
  catalog: string;
  oid: number;
  /** `pg_depend.deptype`. */
  dependency: string;
  /**
   * For a constraint `pg_constraint.contype`, for a relation `pg_class.relkind`, `own` for the
   * column's own default; else empty.
   */
  kind: string;
}

export async function readDependents(
  connection: Connection,
  oid: number,
  attnum: number,
): Promise<Dependent[]> {
  const { rows } = await connection.query(DEPENDENTS_QUERY, [oid, attnum]);
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}

/** The same of the column of that name of each of the tables. */
export async function readDependentsOf(
  connection: Connection,
  oids: readonly number[],
  column: string,
): Promise<Dependent[]> {
  const { rows } = await connection.query(DEPENDENTS_OF_QUERY, [oids, column]);
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}

const TABLE_QUERY = `
SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpersistence AS persistence,
       c.relispartition AS "isPartition",
       pg_has_role(c.relowner, 'USAGE') AS owned,
       row_security_active(c.oid) AS "rowSecurity",
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid) AS "hasRules",
       EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid) AS subscribed
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1`;

/** provolatile of every function in a default's tree; a node tree names functions by oid. */
const DEFAULT_VOLATILE = `
EXISTS (SELECT FROM regexp_matches(d.adbin::text, ':(?:funcid|opfuncid) (\\d+)', 'g') AS m(ids)
        JOIN pg_proc p ON p.oid = m.ids[1]::oid WHERE p.provolatile <> 'i')
OR d.adbin::text ~ 'SQLVALUEFUNCTION|NEXTVALUEEXPR|COERCEVIAIO'`;

/**
 * The type under the domain that column `a` is of, or that its array's elements are of; NULL where there
 * is no domain. An array that a domain stands for may itself be one of domains.
 */
export const UNDER = `
(WITH RECURSIVE under AS (
   SELECT 1 AS step, a.atttypid AS type, a.atttypmod AS modifier, '' AS bounds, false AS domain
   UNION ALL
   SELECT step + 1, CASE s.typtype WHEN 'd' THEN s.typbasetype ELSE s.typelem END,
          CASE s.typtype WHEN 'd' THEN s.typtypmod ELSE modifier END,
          bounds || CASE s.typtype WHEN 'd' THEN '' ELSE '[]' END, domain OR s.typtype = 'd'
   FROM under JOIN pg_type s ON s.oid = type LEFT JOIN pg_type e ON e.oid = s.typelem
   WHERE s.typtype = 'd' OR (step = 1 AND e.typarray = s.oid))
 SELECT format_type(type, modifier) || bounds FROM under WHERE domain ORDER BY step DESC LIMIT 1)`;

const COLUMNS_QUERY = `
SELECT a.attrelid::int8 AS relation, a.attnum::int, a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type, format_type(a.atttypid, -1) AS "baseType",
       ${UNDER} AS under, a.attnotnull AS "notNull",
       (SELECT k.conname FROM pg_constraint k
        WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum])
         AS "notNullName",
       CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity,
       a.attgenerated <> '' AS generated,
       a.attinhcount::int AS inherited, a.attislocal AS local,
       pg_get_expr(d.adbin, d.adrelid) AS default,
       coalesce(${DEFAULT_VOLATILE}, false) AS "defaultVolatile",
       pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname)
         AS "ownedSequence",
       col_description(c.oid, a.attnum) AS comment,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
           'role', CASE x.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
           'privilege', x.privilege_type, 'grantable', x.is_grantable))
         FROM aclexplode(a.attacl) x), '[]') AS grants,
       EXISTS (SELECT FROM pg_opclass o JOIN pg_amproc f ON f.amprocfamily = o.opcfamily
                 AND f.amproclefttype = o.opcintype AND f.amprocrighttype = o.opcintype
               WHERE o.opcmethod = 403 AND o.opcdefault AND f.amprocnum = 4
                 AND o.opcnamespace = 'pg_catalog'::regnamespace
                 AND (o.opcintype = b.oid OR (b.typtype = 'e' AND o.opcintype = 'anyenum'::regtype)
                      OR (b.oid = 'varchar'::regtype AND o.opcintype = 'text'::regtype))
                 AND (f.amproc::oid = 'btequalimage'::regproc OR
                      (f.amproc::oid = 'btvarstrequalimage'::regproc AND coalesce(l.collisdeterministic, true))))
         AS "equalImage",
       t.typtype = 'd' AND (t.typnotnull OR t.typdefault IS NOT NULL) AS "demandingDomain",
       CASE WHEN a.attcollation <> t.typcollation THEN
         (SELECT quote_ident(cn.nspname) || '.' || quote_ident(l.collname)
          FROM pg_namespace cn WHERE cn.oid = l.collnamespace) END AS collation,
       coalesce(a.attstattarget, -1)::int AS "statisticsTarget"
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum`;

const INDEXES_QUERY = `
SELECT i.indexrelid AS oid, x.relname AS name, i.indisunique AS unique, i.indisprimary AS primary,
       i.indisvalid AND i.indisready AS valid, i.indisclustered AS clustered,
       x.relispartition AS inherited,
       t.spcname AS tablespace, obj_description(i.indexrelid) AS comment,
       i.indkey::int2[]::int[] AS columns,
       pg_get_indexdef(i.indexrelid) AS full,
       'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' ||
         quote_ident(x.relname) || ' ON ' || CASE x.relkind WHEN 'I' THEN 'ONLY ' ELSE '' END ||
         s.spelled || '.' || quote_ident(c.relname) || ' ' AS head
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
-- From PostgreSQL 15 on the server prints pg_temp in place of the session's temporary schema.
CROSS JOIN LATERAL (SELECT CASE WHEN pg_get_indexdef(i.indexrelid) LIKE '% ON pg\\_temp.%'
  AND n.oid = pg_my_temp_schema() THEN 'pg_temp' ELSE quote_ident(n.nspname) END AS spelled) s
LEFT JOIN pg_tablespace t ON t.oid = x.reltablespace
WHERE i.indrelid = $1 ORDER BY i.indexrelid`;

const TRIGGERS_QUERY = `
SELECT tgname AS name, tgtype & 2 <> 0 AS before, tgtype & 1 <> 0 AS row, tgtype & 16 <> 0 AS update,
  tgtype & 20 <> 0 AS writes
FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgname NOT LIKE '%pgtandem%'
ORDER BY tgname`;

const PUBLICATIONS_QUERY = `
SELECT DISTINCT p.pubname AS name FROM pg_publication p
JOIN pg_class c ON c.oid = $1 JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_publication_tables t ON t.pubname = p.pubname
 AND t.schemaname = n.nspname AND t.tablename = c.relname`;

const BLIND_WRITERS_QUERY = `
SELECT DISTINCT CASE w.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(w.grantee)::text END AS role
FROM pg_class c, aclexplode(c.relacl) w
WHERE c.oid = $1 AND w.privilege_type = 'UPDATE' AND NOT EXISTS (
  SELECT FROM aclexplode(c.relacl) r WHERE r.privilege_type = 'SELECT' AND r.grantee IN (w.grantee, 0))
UNION
SELECT DISTINCT CASE w.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(w.grantee)::text END
FROM pg_attribute a, aclexplode(a.attacl) w
WHERE a.attrelid = $1 AND a.attnum > 0 AND w.privilege_type IN ('UPDATE', 'INSERT')`;

const ROW_TYPE_QUERY = `
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS name
FROM pg_class c JOIN pg_type t ON t.oid = c.reltype
JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
WHERE c.oid = $1 AND NOT (d.classid = 'pg_type'::regclass AND d.objid = t.typarray)
  AND d.deptype IN ('n', 'a')`;

const dependentsQuery = (where: string) => `
SELECT regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid),
                      '^rule "?_RETURN"? on ', '') AS description,
       d.classid::regclass::text AS catalog, d.objid AS oid, d.deptype AS dependency,
       coalesce(k.contype::text, r.relkind::text,
         CASE WHEN f.adrelid = d.refobjid AND f.adnum = d.refobjsubid THEN 'own' END, '') AS kind
FROM pg_depend d
LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_class r ON d.classid = 'pg_class'::regclass AND r.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND ${where} ORDER BY 1`;

const DEPENDENTS_QUERY = dependentsQuery('d.refobjid = $1 AND d.refobjsubid = $2');

const DEPENDENTS_OF_QUERY = dependentsQuery(
  `(d.refobjid, d.refobjsubid) IN (SELECT a.attrelid, a.attnum FROM pg_attribute a
     WHERE a.attrelid = ANY ($1::oid[]) AND a.attname = $2 AND NOT a.attisdropped)`,
);
