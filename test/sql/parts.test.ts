import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Pair, RuleSet } from '../../sql/rules.js';

/*
 * Columns that are given in parts, under both names of a rename: the same statements on a plain
 * table and, rewritten, on one under migration that has no guard. Each has to be told the same, and
 * to leave the same under both names.
 *
 * | broken                                                  | seen by                             |
 * | ------------------------------------------------------- | ----------------------------------- |
 * | the other column is given the value and not its part    | every array                         |
 * | only the first part is given                            | several parts                       |
 * | a part's DEFAULT is the column's                        | DEFAULT                             |
 */

const TABLE = `
  CREATE TABLE orders (id integer, tags text[] DEFAULT '{x}', spot shared.place, codes varchar(3)[],
    few shared.few, data jsonb DEFAULT '{"a": 1}', at point DEFAULT '(1,2)', n integer[]);`;

const SHARED = `CREATE SCHEMA shared;
  CREATE TYPE shared.place AS (x integer, y varchar(3), path integer[]);
  CREATE DOMAIN shared.few AS integer[] CHECK (array_length(VALUE, 1) < 4);`;

const RENAMED: Readonly<Record<string, string>> = {
  tags: 'text[]',
  spot: 'shared.place',
  codes: 'character varying(3)[]',
  few: 'shared.few',
  data: 'jsonb',
  at: 'point',
};

const NAMES = Object.keys(RENAMED);

const STATEMENTS: [text: string, values?: unknown[]][] = [
  ["INSERT INTO orders (id, tags[1]) VALUES (1, 'a')"],
  ["INSERT INTO orders (tags[3], tags[1]) VALUES ('c', 'a'), (NULL, 'b')"],
  ["INSERT INTO orders (tags[-2]) VALUES ('c')"],
  ["INSERT INTO orders (tags[2][3]) VALUES ('c')"],
  ["INSERT INTO orders (tags[2:3]) VALUES ('{a,b,c}')"],
  ["INSERT INTO orders (tags[2:3]) VALUES ('{a}')"],
  ["INSERT INTO orders (tags[:2]) VALUES ('{a,b}')"],
  ["INSERT INTO orders (tags[NULL]) VALUES ('a')"],
  ['INSERT INTO orders (tags[1]) VALUES (DEFAULT)'],
  ["INSERT INTO orders (tags[1].x) VALUES ('a')"],
  ["INSERT INTO orders (tags, tags[1]) VALUES ('{a}', 'b')"],
  ["INSERT INTO orders (spot.x, spot.y) VALUES (1, 'abc')"],
  ["INSERT INTO orders (spot.y) VALUES ('abcd')"],
  ["INSERT INTO orders (spot.y) VALUES ('abc  ')"],
  ['INSERT INTO orders (spot.path[2], spot.path[1]) VALUES (7, 8), (9, NULL)'],
  ['INSERT INTO orders (spot.z) VALUES (1)'],
  ["INSERT INTO orders (codes[1], codes[2]) VALUES ('abc', 'de')"],
  ["INSERT INTO orders (codes[1]) VALUES ('abcd')"],
  ['INSERT INTO orders (few[1], few[3]) VALUES (1, 3)'],
  ['INSERT INTO orders (few[4]) VALUES (1)'],
  ["INSERT INTO orders (few[1:4]) VALUES ('{1,2,3,4}')"],
  [`INSERT INTO orders (data['a'], data['b']['c']) VALUES ('1', '{"x": [2]}')`],
  [`INSERT INTO orders (data[2]) VALUES ('"x"'), (NULL)`],
  ["INSERT INTO orders (data['a']) VALUES ('{')"],
  ['INSERT INTO orders (at[0]) VALUES (5)'],
  ["INSERT INTO orders (id, tags[1], spot.x) SELECT 1, 'a', 2 FROM generate_series(1, 2)"],
  ["INSERT INTO orders (id, tags[1], n[1]) VALUES (1, 'a', 5)"],
  ['INSERT INTO orders (id, tags[$2], spot.x) VALUES ($1, $3, $1)', [1, 2, 'a']],
  ['INSERT INTO orders (codes[1], spot.y) VALUES ($1, $2), ($2, $1)', ['abc', 'abcd']],
  ['INSERT INTO orders (tags[1:$1], few[1]) SELECT $2, $3', [2, '{a,b}', 5]],
  ["INSERT INTO orders (tags[1]) VALUES ('a') RETURNING tags, spot"],
];

const bare = (column: string) => ({ texts: ['', ''], columns: [column] });

function rules(fallbacks: ReadonlyMap<string, string>): RuleSet {
  const column = (name: string, type: string): ColumnRule => {
    const rest = { notNull: false, identity: null, generated: false, defaultVolatile: false };
    const baseType = type.replace('(3)', '');
    return { name, type, baseType, default: fallbacks.get(name) ?? null, ...rest };
  };
  const own = [column('id', 'integer')];
  own.push(...NAMES.map((name) => column(name, RENAMED[name]!)), column('n', 'integer[]'));
  const pairs = NAMES.map((name): Pair => {
    const follow = `${name}_new`;
    const backward = { lead: name, value: bare(follow) };
    return { name, follow, forward: bare(name), backward, everyUpdate: true };
  });
  const columns = [...own, ...NAMES.map((name) => column(`${name}_new`, RENAMED[name]!))];
  const visible = own.map(({ name }) => name);
  const rest = { version: 1, held: false, guard: 'none' } as const;
  const table = { oid: 4711, schema: 'tandem', name: 'orders', ...rest };
  return { epoch: 1, tables: [{ ...table, columns, visible, pairs }] };
}

/** What a statement is told, and what it leaves; nothing stays. */
async function see(db: pg.Client, schema: string, text: string, values: unknown[], look: string) {
  await db.query(`BEGIN; SET LOCAL search_path = ${schema}`);
  try {
    const { rows, command, rowCount } = await db.query(text, values);
    const left = await db.query({ text: look, rowMode: 'array' });
    return { rows, command, rowCount, left: left.rows };
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    return { code, message: message.replaceAll('_new"', '"') };
  } finally {
    await db.query('ROLLBACK');
  }
}

for (const major of [14, 18]) {
  t.test(`parts are written under both names, PostgreSQL ${major}`, async (t) => {
    await loadParser();
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db = await cluster.client();
    t.teardown(() => db.end());
    await db.query(SHARED);
    for (const schema of ['plain', 'tandem']) {
      await db.query(`CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${TABLE}`);
    }
    for (const name of NAMES) await db.query(`ALTER TABLE orders ADD ${name}_new ${RENAMED[name]}`);
    const { rows } = await db.query(`SELECT attname, pg_get_expr(adbin, adrelid) AS expression
      FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
      WHERE adrelid = 'tandem.orders'::regclass`);
    const fallbacks = new Map(rows.map(({ attname, expression }) => [attname, expression]));
    const rewriter = makeRewriter({ epoch: 1, tables: rules(fallbacks).tables });
    const all = ['id', ...NAMES, 'n'].join(', ');
    const look = `SELECT ROW(${all})::text FROM orders`;
    // A column that is left out has the default of the other one: what is not in order is shown.
    const wrong = NAMES.map((name) => `ROW(${name})::text = ROW(${name}_new)::text`).join(' AND ');
    const lookAtBoth = `SELECT ROW(${all})::text || CASE WHEN ${wrong} THEN '' ELSE ': differs' END
      FROM orders`;
    let written = 0;
    const renamed = new RegExp(`\\b(${NAMES.join('|')})\\b`, 'g');
    for (const [text, values = []] of STATEMENTS) {
      const expected = await see(db, 'plain', text, values, look);
      const [list = '', ...rest] = text.split(/(?=VALUES|SELECT)/);
      for (const sent of [text, list.replace(renamed, '$1_new') + rest.join('')]) {
        const rewrite = rewriter.rewrite(Buffer.from(sent), new Map([['orders', 4711]]), true);
        const seen = await see(db, 'tandem', rewrite.text.toString(), values, lookAtBoth);
        t.same(seen, expected, sent);
        t.not(rewrite.outcome, 'refused', sent);
        if (rewrite.outcome === 'rewritten' && 'left' in expected) written++;
      }
    }
    t.ok(written > 30, `${written} wrote something`);
  });
}
