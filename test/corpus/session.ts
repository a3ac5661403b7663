import { UNDER } from '../../db/catalog.js';
import { writeParse, writeQuery } from '../../proxy/messages.js';
import { readAsked } from '../../sql/names.js';
import type { ColumnRule } from '../../sql/rules.js';
import { type Message, RawClient } from '../proxy/harness.js';
import { B, copyData, copyDone, copyFail, E, error, P, row, S } from '../proxy/wire.js';

/** A table as the server knows it in the session, whatever has been committed. */
export interface Facts {
  oid: number;
  schema: string;
  name: string;
  /** `pg_class.relkind`; `rules` when it has rules, with which the planner refuses it. */
  kind: string;
  columns: ColumnFacts[];
}

export interface ColumnFacts extends ColumnRule {
  /** Whether a plan takes the column: nothing hangs on it that is not carried over. */
  taken: boolean;
  /** Whether its cast to text is immutable, as an expression of a plan has to be. */
  immutable: boolean;
}

/** A column's own default, or that of its domain. */
const DEFAULT = `coalesce(pg_get_expr(d.adbin, d.adrelid),
  (SELECT pg_get_expr(t.typdefaultbin, 0) FROM pg_type t WHERE t.oid = a.atttypid))`;

/** Made in the database before the scripts run. */
export const HELPERS = `
  CREATE SCHEMA corpus;
  CREATE FUNCTION corpus.immutable(oid) RETURNS bool LANGUAGE sql SET search_path = '' AS $$
    SELECT coalesce((SELECT castfunc = 0 OR provolatile = 'i' FROM pg_cast
        LEFT JOIN pg_proc p ON p.oid = castfunc
        WHERE castsource = base AND casttarget = 'text'::regtype AND castmethod <> 'i'),
      base = 'text'::regtype OR provolatile = 'i')
    FROM (SELECT coalesce(nullif(typbasetype, 0), oid) AS base FROM pg_type WHERE oid = $1) AS type
      JOIN pg_type t ON t.oid = base JOIN pg_proc p ON p.oid = t.typoutput $$;
  CREATE FUNCTION corpus.taken(pg_attribute) RETURNS bool LANGUAGE sql SET search_path = '' AS $$
    SELECT $1.attidentity = '' AND NOT coalesce(typnotnull OR typdefault IS NOT NULL, false)
      AND NOT EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
        WHERE $1.attrelid IN (inhrelid, inhparent) AND NOT relispartition)
      AND NOT EXISTS (SELECT FROM pg_depend
        LEFT JOIN pg_attrdef d ON classid = 'pg_attrdef'::regclass AND d.oid = objid
        LEFT JOIN pg_constraint k ON classid = 'pg_constraint'::regclass AND k.oid = objid
        LEFT JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid
        LEFT JOIN pg_index i ON i.indexrelid = c.oid
        WHERE refclassid = 'pg_class'::regclass AND refobjid = $1.attrelid
          AND refobjsubid = $1.attnum
          AND NOT coalesce(d.adnum = $1.attnum, k.contype = 'n', c.relkind = 'S',
            NOT (i.indisunique OR i.indisclustered), false))
      AND NOT EXISTS (SELECT FROM pg_partitioned_table
        WHERE partrelid = $1.attrelid AND $1.attnum = ANY (partattrs::int2[]))
    FROM pg_type WHERE oid = $1.atttypid $$;
  CREATE FUNCTION corpus.facts(oid) RETURNS text LANGUAGE sql SET search_path = '' AS $$
    SELECT json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname,
      'kind', CASE WHEN c.relhasrules THEN 'rules' ELSE c.relkind::text END, 'columns', (
        SELECT json_agg(json_build_object('name', a.attname,
          'type', format_type(a.atttypid, a.atttypmod), 'baseType', format_type(a.atttypid, -1),
          'under', ${UNDER},
          'notNull', a.attnotnull, 'generated', a.attgenerated <> '',
          'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
          'default', ${DEFAULT},
          'taken', corpus.taken(a), 'immutable', corpus.immutable(a.atttypid),
          'defaultVolatile', coalesce(${DEFAULT} ~ 'nextval|random|clock|uuid|\\(\\)',
            false)) ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1 $$;
  GRANT USAGE ON SCHEMA corpus TO PUBLIC;`;

/** What a COPY ends with that was told to fail. */
const QUERY_CANCELED = '57014';

/** The SQLSTATE with which a text is rejected, or null. */
export type Verdict = string | null;

/** A session in which a script runs. */
export class Session {
  private status = 'I';

  private constructor(private readonly raw: RawClient) {}

  static async open(port: number, user: string): Promise<Session | null> {
    const parameters = {
      user,
      database: 'regression',
      application_name: 'pg_regress',
      DateStyle: 'Postgres, MDY',
      TimeZone: 'America/Los_Angeles',
      IntervalStyle: 'postgres_verbose',
    };
    const raw = await RawClient.login(port, parameters);
    const session = new Session(raw);
    if (raw.ended) return null;
    // A prepared transaction of the suite holds locks for which nobody should wait.
    await session.query("SET statement_timeout = '10s'; SET lock_timeout = '500ms'");
    return session;
  }

  get isFailed(): boolean {
    return this.status === 'E';
  }

  get isPlain(): boolean {
    return !this.isFailed;
  }

  get isEnded(): boolean {
    return this.raw.ended;
  }

  close(): void {
    this.raw.destroy();
  }

  private async answer(count = 1): Promise<Message[]> {
    const messages = await this.raw.ready(count);
    const last = messages.at(-1);
    if (last?.type === 'Z') this.status = last.body.toString('latin1');
    return messages;
  }

  /** Runs a text, with rows for its COPY. */
  async query(sql: string, data: string | null = null): Promise<Message[]> {
    const parts = [writeQuery(Buffer.from(sql))];
    // Whoever has no rows says so; the server does not mind when it has not asked.
    parts.push(...(data === null ? [copyFail('no rows')] : [copyData(data), copyDone]));
    this.raw.send(...parts);
    return this.answer();
  }

  async bound(sql: string, values: string[]): Promise<Message[]> {
    this.raw.send(P('', sql), B('', '', values), E(), S);
    return this.answer();
  }

  /** One value, or null; an error is null too. */
  async value(sql: string): Promise<string | null> {
    const answer = await this.query(sql);
    const first = answer.find(({ type }) => type === 'D');
    return first ? (row(first.body)[0] ?? null) : null;
  }

  async facts(schema: string | undefined, name: string): Promise<Facts | null> {
    const quoted = [schema, name]
      .filter((part) => part !== undefined)
      .map((part) => `"${part.replaceAll('"', '""')}"`)
      .join('.');
    const literal = quoted.replaceAll("'", "''").replaceAll('\\', '\\\\');
    const text = await this.value(`SELECT corpus.facts(to_regclass(E'${literal}')::oid)`);
    if (text === null || text === 'NULL') return null;
    const facts = JSON.parse(text) as Facts;
    for (const column of facts.columns ?? []) if (column.under === null) delete column.under;
    return facts;
  }

  /** How many columns a relation has, or of a name; 0: there is none. */
  async width(asked: string): Promise<number> {
    const { relation, column } = readAsked(asked);
    const called = column === null ? '' : `AND attname = '${column.replaceAll("'", "''")}'`;
    const literal = relation.replaceAll("'", "''").replaceAll('\\', '\\\\');
    const own = `attrelid = to_regclass(E'${literal}') AND attnum > 0 AND NOT attisdropped ${called}`;
    return Number(await this.value(`SELECT count(*)::text FROM pg_attribute WHERE ${own}`));
  }

  /** Whether the server refuses a statement before it runs it; nothing stays. */
  async rejects(sql: string): Promise<boolean> {
    return this.tries([writeParse('', Buffer.from(sql), ''), S], () => true);
  }

  /** Whether it refuses a COPY FROM STDIN before it reads a row. */
  async rejectsCopy(sql: string): Promise<boolean> {
    const parts = [writeQuery(Buffer.from(sql)), copyFail('no rows')];
    return this.tries(parts, (code) => code !== QUERY_CANCELED);
  }

  private async tries(parts: Buffer[], isRefusal: (code: string) => boolean): Promise<boolean> {
    const idle = this.status === 'I';
    const q = (text: string) => writeQuery(Buffer.from(text));
    const end = idle ? 'ROLLBACK' : 'ROLLBACK TO corpus_0; RELEASE corpus_0';
    this.raw.send(q(idle ? 'BEGIN' : 'SAVEPOINT corpus_0'), ...parts, q(end));
    const answers = [await this.answer(), await this.answer(), await this.answer()];
    const wrong = answers[1]?.find((message) => message.type === 'E');
    return wrong !== undefined && isRefusal(error(wrong).code ?? '');
  }

  /** What the server says of a text; of the same when a column has been added; and of another then. */
  async verdicts(
    table: Facts,
    original: string,
    column: string,
    type: string,
    edited: Buffer,
  ): Promise<{ before: Verdict; same: Verdict; edited: Verdict } | null> {
    const idle = this.status === 'I';
    const q = (text: string) => writeQuery(Buffer.from(text));
    const alter = `ALTER TABLE ${quoted(table.schema)}.${quoted(table.name)} ADD COLUMN ${quoted(column)} ${type}`;
    const text = Buffer.from(original);
    const parts = [
      q(idle ? 'BEGIN' : 'SAVEPOINT corpus_0'),
      q('SAVEPOINT corpus'),
      writeParse('', text, ''),
      S,
      q('ROLLBACK TO corpus'),
      q(alter),
      q('SAVEPOINT corpus'),
      writeParse('', text, ''),
      S,
      q('ROLLBACK TO corpus'),
      writeParse('', edited, ''),
      S,
      q(idle ? 'ROLLBACK' : 'ROLLBACK TO corpus_0; RELEASE corpus_0'),
    ];
    this.raw.send(...parts);
    const answers: Message[][] = [];
    for (let i = 0; i < 10; i++) answers.push(await this.answer());
    const codes = answers.map((answer) => {
      const wrong = answer.find((message) => message.type === 'E');
      return wrong ? error(wrong).code : null;
    });
    if (codes[0] || codes[1] || codes[4]) return null;
    return { before: codes[2] ?? null, same: codes[6] ?? null, edited: codes[8] ?? null };
  }
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
