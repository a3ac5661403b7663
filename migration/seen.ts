import { createHash } from 'node:crypto';
import type { Connection } from '../db/connect.js';

/** A statement that was seen on a table, to be added to what is kept of it. */
export interface Sighted {
  /** `pg_class.oid`. */
  table: number;
  statement: string;
  isWhole: boolean;
  outcome: string;
  reason: string | null;
  /** null: not known. */
  named: readonly string[] | null;
  application: string;
  user: string;
  count: number;
}

/** What is kept of a statement, of one application and role. */
export interface Seen extends Omit<Sighted, 'table'> {
  firstSeen: Date;
  lastSeen: Date;
}

/** So many rows are kept of a table; what names a column of a migration goes last. */
export const SEEN_MAX = 1_000;
/** So long they are kept, days. */
const SEEN_DAYS = 30;

function keyOf({ statement, outcome, reason, named, application, user }: Sighted): string {
  const all = JSON.stringify([statement, outcome, reason, named, application, user]);
  return createHash('sha256').update(all).digest('base64').slice(0, 22);
}

/** Several of one key as one, in the order of their keys so that no two writers wait in a ring. */
function merged(sighted: readonly Sighted[]): (Sighted & { key: string })[] {
  const byKey = new Map<string, Sighted & { key: string }>();
  for (const each of sighted) {
    const key = `${each.table} ${keyOf(each)}`;
    const known = byKey.get(key);
    if (known) known.count += each.count;
    else byKey.set(key, { ...each, key: keyOf(each) });
  }
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}

/**
 * Adds what a proxy has seen, and notes up to when it has told.
 * @param proxy its id in `pgtandem.proxy`.
 */
export async function saveSeen(
  connection: Connection,
  proxy: string,
  sighted: readonly Sighted[],
): Promise<void> {
  await connection.query({
    name: 'seen',
    text: `WITH told AS (UPDATE pgtandem.proxy SET seen_at = clock_timestamp() WHERE id = $2)
      INSERT INTO pgtandem.seen AS s (table_oid, key, statement, whole, outcome, reason, named,
        application, role, count)
      SELECT r."table", r.key, r.statement, r."isWhole", r.outcome, r.reason,
        CASE WHEN r.named IS NOT NULL THEN ARRAY (SELECT jsonb_array_elements_text(r.named)) END,
        r.application, r."user", r.count
      FROM jsonb_to_recordset($1) AS r ("table" oid, key text, statement text, "isWhole" boolean,
        outcome text, reason text, named jsonb, application text, "user" text, count bigint)
      ON CONFLICT (table_oid, key) DO UPDATE
      SET count = s.count + excluded.count, last_seen = clock_timestamp()`,
    values: [JSON.stringify(merged(sighted)), proxy],
  });
}

/** What was seen on a table, the latest first. */
export async function readSeen(connection: Connection, oid: number): Promise<Seen[]> {
  const { rows } = await connection.query(
    `SELECT statement, whole AS "isWhole", outcome, reason, named, application, role AS "user",
       count, first_seen AS "firstSeen", last_seen AS "lastSeen"
     FROM pgtandem.seen WHERE table_oid = $1 ORDER BY last_seen DESC, key LIMIT $2`,
    [oid, SEEN_MAX],
  );
  return rows.map((row) => ({ ...row, count: Number(row.count) }));
}

/** Forgets what is old, what is of tables that are no more, and what is too much. */
export async function trimSeen(connection: Connection): Promise<void> {
  await connection.query(
    `DELETE FROM pgtandem.seen WHERE last_seen < clock_timestamp() - $1 * interval '1 day'
     OR NOT EXISTS (SELECT FROM pg_class WHERE oid = table_oid)`,
    [SEEN_DAYS],
  );
  await connection.query(
    `DELETE FROM pgtandem.seen s USING (
       SELECT table_oid, key, row_number() OVER (PARTITION BY table_oid
         ORDER BY coalesce(cardinality(named), 1) > 0 DESC, last_seen DESC) AS place
       FROM pgtandem.seen) AS o
     WHERE s.table_oid = o.table_oid AND s.key = o.key AND o.place > $1`,
    [SEEN_MAX],
  );
}
