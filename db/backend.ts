import { type Connection, sqlState } from './connect.js';
import { VIEWS_SQL } from './views.js';

/** Cancels what another backend of the same role is doing; without effect when it does nothing. */
export async function cancelBackend(connection: Connection, pid: number): Promise<void> {
  await connection.query('SELECT pg_cancel_backend($1)', [pid]);
}

/**
 * Lets the server notice within half a second that this client is gone, and end the statement that
 * runs; without it a VACUUM goes on to its end after its client was killed.
 * https://www.postgresql.org/docs/current/runtime-config-connection.html
 */
export async function endWithClient(connection: Connection): Promise<void> {
  try {
    await connection.query('SET client_connection_check_interval = 500');
  } catch (error) {
    // invalid_parameter_value: the server's platform cannot tell (Windows).
    if (sqlState(error) !== '22023') throw error;
  }
}

/**
 * How many sessions other than pgtandem's run a statement now, a scalar, behind `VIEWS_SQL`. One that
 * this role may not look into counts as running one (`GRANT pg_monitor`).
 */
export const ACTIVE_OTHERS_SQL = `(SELECT count(*)::int FROM activity
     WHERE coalesce(backend_type, 'client backend') = 'client backend'
       AND coalesce(state, 'active') = 'active')`;

export async function activeOthers(connection: Connection): Promise<number> {
  const text = `WITH ${VIEWS_SQL} SELECT ${ACTIVE_OTHERS_SQL} AS n`;
  return (await connection.query({ name: 'active others', text })).rows[0].n;
}
