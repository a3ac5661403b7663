import type pg from 'pg';
import { type Expression, printExpression, type RuleSet } from '../../sql/rules.js';

/** One change of a column: what the table was, what it becomes, and values to try on it. */
export interface Subject {
  name: string;
  /** Statements that make types, run in the schema of each table. */
  setup?: string;
  /** The lead column: `v`, but for the key itself. */
  lead: string;
  from: string;
  to: string;
  up: Expression;
  /** How the source is derived when a statement gives only the shadow; null: it is not. */
  down: Expression | null;
  /** The old column from the new one after the cutover, for every value; null: not tried. */
  total: Expression | null;
  /** Literals and expressions as they may be written, some of them wrong. */
  values: string[];
  /** What is sent for a parameter. */
  params: (string | null)[];
}

/** An expression over one column, which is written `@` in it. */
const over = (column: string, text: string): Expression => {
  const texts = text.split('@');
  return { texts, columns: texts.slice(1).map(() => column) };
};

export const SUBJECTS: Subject[] = [
  {
    name: 'int to bigint with a serial default',
    lead: 'id',
    from: 'integer',
    to: 'bigint',
    up: over('id', '(@)::bigint'),
    down: over('id_follow', '(@)::integer'),
    total: over('id', 'CASE WHEN abs(@) < 2000000000 THEN (@)::integer END'),
    values: [
      '7',
      '-3',
      "'12'",
      '3 * 14',
      '2.6',
      '1.5::numeric',
      'abs(-20)',
      '99999999999',
      "'x'",
      'true',
      "'5'::text",
      "nextval('ticket')",
      "nextval('ticket') + 100",
      '(SELECT max(n) + 40 FROM items)',
    ],
    params: ['31', '-8', '77', null, 'x', '99999999999'],
  },
  {
    name: 'varchar(5) to text in lower case',
    lead: 'v',
    from: "character varying(5) DEFAULT 'Dflt'",
    to: 'text',
    up: over('v', 'lower((@)::text)'),
    down: over('v_follow', '(@)'),
    total: over('v', 'substr(@, 1, 5)'),
    values: [
      "'Abc'",
      "'TooLong'",
      "'ab'::text",
      "upper('q') || 'X'",
      "E'a\\'B'",
      '$$Dol$$',
      "U&'\\0041b'",
      "'a'\n'B'",
      '12',
      'NULL',
      "'cut me'::varchar(3)",
      "lower('ÄÖ')",
      "nextval('ticket')",
      "'Pad  '::char(5)",
      'current_date - current_date',
      '\'x\' COLLATE "C"',
      "coalesce(NULL, 'Z')",
      "CASE WHEN true THEN 'Yes' ELSE 'No' END",
    ],
    params: ['Par', 'é€𝄞', 'much too long', null, ''],
  },
  {
    name: 'numeric(6,2) to numeric',
    lead: 'v',
    from: 'numeric(6,2)',
    to: 'numeric',
    up: over('v', '(@)'),
    down: over('v_follow', '(@)'),
    total: over('v', 'CASE WHEN abs(@) < 9999 THEN round(@, 2) END'),
    values: [
      '1.005',
      '99999.99',
      "'2.345'",
      '1 / 3.0',
      '1e3',
      '7',
      "'NaN'",
      '1/0',
      '0.1::float8',
      "'zz'",
      'round(2.5)',
      '(2 + 1) * -1.115',
      'NULL',
    ],
    params: ['3.14159', '1e2', null, '123456', 'q'],
  },
  {
    name: 'timestamp to timestamptz',
    lead: 'v',
    from: "timestamp(0) without time zone DEFAULT date_trunc('day', now())",
    to: 'timestamp with time zone',
    up: over('v', "((@) AT TIME ZONE 'UTC'::text)"),
    down: over('v_follow', "((@) AT TIME ZONE 'UTC'::text)"),
    total: over('v', "((@) AT TIME ZONE 'UTC'::text)::timestamp(0) without time zone"),
    values: [
      "'2024-01-02 03:04:05.6'",
      "date_trunc('day', now())",
      'current_date',
      "date '2024-05-06'",
      "'infinity'",
      "timestamp '2020-01-01' + interval '1 day'",
      "'2024-13-01'",
      'NULL',
      "date_trunc('month', now() AT TIME ZONE 'Europe/Paris')",
      "date_trunc('day', now())",
      "'2024-01-01 00:00:00+05'::timestamptz",
      '5',
    ],
    params: ['2024-02-29 23:59:59.7', null, 'yesterday', 'never'],
  },
  {
    name: 'a domain to bigint',
    setup: 'CREATE DOMAIN positive AS integer CHECK (VALUE > 0)',
    lead: 'v',
    from: 'positive',
    to: 'bigint',
    up: over('v', '(@)::bigint'),
    down: over('v_follow', '(@)::integer'),
    total: over('v', 'CASE WHEN @ > 0 AND @ < 2000000000 THEN (@)::integer END'),
    values: ['5', '-5', "'6'", '2.5', '1 + 1', 'NULL', 'abs(-9)', "'7'::positive"],
    params: ['4', '-4', null, 'z'],
  },
  {
    name: 'an enum to text',
    setup: "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    lead: 'v',
    from: "mood DEFAULT 'ok'",
    to: 'text',
    up: over('v', '(@)::text'),
    down: null,
    total: null,
    values: ["'sad'", "'happy'", "'mad'", "'ok'::mood", 'NULL', "'sad'::text", "(('sad'))", '5'],
    params: ['happy', 'mad', null],
  },
  {
    name: 'text with a derived column',
    lead: 'v',
    from: 'text',
    to: 'text',
    up: over('v', 'split_part(@, chr(64), 2)'),
    down: null,
    total: null,
    values: [
      "'a@b.org'",
      "'plain'",
      "'x@' || 'y'",
      "concat('a@', 5)",
      "replace('a#b', '#', '@')",
      'NULL',
      "'é@ü'",
      "(SELECT 'sub@select')",
      "format('%s@%s', 1, 2)",
      "'multi\n@line' -- said here\n",
    ],
    params: ['p@q', null, 'ü@é', ''],
  },
  {
    name: 'char(4) to text',
    lead: 'v',
    from: "character(4) DEFAULT 'd'",
    to: 'text',
    up: over('v', "((@)::text || '|'::text)"),
    down: null,
    total: null,
    values: ["'ab'", "'abcde'", "'abc  '", '5', 'NULL', "'q'::char(2)", "lower('XY')"],
    params: ['pa', 'param', null],
  },
  {
    name: 'a default that is drawn from a sequence',
    lead: 'v',
    from: "bigint DEFAULT nextval('ticket')",
    to: 'numeric',
    up: over('v', '((@)::numeric / (2)::numeric)'),
    down: null,
    total: null,
    values: ['5', "'8'", '1.5', "nextval('ticket')", 'NULL', '5 % 3', "currval('ticket')"],
    params: ['3', null, '3.5'],
  },
  {
    name: 'an array to an array of bigint',
    lead: 'v',
    from: "integer[] DEFAULT '{1,2}'",
    to: 'bigint[]',
    up: over('v', '(@)::bigint[]'),
    down: over('v_follow', '(@)::integer[]'),
    total: over('v', '(@)::integer[]'),
    values: [
      "'{3,4}'",
      'ARRAY[1, 2, 3]',
      'ARRAY[]::integer[]',
      "'{x}'",
      'NULL',
      'array_append(ARRAY[1], 2)',
    ],
    params: ['{5,6}', null, '{}', 'x'],
  },
];

/** How a subject's tables stand: which of the columns is the lead, and what is there already. */
export interface Stage {
  name: string;
  /** After the cutover the new column leads, and stands behind the old one that is hidden. */
  after: boolean;
  everyUpdate: boolean;
}

export const STAGES: Stage[] = [
  { name: 'in order', after: false, everyUpdate: false },
  { name: 'not filled', after: false, everyUpdate: true },
  { name: 'after the cutover', after: true, everyUpdate: true },
];

const SQL_COLUMNS = `
  SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
         format_type(a.atttypid, -1) AS "baseType", a.attnotnull AS "notNull",
         pg_get_expr(d.adbin, d.adrelid) AS "default"
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = 'tandem.orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY a.attnum`;

/** Makes `plain.orders` and `tandem.orders` with the same rows, and the rules of the latter. */
export async function makeTables(
  client: pg.Client,
  subject: Subject,
  stage: Stage,
): Promise<{ rules: RuleSet; follow: string; relation: string; visible: string[] }> {
  const { lead } = subject;
  const follow = `${lead}_follow`;
  const serial = lead === 'id';
  const own = serial ? 'text' : subject.from;
  await client.query(`DROP SCHEMA IF EXISTS shared CASCADE; CREATE SCHEMA shared;
    SET search_path = shared; ${subject.setup ?? ''}`);
  for (const schema of ['plain', 'tandem']) {
    await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema};
      SET search_path = ${schema}, shared;
      CREATE SEQUENCE ticket START 500;
      CREATE TABLE items (n integer, label text, v text);
      INSERT INTO items SELECT i, 'l' || i, i::text FROM generate_series(1, 4) i;
      CREATE VIEW few AS SELECT n, label FROM items WHERE n = 4;
      CREATE FUNCTION said(anyelement) RETURNS anyelement LANGUAGE plpgsql VOLATILE AS
        'BEGIN PERFORM nextval(''ticket''); RETURN $1; END';
      CREATE TABLE orders (id serial PRIMARY KEY, v ${own}, note text DEFAULT 'n', n integer);
      ${schema === 'tandem' ? `ALTER TABLE orders ADD ${follow} ${subject.to}` : ''};`);
  }
  if (stage.after) await swap(client, subject, follow);
  const value = (stage.after && subject.total) || subject.up;
  const forward = { texts: value.texts, columns: value.columns };
  const computed = printExpression(forward);
  const relation = `${follow} IS NOT DISTINCT FROM ${computed}`;
  await client.query("SET search_path = ''");
  const { rows } = await client.query(SQL_COLUMNS);
  const columns = rows.map((row) => ({
    ...row,
    identity: null,
    generated: false,
    defaultVolatile: /nextval/.test(row.default ?? ''),
  }));
  const backward = stage.after ? subject.up : subject.down;
  const rule = {
    oid: 4711,
    schema: 'tandem',
    name: 'orders',
    version: 1,
    held: false,
    guard: 'repair' as const,
    columns,
    visible: ['id', 'v', 'note', 'n'],
    pairs: [
      {
        name: subject.name,
        follow,
        forward,
        backward: backward && {
          lead,
          value: { texts: backward.texts, columns: backward.columns.map(() => follow) },
        },
        everyUpdate: stage.everyUpdate,
      },
    ],
  };
  const rules: RuleSet = { epoch: 1, tables: [rule] };
  return { rules, follow, relation, visible: rule.visible };
}

/** What a cutover does to names and defaults; in `plain` what a plain ALTER would have done. */
async function swap(client: pg.Client, subject: Subject, follow: string): Promise<void> {
  const { lead, to } = subject;
  const { rows } = await client.query(
    `SELECT pg_get_expr(adbin, adrelid) AS d FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid
     AND attnum = adnum WHERE adrelid = 'tandem.orders'::regclass AND attname = $1`,
    [lead],
  );
  const fallback = rows[0]?.d as string | undefined;
  const using = printExpression(subject.up);
  await client.query(`SET search_path = plain, shared;
    ALTER TABLE orders ALTER ${lead} DROP DEFAULT;
    ALTER TABLE orders ALTER ${lead} TYPE ${to} USING ${using};
    ${fallback ? `ALTER TABLE orders ALTER ${lead} SET DEFAULT ${fallback.replace('tandem.', '')}` : ''};
    SET search_path = tandem, shared;
    ALTER TABLE orders RENAME ${lead} TO swapped;
    ALTER TABLE orders RENAME ${follow} TO ${lead};
    ALTER TABLE orders RENAME swapped TO ${follow};
    ALTER TABLE orders ALTER ${follow} DROP DEFAULT;
    ${
      lead === 'id'
        ? `ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ALTER ${follow} DROP NOT NULL;
      ALTER TABLE orders ADD PRIMARY KEY (id)`
        : ''
    };
    ${fallback ? `ALTER TABLE orders ALTER ${lead} SET DEFAULT ${fallback}` : ''};`);
}
