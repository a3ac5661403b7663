import { type Connection, connect, PoolerError, sqlState } from '../db/connect.js';
import { readSsl, readSslFiles, SslError } from '../db/ssl.js';
import { describeHost, parseTarget, TargetError } from '../db/target.js';

import { UserError } from '../migration/errors.js';

/**
 * Opens a control connection for a command.
 * @throws UserError that says which server was tried and what to look at.
 */
export async function openDatabase(url: string): Promise<Connection> {
  const where = whereOf(url);
  try {
    return await connect({ url, role: 'cli' });
  } catch (error) {
    if (error instanceof PoolerError) {
      throw new UserError(
        `Can't use ${where}: ${error.message}.`,
        'Give the address of PostgreSQL itself; a pooler goes between the applications and the proxy.',
      );
    }
    const message = error instanceof Error ? error.message || error.name : String(error);
    const hint =
      sqlState(error) === undefined
        ? 'Is the server running there, and is the address right?'
        : 'Look at the user, password and database in the connection string.';
    throw new UserError(`Can't connect to ${where}: ${message}`, hint);
  }
}

/** For messages. @throws UserError when it is not a connection string that can be followed. */
function whereOf(url: string): string {
  try {
    const { urls } = parseTarget(url);
    for (const each of urls) readSslFiles(readSsl(new URL(each).searchParams));
    const database = /^[^/]*\/\/[^/?]*(\/[^?]*)?/.exec(url)?.[1] ?? '';
    return `${urls.map(describeHost).join(', ')}${database}`;
  } catch (error) {
    if (error instanceof SslError) throw new UserError(error.message, error.hint);
    if (!(error instanceof TargetError)) throw error;
    throw new UserError(`"${url}" can't be used: ${error.message}`, error.hint);
  }
}

/** Runs a command's work on a connection, and ends it whatever happens. */
export async function withDatabase<T>(
  url: string,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await openDatabase(url);
  try {
    return await work(connection);
  } catch (error) {
    if (!isLost(error)) throw error;
    throw new UserError(
      `The connection to the database was lost: ${(error as Error).message}`,
      'A migration that was started goes on in the proxies; look with pgtandem status.',
    );
  } finally {
    await connection.end().catch(() => undefined);
  }
}

/** Whether an error says that there is no connection any more. Pure. */
function isLost(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return /^(08|57P0)/.test(state);
  return error instanceof Error && /terminated|ECONN|EPIPE|not queryable/.test(error.message);
}
