import { type ColumnFacts, type IndexFacts, readColumns, readIndexes } from '../db/catalog.js';
import { type Connection, sqlState } from '../db/connect.js';
import { quoteIdentifier as q } from '../sql/rules.js';
import type { Change, Definition } from './definition.js';
import { UserError } from './errors.js';
import { hiddenName } from './plan.js';

/** What the server itself makes of a change, found out on empty copies in a rolled-back transaction. */
export interface Probe {
  /** The columns as a plain ALTER would leave them. */
  after: ColumnFacts[];
  /** For each change: its expressions as the server prints them, schema-qualified. */
  expressions: { up: string; down: string | null }[];
  /** The copies' indexes: as they were, and as a plain ALTER leaves them, over the shadows' names. */
  indexes: { untouched: string; altered: string }[];
}

const BEFORE = '_pgtandem_probe_before';
const AFTER = '_pgtandem_probe_after';

/** SQLSTATE class 42: of the statement, not of a value. */
const SYNTAX_OR_ACCESS = '42';

/** undefined_column: a way back that needs more than its column is refused later, in other words. */
const OTHER_COLUMN = '42703';

/** A row of NULLs, with the columns of a copy. */
const nullsOf = (copy: string) => `(SELECT (NULL::pg_temp.${copy}).*)`;

/**
 * Runs the user's own ALTER on an empty copy of the table. What a plain ALTER would do (types,
 * defaults, indexes), and whether it would do it at all, is the server's word and not ours; and
 * an expression read back from the catalog is qualified, so it means the same in every session.
 * A generated column is how the server is asked for one: it must be a single immutable expression
 * over this row that can be assigned to the column's type.
 *
 * The transaction is the caller's, who rolls it back. Temporary tables only.
 * @throws UserError with the server's own message and the change's line.
 */
export async function probe(
  connection: Connection,
  definition: Definition,
  oid: number,
  before: ColumnFacts[],
): Promise<Probe> {
  const run = new ProbeRun(connection, definition);
  await run.makeCopy(BEFORE, oid);
  await run.makeCopy(AFTER, oid);
  const untouched = await run.read((copy) => readIndexes(connection, copy), AFTER);
  for (const change of definition.changes) await run.apply(change);
  const after = await run.read((copy) => readColumns(connection, copy), AFTER);
  const expressions = [];
  for (const change of definition.changes) {
    const pair = await run.expressions(change, before, after);
    await run.compute(change, pair, oid);
    expressions.push(pair);
  }
  for (const change of definition.changes) {
    if (change.kind === 'change-type') {
      const shadow = hiddenName('new', change.column);
      await connection.query(`ALTER TABLE ${AFTER} RENAME ${q(change.column)} TO ${q(shadow)}`);
    }
  }
  const altered = await run.read((copy) => readIndexes(connection, copy), AFTER);
  return { after, expressions, indexes: pair(untouched, altered) };
}

function pair(untouched: IndexFacts[], altered: IndexFacts[]): Probe['indexes'] {
  if (untouched.length !== altered.length) throw new Error('An index was lost by a plain ALTER.');
  return untouched.map((index, i) => ({
    untouched: index.definition,
    altered: altered[i]!.definition,
  }));
}

class ProbeRun {
  constructor(
    private readonly connection: Connection,
    private readonly definition: Definition,
  ) {}

  async makeCopy(name: string, oid: number): Promise<void> {
    const { rows } = await this.connection.query('SELECT $1::oid::regclass::text AS table', [oid]);
    await this.connection.query(
      `CREATE TEMP TABLE ${name} (LIKE ${rows[0].table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS
         INCLUDING GENERATED INCLUDING INDEXES INCLUDING STORAGE) ON COMMIT DROP`,
    );
  }

  /** Reads catalogs of a copy with an empty search_path, so that everything is qualified. */
  async read<T>(reader: (oid: number) => Promise<T>, name: string): Promise<T> {
    const { rows } = await this.connection.query(`SELECT $1::regclass::oid::int8 AS oid`, [name]);
    const path = await this.connection.query('SHOW search_path');
    await this.connection.query(`SELECT set_config('search_path', '', true)`);
    const result = await reader(Number(rows[0].oid));
    await this.connection.query(`SELECT set_config('search_path', $1, true)`, [
      path.rows[0].search_path,
    ]);
    return result;
  }

  async apply(change: Change): Promise<void> {
    await this.attempt(change, `ALTER TABLE ${AFTER} ${change.action}`, (message) => ({
      message: `PostgreSQL refuses "${change.action}": ${message}`,
      hint: 'It would refuse it on the table itself too: change the migration.',
    }));
  }

  async expressions(change: Change, before: ColumnFacts[], after: ColumnFacts[]) {
    const typeOf = (columns: ColumnFacts[], name: string) =>
      columns.find((column) => column.name === name)!.type;
    switch (change.kind) {
      case 'rename':
        return { up: q(change.column), down: q(change.to) };
      case 'add-derived': {
        const type = typeOf(after, change.column);
        return { up: await this.expression(change, BEFORE, type, change.up, 'up'), down: null };
      }
      case 'change-type': {
        const oldType = typeOf(before, change.column);
        const newType = typeOf(after, change.column);
        const using = change.using ?? q(change.column);
        const up = await this.expression(change, BEFORE, newType, using, 'up');
        const back = change.down ?? `${q(change.column)}::${oldType}`;
        return { up, down: await this.expression(change, AFTER, oldType, back, 'down') };
      }
    }
  }

  private async expression(
    change: Change,
    table: string,
    type: string,
    expression: string,
    direction: 'up' | 'down',
  ): Promise<string> {
    const column = '_pgtandem_expression';
    const fallback = direction === 'down' && change.kind === 'change-type' && !change.down;
    await this.attempt(
      change,
      `ALTER TABLE ${table} ADD COLUMN ${column} ${type} GENERATED ALWAYS AS (${expression}\n) STORED`,
      (message, code) => ({
        message: fallback
          ? `There is no way back from the new type: ${message}`
          : `The expression ${direction}(${expression}) can't be used: ${message}`,
        hint: fallback
          ? 'Say how the old value is made from the new one: "-- pgtandem: down(expression)".'
          : code === '42P17'
            ? 'It must give the same value in every session: name the time zone ' +
              "(AT TIME ZONE 'UTC'), the format or the text search configuration, or wrap it in " +
              'a function that is truly IMMUTABLE.'
            : 'Write one expression over the columns of this row.',
      }),
    );
    const columns = await this.read(
      (oid) =>
        this.connection.query(
          `SELECT pg_get_expr(d.adbin, d.adrelid) AS text FROM pg_attrdef d
           JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
           WHERE d.adrelid = $1 AND a.attname = $2`,
          [oid, column],
        ),
      table,
    );
    await this.connection.query(`ALTER TABLE ${table} DROP COLUMN ${column}`);
    return columns.rows[0].text;
  }

  /**
   * Computes the expressions once, of a row of NULLs and of a few that are there, as the guard and the
   * fill do: with an empty search_path, under which a function may not find what its body names. Of
   * the way back such an error would make every value one that does not fit.
   */
  async compute(
    change: Change,
    { up, down }: { up: string; down: string | null },
    oid: number,
  ): Promise<void> {
    if (change.kind === 'rename') return;
    const path = await this.connection.query('SHOW search_path');
    await this.connection.query(`SELECT set_config('search_path', '', true)`);
    const { rows } = await this.connection.query('SELECT $1::oid::regclass::text AS table', [oid]);
    const few = `(SELECT * FROM ${rows[0].table} LIMIT 10)`;
    const { column } = change;
    const made = (from: string) => `(SELECT ${up} AS ${q(column)} FROM ${from} r)`;
    await this.computes(change, 'up', up, nullsOf(BEFORE));
    await this.computes(change, 'up', up, few);
    if (down !== null) {
      await this.computes(change, 'down', down, nullsOf(AFTER));
      await this.computes(change, 'down', down, made(few));
    }
    await this.connection.query(`SELECT set_config('search_path', $1, true)`, [
      path.rows[0].search_path,
    ]);
  }

  private async computes(
    change: Change,
    direction: 'up' | 'down',
    expression: string,
    from: string,
  ): Promise<void> {
    await this.connection.query('SAVEPOINT probe');
    try {
      await this.connection.query(`SELECT count((${expression})) FROM ${from} r`);
    } catch (error) {
      // What is wrong with a value is told of where it is met.
      const code = sqlState(error);
      if (code === undefined) throw error;
      if (!code.startsWith(SYNTAX_OR_ACCESS) || code === OTHER_COLUMN) {
        await this.connection.query('ROLLBACK TO probe');
        return;
      }
      throw new UserError(
        `The expression ${direction}(${expression}) can't be used: ${(error as Error).message}`,
        'It is computed with an empty search_path: qualify the names in its functions, or ' +
          'ALTER FUNCTION ... SET search_path = the schemas that they need.',
        `${this.definition.file}:${change.line}`,
      );
    }
    await this.connection.query('RELEASE probe');
  }

  private async attempt(
    change: Change,
    sql: string,
    explain: (message: string, code: string | undefined) => { message: string; hint: string },
  ): Promise<void> {
    await this.connection.query('SAVEPOINT probe');
    try {
      await this.connection.query(sql);
    } catch (error) {
      if (sqlState(error) === undefined) throw error;
      const { message, hint } = explain((error as Error).message, sqlState(error));
      throw new UserError(message, hint, `${this.definition.file}:${change.line}`);
    }
    await this.connection.query('RELEASE probe');
  }
}
