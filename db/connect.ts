import pg from 'pg';
import { pgSsl, readSsl, SSL_PARAMETERS } from './ssl.js';

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

/** How `pg` says that a server answered the request for TLS with N. */
const NO_TLS = 'The server does not support SSL connections';

/**
 * Opens a control connection with settings on which our own SQL depends. TLS is libpq's: what
 * `sslmode` and its kin in the connection string mean there, they mean here.
 * @throws Error of `pg`, when the server cannot be reached or refuses the login; SslError.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const client = await open(options);
  await client.query(
    `SET standard_conforming_strings = on; SET client_min_messages = warning;
     SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0`,
  );
  return client;
}

async function open(options: ConnectOptions): Promise<Connection> {
  const { text, host, parameters } = splitUrl(options.url);
  const settings = readSsl(parameters);
  // On a Unix socket there is no TLS, whatever is asked for.
  const ssl = host.startsWith('/') ? false : pgSsl(settings);
  const attempt = async (secured: typeof ssl) => {
    const client = new pg.Client({
      connectionString: text,
      application_name: `pgtandem ${options.role}`,
      connectionTimeoutMillis: options.timeoutMs ?? 10_000,
      keepAlive: true,
      ssl: secured,
      ...(secured && settings.direct ? { sslnegotiation: 'direct' } : {}),
    });
    // An idle client that loses its server emits 'error'; the next query on it fails, which is where
    // it is dealt with. Without a listener the process would end.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  try {
    return await attempt(ssl);
  } catch (error) {
    const plain = settings.mode === 'prefer' && (error as Error).message === NO_TLS;
    if (!plain) throw error;
    return await attempt(false);
  }
}

/** A connection string without what it says of TLS, and that. */
function splitUrl(url: string): { text: string; host: string; parameters: URLSearchParams } {
  const parsed = new URL(url);
  const parameters = new URLSearchParams(parsed.search);
  const host = parameters.get('host') ?? decodeURIComponent(parsed.hostname);
  for (const name of SSL_PARAMETERS) parsed.searchParams.delete(name);
  return { text: parsed.href, host, parameters };
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
