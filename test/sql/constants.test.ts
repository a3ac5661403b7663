import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { skeletonOf } from '../../sql/literals.js';
import type { StatementRewriter } from '../../sql/outcome.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Guard, TableRule } from '../../sql/rules.js';

/*
 * Where a constant is given to the other column as a constant, the servers are asked whether that is
 * right: the other column has to hold, byte for byte, what the cast makes of the first one's value,
 * and what the table alone refuses has to be refused with the same words.
 *
 * Broken to see it fail:
 * | what                                                       | what failed first               |
 * | ---------------------------------------------------------- | ------------------------------- |
 * | constants in quotes are given to what prints its value     | smallint to text, '-0'          |
 * | constants in quotes are given where the cast may fail      | smallint to numeric(6,2), '32767' |
 * | integers are given where the cast may fail                 | smallint to numeric(6,2), 32767 |
 * | `-0` is printed as it is written                           | smallint to text, -0            |
 * | constants in quotes are given to a narrower integer        | integer to smallint, '32768'    |
 * | integers are given to smallint                             | integer to smallint, 32768      |
 * | integers of ten digits are given                           | smallint to integer, 2147483648 |
 */

const TYPES = [
  ...['smallint', 'integer', 'bigint', 'oid', 'numeric', 'numeric(6,2)', 'numeric(8,4)'],
  ...['real', 'double precision', 'boolean', 'text', 'character varying', 'character varying(3)'],
  ...['character varying(40)', 'character(4)', 'json', 'jsonb', 'date', 'interval', 'uuid'],
  ...['timestamp without time zone', 'bytea', 'integer[]', 'bit(4)', 'name'],
];

const QUOTED = [
  ...[
    '0',
    '-0',
    '+5',
    ' 7 ',
    '007',
    '32767',
    '32768',
    '2147483648',
    '-2147483649',
    '0x1F',
    '1_000',
  ],
  ...['1.5', '-1.005', '12345.6789', 'NaN', '-inf', '', 'abc', 'abc  ', 'abcd', 'ab ', 't', 'off'],
  ...['{}', '{"a": 1, "a": 2}', '[1,  2]', 'null', '{1,2}', '2020-02-29', 'infinity', 'today'],
  ...['1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'],
  ...['\\x4142', '1010', "it''s", 'é', '9223372036854775807', '99999999999999999999'],
];
const CONSTANTS = [
  ...QUOTED.map((text) => `'${text}'`),
  ...['0', '-0', '5', '-7', '- 7', '(8)', '-(8)', '32767', '32768', '-32768', '99999', '999999999'],
  ...['2147483648', '9999999999', '99999999999999999999', '007', '1.5', '-0.0', '1e3', '.5'],
  ...['true', 'false', 'NULL', "'a'\n'b'", "'1'\n'2'", "E'\\x41'", "B'1010'", "X'A'", "U&'\\0041'"],
];

const REST = { notNull: false, identity: null, generated: false, default: null } as const;

function column(name: string, type: string): ColumnRule {
  const baseType = type.replace(/\(\d+(,\d+)?\)/, '').replace(/^character$/, 'bpchar');
  return { name, type, baseType, ...REST, defaultVolatile: false };
}

/** `CASE ... END` is the way back to a narrower integer; all else is a cast. */
function castOf(from: string, to: string): { texts: string[]; columns: string[] } {
  const sizes = ['smallint', 'integer', 'bigint'];
  const size = sizes.indexOf(to);
  if (size < 0 || sizes.indexOf(from) <= size) return { texts: ['', `::${to}`], columns: ['s'] };
  const [min, max] = size === 0 ? [-32768, 32767] : [-2147483648, 2147483647];
  const texts = ['CASE WHEN ', ` BETWEEN ${min} AND ${max} THEN `, `::${to} END`];
  return { texts, columns: ['s', 's'] };
}

function rewriterOf(from: string, to: string, guard: Guard): StatementRewriter {
  const rule = { oid: 4711, schema: 'public', name: 'orders', version: 1, held: false, guard };
  const columns = [column('n', 'integer'), column('s', from), column('f', to)];
  const pair = { name: 'p', follow: 'f', backward: null, everyUpdate: true };
  const pairs = [{ ...pair, forward: castOf(from, to) }];
  const table: TableRule = { ...rule, columns, visible: ['n', 's'], pairs };
  return makeRewriter({ epoch: 1, tables: [table] });
}

/** What the server makes of an INSERT of the rows; null when there is no constant for the other. */
function rewritten(rewriter: StatementRewriter, rows: readonly string[]): string | null {
  const text = `INSERT INTO orders (n, s) VALUES ${rows.join(', ')}`;
  const rewrite = rewriter.rewrite(Buffer.from(text), new Map([['orders', 4711]]), true);
  const added = rewrite.text.toString();
  return rewrite.outcome === 'rewritten' && !/::|CASE/.test(added) ? added : null;
}

const rowOf = (constant: string, i: number) => `(${i}, ${constant})`;

/** What it is answered: `ok`, or the error. */
async function answer(db: pg.Client, text: string): Promise<string> {
  try {
    await db.query(text);
    return 'ok';
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    return `${code} ${message}`;
  }
}

/** Constants of which the columns do not hold what they should, or that are not refused as alone. */
async function wrongConstants(db: pg.Client, from: string, to: string, known: string[]) {
  const { texts, columns } = castOf(from, to);
  const cast = texts.map((part, i) => part + (columns[i] ? `(alone.${columns[i]})` : '')).join('');
  await db.query(`DROP TABLE IF EXISTS orders, alone; CREATE TABLE alone (n int, s ${from});
    CREATE TABLE orders (n int, s ${from}, f ${to})`);
  const rewriter = rewriterOf(from, to, 'repair');
  const wrong: string[] = [];
  const taken: string[] = [];
  for (const [i, constant] of known.entries()) {
    const row = rowOf(constant, i);
    const alone = await answer(db, `INSERT INTO alone (n, s) VALUES ${row}`);
    const both = await answer(db, rewritten(rewriter, [row])!);
    if (both !== alone) wrong.push(`${constant}: ${both}, alone ${alone}`);
    else if (alone === 'ok') taken.push(row);
  }
  // Once more, all rows in one list.
  if (taken.length > 0) await db.query(rewritten(rewriter, taken)!);
  const { rows } = await db.query(
    `SELECT n, count(*) FROM alone JOIN orders o USING (n)
     WHERE record_image_eq(ROW(o.s, o.f), ROW(alone.s, (${cast})::${to})) GROUP BY n`,
  );
  const right = new Set(rows.filter(({ count }) => count === '2').map(({ n }) => Number(n)));
  for (const row of taken) {
    const i = Number(/\d+/.exec(row)![0]);
    if (!right.has(i)) wrong.push(`${known[i]}: another value`);
  }
  return wrong;
}

await loadParser();

t.setTimeout(120_000);

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: a constant that is given twice is one value`, async (t) => {
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db = await cluster.client();
    t.teardown(() => db.end());
    let seen = 0;
    for (const from of TYPES) {
      for (const to of TYPES) {
        const rewriter = rewriterOf(from, to, 'repair');
        const known = CONSTANTS.filter((constant, i) => rewritten(rewriter, [rowOf(constant, i)]));
        seen += known.length;
        const wrong = known.length > 0 ? await wrongConstants(db, from, to, known) : [];
        for (const each of wrong) t.fail(`${from} to ${to}: ${each}`);
      }
    }
    t.comment(`${seen} constants`);
    t.ok(seen > 1_500, `${seen} constants`);
  });
}

t.test('what is done to a constant does not depend on what templates leave open', async (t) => {
  const groups = new Map<string, string[]>();
  for (const constant of CONSTANTS) {
    const skeleton = skeletonOf(Buffer.from(`SELECT ${constant}, 1`));
    // With a prefix or a backslash, no template is made.
    if (!skeleton) continue;
    const { text, kinds, spans } = skeleton;
    const between = [0, ...spans].map((at, i) => (i % 2 ? '' : text.subarray(at, spans[i])));
    const key = [kinds, ...between].join();
    groups.set(key, [...(groups.get(key) ?? []), constant]);
  }
  t.ok([...groups.values()].some((group) => group.length > 20));
  for (const from of TYPES) {
    for (const to of TYPES) {
      const rewriter = rewriterOf(from, to, 'none');
      for (const group of groups.values()) {
        const kinds = new Set(
          group.map((constant) => rewritten(rewriter, [rowOf(constant, 0)]) !== null),
        );
        if (kinds.size !== 1) t.fail(`${from} to ${to}: ${group}`);
      }
    }
  }
});
