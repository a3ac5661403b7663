/** Length at which older servers cut a database's name, bytes. */
const NAME_BYTES = 63;

/**
 * Whether a client that asks for one database gets the other. A longer name that begins alike is
 * taken for the same, since some servers cut it.
 * @param asked in latin1. Pure.
 */
export function sameDatabase(asked: string | undefined, database: string): boolean {
  const name = Buffer.from(database).toString('latin1');
  return asked !== undefined && asked.slice(0, NAME_BYTES) === name.slice(0, NAME_BYTES);
}
