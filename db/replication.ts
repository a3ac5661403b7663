import type { Connection } from './connect.js';
import { VIEWS_SQL } from './views.js';

/**
 * One row of `pg_stat_replication` with its slot. Positions are bytes of WAL since 0/0: a double
 * holds them exactly up to 9 PB.
 * https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
 */
export interface WalSender {
  pid: number;
  applicationName: string;
  /** null on a Unix socket. */
  clientAddress: string | null;
  slot: { name: string; type: 'physical' | 'logical'; confirmed: number | null } | null;
  /** null when the role may not see it (it needs `pg_read_all_stats`, part of `pg_monitor`). */
  state: 'startup' | 'catchup' | 'streaming' | 'backup' | 'stopping' | null;
  written: number | null;
  /** null before the first report, and for ever of what receives WAL without replaying it. */
  replayed: number | null;
}

export interface Replication {
  /** The role we are logged in as, as SQL writes it. */
  role: string;
  /** `pg_current_wal_insert_lsn()` */
  inserted: number;
  /** `pg_current_wal_flush_lsn()`; what can have been sent to a standby. */
  flushed: number;
  walSenders: WalSender[];
  /** Standbys of `pgtandem.standby`, by name. */
  known: string[];
}

/** The columns of a query that gives a `Replication`, behind `VIEWS_SQL`. */
export const REPLICATION_SQL = `
  quote_ident(current_user) AS role,
  (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 AS inserted,
  (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::float8 AS flushed,
  (SELECT coalesce(json_agg(json_build_object(
     'pid', r.pid,
     'applicationName', coalesce(r.application_name, ''),
     'clientAddress', host(r.client_addr),
     'slot', CASE WHEN s.slot_name IS NOT NULL THEN json_build_object(
       'name', s.slot_name, 'type', s.slot_type,
       'confirmed', (s.confirmed_flush_lsn - '0/0'::pg_lsn)::float8) END,
     'state', r.state,
     'written', (r.write_lsn - '0/0'::pg_lsn)::float8,
     'replayed', (r.replay_lsn - '0/0'::pg_lsn)::float8)), '[]')
   FROM walsenders r
   LEFT JOIN slots s ON s.active_pid = r.pid) AS "walSenders",
  (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pgtandem.standby
   WHERE name <> ALL (array_remove(ARRAY[
     -- What this server was called when it was itself a standby: it was promoted, not lost. Not by
     -- pg_settings, which makes rows of all settings each time: most of what a look took.
     nullif(current_setting('primary_slot_name'), ''),
     CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')
          AND current_setting('primary_conninfo') <> ''
       THEN coalesce(substring(current_setting('primary_conninfo')
                               FROM 'application_name *= *''?([^ '']+)'),
                     current_setting('cluster_name')) END], NULL))) AS known`;

/** @throws DatabaseError 55000 on a server that is in recovery. */
export async function readReplication(connection: Connection): Promise<Replication> {
  return (await connection.query(`WITH ${VIEWS_SQL} SELECT ${REPLICATION_SQL}`)).rows[0];
}

/** `flushed` of a `Replication`, alone. @throws as that. */
export async function readFlushed(connection: Connection): Promise<number> {
  const text = "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::float8 AS flushed";
  return (await connection.query({ name: 'flushed', text })).rows[0].flushed;
}

/** Records standbys as known, or as seen again. */
export async function rememberStandbys(connection: Connection, names: string[]): Promise<void> {
  await connection.query(
    `INSERT INTO pgtandem.standby (name) SELECT unnest($1::text[])
     ON CONFLICT (name) DO UPDATE SET last_seen = clock_timestamp()`,
    [names],
  );
}

/** Deletes known standbys. */
export async function deleteStandbys(connection: Connection, names: string[]): Promise<void> {
  await connection.query('DELETE FROM pgtandem.standby WHERE name = ANY ($1::text[])', [names]);
}
