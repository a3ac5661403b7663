import t from 'tap';
import { makeRewriter } from '../../sql/rewriter.js';
import type { Pair, RuleSet } from '../../sql/rules.js';
import { column, openTables, RESOLUTION, rulesOf, see } from './tandem.js';

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

const COLUMNS = `id integer, tags text[] DEFAULT '{x}', spot shared.place, codes varchar(3)[],
  few shared.few, data jsonb DEFAULT '{"a": 1}', at point DEFAULT '(1,2)', n integer[]`;

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
  const known = (name: string, type: string) => column(name, type, fallbacks.get(name) ?? null);
  const own = [known('id', 'integer')];
  own.push(...NAMES.map((name) => known(name, RENAMED[name]!)), known('n', 'integer[]'));
  const pairs = NAMES.map((name): Pair => {
    const follow = `${name}_new`;
    const backward = { lead: name, value: bare(follow) };
    return { name, follow, forward: bare(name), backward, everyUpdate: true };
  });
  const added = NAMES.map((name) => known(`${name}_new`, RENAMED[name]!));
  return rulesOf(own, added, pairs, 'none');
}

for (const major of [14, 18]) {
  t.test(`parts are written under both names, PostgreSQL ${major}`, async (t) => {
    const added = NAMES.map((name) => `${name}_new ${RENAMED[name]}`);
    const db = await openTables(t, major, COLUMNS, added);
    const { rows } = await db.query(`SELECT attname, pg_get_expr(adbin, adrelid) AS expression
      FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
      WHERE adrelid = 'tandem.orders'::regclass`);
    const fallbacks = new Map(rows.map(({ attname, expression }) => [attname, expression]));
    const rewriter = makeRewriter(rules(fallbacks));
    const all = ['id', ...NAMES, 'n'].join(', ');
    const look = `SELECT ROW(${all})::text FROM orders`;
    // A column that is left out has the default of the other one: what is not in order is shown.
    const wrong = NAMES.map((name) => `ROW(${name})::text = ROW(${name}_new)::text`).join(' AND ');
    const lookAtBoth = `SELECT ROW(${all})::text || CASE WHEN ${wrong} THEN '' ELSE ': differs' END
      FROM orders`;
    let written = 0;
    const renamed = new RegExp(`\\b(${NAMES.join('|')})\\b`, 'g');
    for (const [text, values = []] of STATEMENTS) {
      const expected = await see(db, 'plain', { text, values, look });
      const [list = '', ...rest] = text.split(/(?=VALUES|SELECT)/);
      for (const sent of [text, list.replace(renamed, '$1_new') + rest.join('')]) {
        const rewrite = rewriter.rewrite(Buffer.from(sent), RESOLUTION, true);
        const made = { text: rewrite.text.toString(), values, look: lookAtBoth };
        const seen = await see(db, 'tandem', made);
        t.same(seen, expected, sent);
        t.not(rewrite.outcome, 'refused', sent);
        if (rewrite.outcome === 'rewritten' && 'left' in expected) written++;
      }
    }
    t.ok(written > 30, `${written} wrote something`);
  });
}
