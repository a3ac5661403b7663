import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Pair, RuleSet } from '../../sql/rules.js';

/*
 * How often things are computed, in which order and for which rows: the same statements on a plain
 * table and, rewritten, on one under migration, where each computation is told by a notice. No
 * guard repairs anything. What was broken to see it fail is in MUTATIONS.md.
 */

const TABLES = `
  CREATE SEQUENCE calls; CREATE SEQUENCE turn;
  CREATE DOMAIN short AS varchar(3);
  CREATE TABLE orders (id serial PRIMARY KEY, v varchar(5) DEFAULT 'Dflt', n integer,
    tag short, other integer DEFAULT nextval('turn'), turn integer DEFAULT nextval('turn'));
  CREATE TABLE items (n integer, v text);
  INSERT INTO items VALUES (1, 'One'), (2, 'Two'), (3, 'Three');
  CREATE FUNCTION draw(what text) RETURNS integer LANGUAGE plpgsql VOLATILE AS
    $$ BEGIN RAISE NOTICE 'draw %', what; RETURN nextval('calls'); END $$;
  CREATE FUNCTION calm(what text) RETURNS text LANGUAGE plpgsql STABLE AS
    $$ BEGIN RAISE NOTICE 'calm %', what; RETURN what; END $$;
  CREATE FUNCTION next_n() RETURNS integer LANGUAGE sql VOLATILE AS
    'SELECT coalesce(max(n), 0) + 1 FROM orders';
  CREATE FUNCTION many(integer) RETURNS SETOF integer LANGUAGE sql AS
    'SELECT generate_series(1, $1)';
  CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = 0);
  INSERT INTO orders (v, n) VALUES ('A', 1), ('B', 2), ('C', 3);`;

const FOLLOWS = `
  ALTER TABLE orders ADD v_new text, ADD n_new bigint, ADD tag_new text, ADD turn_new bigint;
  UPDATE orders SET v_new = lower(coalesce(v, 'None')), n_new = n, tag_new = tag || '!', turn_new = turn`;

const RELATION = `v_new IS NOT DISTINCT FROM lower(coalesce(v, 'None')) AND n_new IS NOT DISTINCT FROM n AND
  tag_new IS NOT DISTINCT FROM tag || '!' AND turn_new IS NOT DISTINCT FROM turn`;

const column = (name: string, type: string, fallback: string | null = null): ColumnRule => ({
  name,
  type,
  baseType: type.replace(/\(\d+\)/, ''),
  notNull: false,
  identity: null,
  generated: false,
  default: fallback,
  defaultVolatile: /nextval/.test(fallback ?? ''),
});

const pair = (follow: string, lead: string, before: string, after: string): Pair => ({
  name: follow,
  follow,
  forward: { texts: [before, after], columns: [lead] },
  backward: null,
  everyUpdate: true,
});

const RULES: RuleSet = {
  epoch: 1,
  tables: [
    {
      oid: 4711,
      schema: 'tandem',
      name: 'orders',
      version: 1,
      held: false,
      guard: 'repair',
      columns: [
        column('id', 'integer', "nextval('tandem.orders_id_seq'::regclass)"),
        column('v', 'character varying(5)', "'Dflt'::character varying"),
        column('n', 'integer'),
        column('tag', 'tandem.short'),
        column('other', 'integer', "nextval('tandem.turn'::regclass)"),
        column('turn', 'integer', "nextval('tandem.turn'::regclass)"),
        column('v_new', 'text'),
        column('n_new', 'bigint'),
        column('tag_new', 'text'),
        column('turn_new', 'bigint'),
      ],
      visible: ['id', 'v', 'n', 'tag', 'other', 'turn'],
      pairs: [
        pair('v_new', 'v', 'lower(coalesce(', ", 'None'::character varying)::text)"),
        pair('n_new', 'n', '(', ')::bigint'),
        pair('tag_new', 'tag', '((', ")::text || '!'::text)"),
        pair('turn_new', 'turn', '(', ')::bigint'),
      ],
    },
  ],
};

/** Statement, and what is to be seen of it on both tables: a word of a notice or of an error. */
const CASES: [title: string, sql: string, since?: number][] = [
  ['a function is computed for each row', "UPDATE orders SET n = draw('row')"],
  ['a subselect that reads no row is computed once', "UPDATE orders SET n = (SELECT draw('all'))"],
  ['one that reads the row for each', "UPDATE orders SET n = (SELECT draw('each' || orders.id))"],
  ['one of several columns once', "UPDATE orders SET (v, n) = (SELECT 'x', draw('all'))"],
  [
    'one of several columns for each row that it reads',
    "UPDATE orders o SET (n, v) = (SELECT draw('each'), o.v || i.v FROM items i WHERE i.n = o.id)",
  ],
  [
    'one that gives no row makes all NULL',
    'UPDATE orders SET (v, n) = (SELECT v, n FROM items WHERE n > 9)',
  ],
  [
    'one that gives several rows fails',
    'UPDATE orders SET (v, n) = (SELECT v, n FROM items) WHERE id = 1',
  ],
  ['a stable function is computed no more often', 'UPDATE orders SET v = calm(left(v, 1))'],
  [
    'values are computed in the order of the columns',
    "UPDATE orders SET turn = nextval('calls'), n = nextval('calls'), v = draw('third')::text WHERE id < 2",
  ],
  [
    'also of those that need not be moved',
    "UPDATE orders SET n = nextval('calls'), id = nextval('calls') WHERE id = 3",
  ],
  ['in a row of VALUES', "INSERT INTO orders (n, id) VALUES (draw('second'), nextval('calls'))"],
  ['in one row too', "INSERT INTO orders (turn, n) VALUES (nextval('calls'), draw('second'))"],
  ['defaults of one sequence keep their turn', 'INSERT INTO orders (n) VALUES (7)'],
  ['in several rows', "INSERT INTO orders (n, v) VALUES (draw('a'), 'a'), (draw('b'), NULL)"],
  [
    'a row sees those before it',
    "INSERT INTO orders (n, turn) VALUES (next_n(), 1), (next_n(), 2), (next_n(), '3')",
  ],
  ['a row of a set', 'INSERT INTO orders (n, turn) VALUES (many(3), many(2))'],
  ['no set in several rows', 'INSERT INTO orders (n) VALUES (many(3)), (1)'],
  ['no set in SET', 'UPDATE orders SET n = many(1)'],
  ['no aggregate in VALUES', 'INSERT INTO orders (n) VALUES (total(1))'],
  ['no aggregate in several rows', 'INSERT INTO orders (n) VALUES (total(1)), (2)'],
  ['no aggregate in SET', 'UPDATE orders SET n = total(1)'],
  ['no window function in VALUES', 'INSERT INTO orders (n) VALUES (row_number() OVER ())'],
  [
    'a domain refuses what does not fit',
    "INSERT INTO orders (tag, turn) VALUES ('abcd', nextval('calls')), ('x', 5)",
  ],
  ['a domain in a list of constants', "INSERT INTO orders (tag, n) VALUES ('abcd', 1), ('x', 2)"],
  ['as a type does', "UPDATE orders SET v = calm('much too long')"],
  ['a type that is not assigned is refused', "UPDATE orders SET n = calm('7')"],
  [
    'a query computes what it gives once',
    'INSERT INTO orders (v, n) SELECT calm(v), draw(v) FROM items ORDER BY n DESC',
  ],
  [
    'with its own order and limit',
    "INSERT INTO orders (v, n) SELECT DISTINCT ON (n) 'x', draw(v) FROM items ORDER BY n DESC LIMIT 2",
  ],
  [
    'an aggregate',
    "INSERT INTO orders (n, tag) SELECT total(n), 'q' FROM items HAVING draw('h') > 0",
  ],
  ['a constant that is no type of its own', "INSERT INTO orders (n, v) SELECT '5', calm('c')"],
  [
    'one by which rows are distinct is text',
    "INSERT INTO orders (n, v) SELECT DISTINCT '5', calm('c')",
  ],
  [
    'what is in conflict is computed then',
    `INSERT INTO orders (id, n) VALUES (1, 8), (77, 9)
     ON CONFLICT (id) DO UPDATE SET n = draw('conflict'), v = (SELECT max(v) FROM items)`,
  ],
  [
    'each row that matches',
    'MERGE INTO orders o USING items i ON o.id = i.n WHEN MATCHED THEN UPDATE SET n = draw(i.v)',
    15,
  ],
];

interface Seen {
  error: string;
  notices: string[];
  rows: string[];
}

/** Runs a statement from the same beginning, and takes it back. */
async function see(
  client: pg.Client,
  text: string,
  place: (position: number) => number,
): Promise<Seen & { wrong: number }> {
  const notices: string[] = [];
  const listen = (notice: { message?: string | undefined }) => notices.push(notice.message ?? '');
  client.on('notice', listen);
  await client.query('BEGIN');
  await client.query(`SELECT setval('calls', 1), setval('turn', 1), setval('orders_id_seq', 10)`);
  let error = '';
  try {
    await client.query(text);
  } catch (thrown) {
    const { code, message, position } = thrown as pg.DatabaseError;
    // A set or an aggregate is refused in VALUES, to which it was moved, and not in SET.
    const told = message.replace(/(?<=not allowed in )UPDATE/, 'VALUES');
    error = `${code} ${told} at ${position ? place(Number(position)) : 'no place'}`;
    if (code === '42803') error = code;
  }
  client.off('notice', listen);
  if (error) {
    await client.query('ROLLBACK');
    return { error, notices, rows: [], wrong: 0 };
  }
  const { rows } = await client.query('SELECT id, v, n, tag, turn, other FROM orders ORDER BY id');
  const { rows: own } = await client.query(
    `SELECT 1 FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'v_new'`,
  );
  const bad = own.length
    ? await client.query(`SELECT 1 FROM orders WHERE NOT (${RELATION})`)
    : { rows: [] };
  await client.query('ROLLBACK');
  return { error, notices, rows: rows.map((row) => JSON.stringify(row)), wrong: bad.rows.length };
}

for (const major of [18, 14]) {
  t.test(`each value is computed as often as without us, PostgreSQL ${major}`, async (t) => {
    await loadParser();
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const plain = await cluster.client();
    const tandem = await cluster.client();
    for (const [client, schema] of [
      [plain, 'plain'],
      [tandem, 'tandem'],
    ] as const) {
      await client.query(`CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${TABLES}`);
    }
    await tandem.query(FOLLOWS);
    const rewriter = makeRewriter(RULES);
    for (const [title, sql, since = 0] of CASES) {
      if (major < since) continue;
      const rewrite = rewriter.rewrite(Buffer.from(sql), new Map([['orders', 4711]]), true);
      const original = Buffer.from(sql);
      const expected = await see(plain, sql, (position) => position);
      const seen = await see(tandem, rewrite.text.toString(), (position) =>
        rewriter.mapPosition(original, rewrite, position, true),
      );
      t.same(seen, expected, `${title}: ${rewrite.text.toString()}`);
      t.ok(expected.error !== '' || rewrite.outcome === 'rewritten', `${title} is rewritten`);
    }
    await Promise.all([plain.end(), tandem.end()]);
  });
}
