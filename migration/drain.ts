import type { Connection } from '../db/connect.js';
import { readTree } from '../db/tree.js';
import type { Guard } from '../sql/rules.js';

/** Whom a drain waits for: what `status` shows. */
export interface Waiting {
  proxies: string[];
  transactions: string[];
}

/**
 * The live proxies that have not acknowledged an epoch. A proxy whose lease ran out has closed
 * its sessions on migrating tables (SPEC invariant 5). Where there is no guard that is not relied
 * upon: a proxy that had not heard of the migration had nothing to close.
 */
export async function unacknowledged(
  connection: Connection,
  epoch: number,
  guard: Guard,
): Promise<string[]> {
  const { rows } = await connection.query(
    `SELECT address FROM pgtandem.proxy
     WHERE epoch < $1 AND ($2 OR lease_until > clock_timestamp()) ORDER BY address`,
    [epoch, guard === 'none'],
  );
  return rows.map((row) => `proxy ${row.address}`);
}

/** A transaction that holds a lock on the table, as of one moment. */
export interface Holder {
  key: string;
  description: string;
}

/**
 * Transactions that have written, or may have, to a table or a partition of it: they hold ROW EXCLUSIVE or more on it.
 * Prepared transactions are among them. CREATE INDEX CONCURRENTLY waits for the same.
 */
export async function writers(connection: Connection, oid: number): Promise<Holder[]> {
  const members = await readTree(connection, oid);
  const { rows } = await connection.query(
    `SELECT DISTINCT l.virtualtransaction || '/' || coalesce(l.pid, 0) AS key,
            CASE WHEN l.pid IS NULL THEN 'prepared transaction'
                 ELSE format('pid %s (%s, %s, %s)', l.pid, coalesce(nullif(a.application_name, ''),
                   'unnamed'), a.usename, a.state) END AS description
     FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'relation' AND l.relation = ANY ($1::oid[]) AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                      'AccessExclusiveLock')
       AND l.pid IS DISTINCT FROM pg_backend_pid()`,
    [members.map((member) => member.oid)],
  );
  return rows;
}

/** Those of `earlier` that are still there. */
export async function stillThere(
  connection: Connection,
  oid: number,
  earlier: Holder[],
): Promise<Holder[]> {
  const now = new Set((await writers(connection, oid)).map((holder) => holder.key));
  return earlier.filter((holder) => now.has(holder.key));
}

/** Who keeps a backend waiting, described; for messages. */
export async function blockersOf(connection: Connection, pid: number): Promise<string[]> {
  const { rows } = await connection.query(
    `SELECT format('pid %s (%s, %s, %s): %s', a.pid, coalesce(nullif(a.application_name, ''),
              'unnamed'), a.usename, a.state, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80))
              AS description
     FROM unnest(pg_blocking_pids($1)) AS b(pid) JOIN pg_stat_activity a ON a.pid = b.pid`,
    [pid],
  );
  return rows.map((row) => row.description);
}
