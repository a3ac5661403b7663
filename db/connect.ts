import pg from 'pg';

/** A control connection. Everything that is not an application's own goes through one of these. */
export type Connection = pg.Client;

/** What of a control connection differs by its use. */
export interface ConnectOptions {
  url: string;
  /** Shown in `pg_stat_activity`, after `pgtandem `. */
  role: string;
  /** How long a connection attempt may take, milliseconds. */
  timeoutMs?: number;
}

/** A pooler answers in the server's place: what a session holds is not kept for it. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';

  constructor() {
    super(
      'a connection pooler stands between pgtandem and PostgreSQL (the process that answers is not ' +
        'the one that logged us in), and locks, LISTEN and prepared statements do not survive it',
    );
  }
}

/**
 * Opens a control connection with settings on which our own SQL depends.
 * @throws Error of `pg`, when the server cannot be reached or refuses the login.
 * @throws PoolerError when it is not a PostgreSQL server that answers.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const client = new pg.Client({
    connectionString: options.url,
    application_name: `pgtandem ${options.role}`,
    connectionTimeoutMillis: options.timeoutMs ?? 10_000,
    keepAlive: true,
  });
  // An idle client that loses its server emits 'error'; the next query on it fails, which is where
  // it is dealt with. Without a listener the process would end.
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
  // The key data of a login name the server's process; a pooler makes up its own.
  if (rows[0].pid !== (client as unknown as { processID: number }).processID) {
    await client.end();
    throw new PoolerError();
  }
  await client.query(
    `SET standard_conforming_strings = on; SET client_min_messages = warning;
     SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0`,
  );
  return client;
}

/** Runs `work` in a transaction; commits when it returns, rolls back when it throws. */
export async function transaction<T>(
  connection: Connection,
  work: () => Promise<T>,
  begin = 'BEGIN',
): Promise<T> {
  await connection.query(begin);
  try {
    const result = await work();
    await connection.query('COMMIT');
    return result;
  } catch (error) {
    // When the connection itself is gone the rollback fails too; the first error is the one to tell.
    await connection.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** SQLSTATE of an error of the server, or undefined when it came from elsewhere. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}
