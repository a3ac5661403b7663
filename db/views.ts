/**
 * What a look reads of the server's statistics views, each of them once: a view's function makes its rows
 * anew for each place where the view stands in a query. To be put behind WITH; what is not
 * referred to is not read.
 * https://www.postgresql.org/docs/current/monitoring-stats.html
 */
export const VIEWS_SQL = `
  -- Sessions and other processes that are not pgtandem's.
  activity AS MATERIALIZED (
    SELECT pid, datid, application_name, backend_type, state, xact_start, backend_xid, backend_xmin,
      query = '<insufficient privilege>' AS is_hidden
    FROM pg_catalog.pg_stat_activity WHERE application_name NOT LIKE 'pgtandem %'),
  walsenders AS MATERIALIZED (
    SELECT pid, application_name, client_addr, state, write_lsn, replay_lsn, backend_xmin
    FROM pg_catalog.pg_stat_replication),
  slots AS MATERIALIZED (
    SELECT slot_name, slot_type, temporary, active_pid, xmin, restart_lsn, confirmed_flush_lsn, wal_status
    FROM pg_catalog.pg_replication_slots),
  vacuums AS MATERIALIZED (SELECT pid FROM pg_catalog.pg_stat_progress_vacuum)`;

/** The present database's oid, a scalar. */
export const DATABASE_SQL = `(SELECT oid FROM pg_catalog.pg_database
  WHERE datname = pg_catalog.current_database())`;
