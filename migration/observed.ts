import type { Connection } from '../db/connect.js';

/** A table whose statements are recorded whether or not it is under migration. */
export interface ObservedTable {
  oid: number;
  schema: string;
  name: string;
  since: Date;
}

/** Those that are still there, by the name that they have now. */
export async function readObserved(connection: Connection): Promise<ObservedTable[]> {
  const { rows } = await connection.query(
    `SELECT o.table_oid::int8 AS oid, n.nspname AS schema, c.relname AS name, o.since
     FROM pgtandem.observed o JOIN pg_class c ON c.oid = o.table_oid
     JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY o.since`,
  );
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}
