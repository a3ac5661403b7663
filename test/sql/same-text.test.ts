import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { TextRows } from '../../proxy/copy-text.js';
import { Outbox } from '../../proxy/outbox.js';
import type { CopyRows } from '../../sql/copy-rows.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Guard, TableRule } from '../../sql/rules.js';
import { RawClient } from '../proxy/harness.js';
import { copyData, copyDone, Q } from '../proxy/wire.js';

/*
 * Where COPY gives a field twice, the servers are asked whether that is right: for any two types of
 * which the rewriter says so, a text that the source takes has to give the other column what the
 * cast gives, or to fail as the cast does. Seen to fail for each of these when it was said to be
 * the same: varchar(3) and text, numeric(6,2) and numeric(8,4), integer and double precision,
 * integer and text, real and double precision, char(4) and text, date and timestamp, oid and bigint.
 * Seen to fail too, of what the proxy prints: signs, leading zeros, bases, underscores or spaces of an
 * integer kept; a numeric's zeros, point or scale kept; a short word of a boolean, a uuid's braces,
 * hyphens or capitals kept; spaces of character kept; those beyond varchar(n) kept; the B or X of bits
 * kept; a name not cut, or cut by its bytes.
 */

const TYPES = [
  ...['smallint', 'integer', 'bigint', 'oid', 'numeric', 'numeric(6,2)', 'numeric(8,4)'],
  ...['real', 'double precision', 'money', 'boolean', 'text', 'character varying'],
  ...[
    'character varying(3)',
    'character varying(40)',
    'character(4)',
    'name',
    'json',
    'jsonb',
    'date',
  ],
  ...['timestamp without time zone', 'timestamp(0) without time zone', 'time without time zone'],
  ...['interval', 'uuid', 'inet', 'cidr', 'bytea', 'integer[]', 'bigint[]', 'int4range'],
  ...['bit(4)', 'bit varying', 'bit varying(9)', '"bit"', 'character varying(80)'],
];

/** Domains, with what they are and what is under them. */
const DOMAINS: Readonly<Record<string, [of: string, under: string, check: string]>> = {
  'public.number': ['integer', 'integer', 'VALUE <> 7'],
  'public.digit': ['public.number', 'integer', 'VALUE < 10'],
  'public.code': ['character varying(3)', 'character varying(3)', "VALUE <> 'abc'"],
  'public.remark': ['text', 'text', "VALUE <> 'abc' AND VALUE IS NOT NULL"],
  'public.amount': ['numeric(6,2)', 'numeric(6,2)', 'VALUE > 0'],
  'public.mark': ['name', 'name', "VALUE <> 'abc'"],
  'public.document': ['json', 'json', "VALUE::text <> 'null'"],
  'public.days': ['timestamp(0) without time zone', 'timestamp(0) without time zone', 'true'],
  'public.list': ['integer[]', 'integer[]', 'VALUE[1] < 3'],
  'public.number[]': ['', 'integer[]', ''],
};

const TEXTS = [
  ...['00', '-007.50', '+.5', '5.', '-.0', '0x_1f', '0X1F', '-0b1_0', '1__0', '_1', '0x', '00.010'],
  ...['\\0615', '5\\n', '-2147483648', '9223372036854775807', '-32_768', '0o_0', '١', '\u00a05'],
  ...['TRUE', 'yEs', 'o', 'on', 'of', 'fal', 'n', '1', ' t ', 'truex', 'abé', 'abé ', 'ab    '],
  ...['é   ', '   ', '    ', 'éèàù', 'éèàù   ', '\\351 ', 'abc\\t', 'ab\\040 \\040'],
  ...['{a0eebc999c0b4ef8bb6d6bb9bd380a11}', 'A0EE-BC99-9C0B-4EF8-BB6D-6BB9-BD38-0A11', '{a0eebc99'],
  ...[' a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc999-c0b4ef8bb6d6bb9bd380a11'],
  ...['0', '-0', '+5', ' 7 ', '007', '32767', '32768', '-32768', '2147483648', '-2147483649'],
  ...['0x1F', '0o17', '0b11', '1_000', '1.5', '1.50', '-1.005', '1e3', '99999.994', '12345.6789'],
  ...['NaN', 'Infinity', '-inf', '', ' ', 'abc', 'abc  ', 'abcd', 'ab ', 't', 'true', 'off', 'é'],
  ...['{}', '{"a": 1, "a": 2}', '[1,  2]', '"\\\\u0000"', 'null', '{1,2}', '{1,NULL}', '[1,5)'],
  ...['2020-02-29', '2020-02-29 10:11:12.6', 'infinity', 'epoch', 'today', '10:11:12.5', '1 day'],
  ...[
    '10.1.2.3',
    '10.0.0.0/8',
    '\\\\x4142',
    '1010',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    '$1.25',
  ],
  ...['b101', 'B', 'X1f', 'x', 'b012', 'xg', ' 101', '1 ', '0b1', '111100001', 'x1e1'],
  ...['é'.repeat(15), 'é'.repeat(16), 'é'.repeat(40), 'z'.repeat(63), 'z'.repeat(64)],
  ...[`${'z'.repeat(62)}é`, `${'z'.repeat(62)} yy`],
];

const OF: Omit<TableRule, 'columns' | 'pairs'> = {
  oid: 4711,
  schema: 'public',
  name: 'orders',
  version: 1,
  held: false,
  guard: 'none',
  visible: ['s'],
};

function column(name: string, type: string): ColumnRule {
  const baseType = type.replace(/\(\d+(,\d+)?\)/, '').replace(/^character$/, 'bpchar');
  const rest = { notNull: false, identity: null, generated: false, default: null };
  const under = DOMAINS[type]?.[1];
  return { name, type, baseType, ...rest, defaultVolatile: false, ...(under && { under }) };
}

/** What is done to rows of a column of type `from`, when another is its cast to `to`; null: nothing. */
function rowsFor(from: string, to: string, guard: Guard): CopyRows | null {
  const expression = { texts: ['', `::${to}`], columns: ['s'] };
  const pair = { name: 'p', follow: 'f', forward: expression, backward: null, everyUpdate: true };
  const columns = [column('s', from), column('f', to)];
  const rewriter = makeRewriter({ epoch: 1, tables: [{ ...OF, guard, columns, pairs: [pair] }] });
  const text = Buffer.from('COPY orders FROM STDIN');
  const rewrite = rewriter.rewrite(text, new Map([['orders', 4711]]), true);
  return rewrite.outcome === 'rewritten' ? (rewrite.copies?.[0] ?? null) : null;
}

/** A field as the proxy gives it twice. */
function twice(rows: CopyRows, text: string): string {
  const [writer, out] = [new TextRows(rows, false), new Outbox()];
  const data = Buffer.from(`${text}\n`);
  writer.write(data, 0, data.length, out);
  return out.take().toString();
}

/** The guard is to repair it. */
const isUnsure = (row: string, text: string) => row === `${text}\t\\N\n`;

/** Which of the rows a table takes, each by a COPY of its own. */
async function copied(raw: RawClient, rows: readonly string[]): Promise<boolean[]> {
  if (rows.length === 0) return [];
  for (const row of rows) raw.send(Q('COPY orders FROM STDIN'), copyData(row), copyDone);
  const answers = await raw.ready(rows.length);
  return answers.filter(({ type }) => type === 'C' || type === 'E').map(({ type }) => type === 'C');
}

/** Texts that a column of the type takes. */
async function taken(raw: RawClient, db: pg.Client, type: string): Promise<string[]> {
  await db.query(`DROP TABLE IF EXISTS orders; CREATE TABLE orders (s ${type})`);
  const takes = await copied(
    raw,
    TEXTS.map((text) => `${text}\n`),
  );
  return TEXTS.filter((_, i) => takes[i]);
}

/** Texts of which the two columns do not hold what the cast makes, byte for byte. */
async function wrongTexts(
  raw: RawClient,
  db: pg.Client,
  { from, to, rows, texts }: { from: string; to: string; rows: CopyRows; texts: string[] },
): Promise<string[]> {
  await db.query(`DROP TABLE IF EXISTS orders, alone; DROP FUNCTION IF EXISTS cast_of;
    CREATE TABLE orders (s ${from}); ALTER TABLE orders ADD n int`);
  await copied(raw, [texts.map((text, i) => `${text}\t${i}\n`).join('')]);
  await db.query(`ALTER TABLE orders RENAME TO alone;
    CREATE TABLE orders (s ${from}, f ${to}, n int);
    CREATE FUNCTION cast_of(v ${from.replace(/\(.*\)/, '')}) RETURNS text LANGUAGE plpgsql AS
      $$BEGIN RETURN ROW(v, v::${to})::text; EXCEPTION WHEN OTHERS THEN RETURN 'it fails'; END$$`);
  await copied(
    raw,
    texts.map((text, i) => twice(rows, text).replace(/\n$/, `\t${i}\n`)),
  );
  const { rows: wrong } = await db.query(
    `SELECT n FROM alone LEFT JOIN orders o USING (n)
     WHERE cast_of(alone.s) <> CASE WHEN o.n >= 0 THEN ROW(o.s, o.f)::text ELSE 'it fails' END`,
  );
  return wrong.map(({ n }) => texts[n]!);
}

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: a text that is given twice is one value`, async (t) => {
    await loadParser();
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db = await cluster.client();
    t.teardown(() => db.end());
    const raw = await RawClient.login(cluster.port);
    t.teardown(() => raw.destroy());
    let seen = 0;
    for (const [name, [of, , check]] of Object.entries(DOMAINS)) {
      if (of) await db.query(`CREATE DOMAIN ${name} AS ${of} CHECK (${check})`);
    }
    const all = [...TYPES, ...Object.keys(DOMAINS)];
    for (const from of all) {
      // One type reads a text the same way twice.
      const others = all.flatMap((to) => {
        const rows = from === to ? null : rowsFor(from, to, 'repair');
        return rows ? [{ to, rows }] : [];
      });
      const texts = others.length > 0 ? await taken(raw, db, from) : [];
      for (const { to, rows } of others) {
        const sure = texts.filter((text) => !isUnsure(twice(rows, text), text));
        seen += sure.length;
        for (const text of await wrongTexts(raw, db, { from, to, rows, texts: sure })) {
          t.fail(`${from} to ${to}: ${text}`);
        }
      }
    }
    t.comment(`${seen} texts`);
    t.ok(seen > 200, `${seen} texts`);
  });
}
