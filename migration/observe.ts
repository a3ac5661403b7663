import { type Connection, transaction } from '../db/connect.js';
import { UserError } from './errors.js';
import { type ObservedTable, readObserved } from './observed.js';
import { publishAgain } from './publish.js';

/**
 * Lets the proxies record the statements on a table, or (`on` false) no longer. What was recorded
 * stays for a while.
 * @param name as in SQL: `orders`, `"My Schema".orders`.
 * @throws UserError when there is no such table, or nothing to end.
 */
export async function observe(
  connection: Connection,
  name: string,
  on: boolean,
): Promise<ObservedTable> {
  const table = await find(connection, name);
  return transaction(connection, async () => {
    const { rowCount } = await connection.query(
      on
        ? 'INSERT INTO pgtandem.observed (table_oid) VALUES ($1) ON CONFLICT DO NOTHING'
        : 'DELETE FROM pgtandem.observed WHERE table_oid = $1',
      [table.oid],
    );
    if (!on && rowCount === 0) {
      throw new UserError(`${name} is not observed.`, 'See what is: pgtandem observe.');
    }
    if (rowCount !== 0) await publishAgain(connection);
    const now = (await readObserved(connection)).find(({ oid }) => oid === table.oid);
    return now ?? { ...table, since: new Date() };
  });
}

async function find(
  connection: Connection,
  name: string,
): Promise<{ oid: number; schema: string; name: string }> {
  const { rows } = await connection.query(
    `SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
    [name],
  );
  const [row] = rows;
  if (row?.kind !== 'r') {
    throw new UserError(
      row ? `${name} is not an ordinary table.` : `There is no table ${name}.`,
      'Name a table as in SQL, with its schema where the search_path does not find it.',
    );
  }
  return { oid: Number(row.oid), schema: row.schema, name: row.name };
}

/**
 * Follows the catalog: tables of the rules that have another name or schema than they had are
 * published anew, and observed ones that are gone are forgotten.
 * @returns whether anything was.
 */
export async function followNames(connection: Connection): Promise<boolean> {
  const { rows } = await connection.query(
    `SELECT (t->>'oid')::int8 AS oid, c.oid IS NULL AS gone,
       EXISTS (SELECT FROM pgtandem.observed WHERE table_oid = (t->>'oid')::oid) AS observed
     FROM pgtandem.rules r, jsonb_array_elements(r.rule_set->'tables') AS t
     LEFT JOIN pg_class c ON c.oid = (t->>'oid')::oid
     LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IS DISTINCT FROM t->>'schema' OR c.relname IS DISTINCT FROM t->>'name'`,
  );
  // A table under migration that is gone is for the migration's own step to find out.
  const due = rows.filter((row) => !row.gone || row.observed);
  if (due.length === 0) return false;
  await transaction(connection, async () => {
    await connection.query(
      `DELETE FROM pgtandem.observed
       WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = table_oid)`,
    );
    await publishAgain(
      connection,
      due.filter((row) => !row.gone).map((row) => Number(row.oid)),
    );
  });
  return true;
}
