import type pg from 'pg';
import type { Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser } from '../../sql/rewriter.js';
import type { ColumnRule, Guard, Pair, RuleSet } from '../../sql/rules.js';

/*
 * One table twice, on a real server: `plain.orders`, and `tandem.orders` that is under migration and has
 * no guard. What is sent to the one as it is goes to the other rewritten.
 */

/** The oid that the rules say the table has. */
export const OID = 4711;
export const RESOLUTION: ReadonlyMap<string, number> = new Map([['orders', OID]]);

/** Types that both tables use. */
export const SHARED = `CREATE SCHEMA shared;
  CREATE TYPE shared.place AS (x integer, y varchar(3), path integer[]);
  CREATE DOMAIN shared.small AS integer CHECK (VALUE < 100) NOT NULL;
  CREATE DOMAIN shared.words AS varchar(3)[] CHECK (VALUE[1] IS NOT NULL);
  CREATE DOMAIN shared.smalls AS shared.small[];
  CREATE DOMAIN shared.few AS integer[] CHECK (array_length(VALUE, 1) < 4);`;

/** @param type with its modifier, as `format_type` gives it. */
export function column(name: string, type: string, fallback: string | null = null): ColumnRule {
  const rest = { notNull: false, identity: null, generated: false, defaultVolatile: false };
  return { name, type, baseType: type.replace(/\(\d+\)/, ''), default: fallback, ...rest };
}

/** The rules of `tandem.orders`: its own columns are seen, what is added to them is not. */
export function rulesOf(
  own: readonly ColumnRule[],
  added: readonly ColumnRule[],
  pairs: Pair[],
  guard: Guard,
): RuleSet {
  const table = { oid: OID, schema: 'tandem', name: 'orders', version: 1, held: false, guard };
  const visible = own.map(({ name }) => name);
  return { epoch: 1, tables: [{ ...table, columns: [...own, ...added], visible, pairs }] };
}

/** A server with both tables. @param added columns that only `tandem.orders` has. */
export async function openTables(
  t: Test,
  major: number,
  columns: string,
  added: readonly string[],
): Promise<pg.Client> {
  await loadParser();
  const cluster = await Cluster.create({ major });
  t.teardown(() => cluster.destroy());
  const db = await cluster.client();
  t.teardown(() => db.end());
  await db.query(SHARED);
  for (const schema of ['plain', 'tandem']) {
    await db.query(`CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.orders (${columns})`);
  }
  for (const one of added) await db.query(`ALTER TABLE tandem.orders ADD ${one}`);
  return db;
}

/** What a statement is told, and what it leaves; nothing stays. */
export async function see(
  db: pg.Client,
  schema: 'plain' | 'tandem',
  { before = '', text, values = [], look }: Seen,
) {
  await db.query(`BEGIN; SET LOCAL search_path = ${schema}; ${before}`);
  try {
    const { rows, fields, command, rowCount } = await db.query({ text, values, rowMode: 'array' });
    const left = await db.query({ text: look, rowMode: 'array' });
    return { rows, columns: fields.map(({ name }) => name), command, rowCount, left: left.rows };
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    return { code, message: message.replaceAll('_new"', '"') };
  } finally {
    await db.query('ROLLBACK');
  }
}

interface Seen {
  /** What is done before it. */
  before?: string;
  text: string;
  values?: unknown[];
  /** A query of what is there afterwards. */
  look: string;
}
