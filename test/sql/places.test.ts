import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { widthKey } from '../../sql/names.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { RuleSet } from '../../sql/rules.js';

/*
 * Errors about what a VALUES list gives that is sorted or limited: the server tells no position, and
 * so it has to be of the text that is sent. So it is with what TABLE gives. Broken: the star, or the column,
 * has a place; the star of TABLE has one, of the table itself and of others; that of a first arm has none;
 * a star that was spelled out is not where it was; a value of several rows is where VALUES is.
 */

const RULES: RuleSet = (() => {
  const column = (name: string, type: string) => {
    const rest = { notNull: false, identity: null, generated: false, default: null };
    return { name, type, baseType: type, defaultVolatile: false, ...rest };
  };
  const columns = [column('id', 'integer'), column('at', 'date'), column('id_new', 'bigint')];
  const forward = { texts: ['(', ')::bigint'], columns: ['id'] };
  const pairs = [{ name: 'm', follow: 'id_new', forward, backward: null, everyUpdate: true }];
  const table = { oid: 4711, schema: 'tandem', name: 'orders', version: 1, held: false, pairs };
  return {
    epoch: 1,
    tables: [{ ...table, guard: 'none' as const, columns, visible: ['id', 'at'] }],
  };
})();

const STATEMENTS = [
  "INSERT INTO orders VALUES ('a', now()), ('b', now()) ORDER BY 1",
  'INSERT INTO orders VALUES (1, 2), (3, 4) LIMIT 1',
  "INSERT INTO orders (at, id) VALUES (now(), 'x') OFFSET 0 ROWS",
  "INSERT INTO orders (id, at) VALUES (1, 'x'), (2, 'y' COLLATE nowhere) LIMIT 1",
  'INSERT INTO orders (id, at) VALUES (1, 2) UNION ALL VALUES (3, 4)',
  'INSERT INTO orders (id, at) VALUES (1, 2) EXCEPT SELECT 3, 4',
  'INSERT INTO orders (id, at) SELECT 3, 4 UNION ALL VALUES (1, 2)',
  'INSERT INTO orders (id, at) WITH w AS (SELECT 1) VALUES (3, 4)',
  "INSERT INTO orders VALUES (1, date '2020-01-01', 5) LIMIT 1",
  'INSERT INTO orders (id, at) SELECT 1, true LIMIT 1',
  "INSERT INTO orders (id, at) SELECT DISTINCT 'x', now()",
];

/** Several rows of which something may be evaluated only once; a value is of the wrong type. */
const ROWS = [
  "INSERT INTO orders (id, at) VALUES (random()::int, NULL), (random()::int, '5' :: text)",
  "INSERT INTO orders (at, id) VALUES (NULL, random()::int), ((('5'::text)), random()::int)",
  "INSERT INTO orders (id, at) VALUES (random()::int, upper('a')), (random()::int, upper('a'))",
  "INSERT INTO orders (id, at) VALUES (random()::int, CAST ('a' AS text)), (random()::int, NULL)",
  'INSERT INTO orders (id, at) VALUES (random()::int, 5), (random()::int, 6)',
  'INSERT INTO orders (id, at) VALUES (random()::int, NULL), (random()::int, (true))',
];

/** Of `x (a text, b date)`, `y (a integer, b integer)`, `b` being what does not fit, and of the table itself. */
const STARS = [
  'INSERT INTO orders TABLE x',
  'INSERT INTO orders (at, id) TABLE y',
  'INSERT INTO orders (id, at) TABLE y ORDER BY 1 LIMIT 1',
  'INSERT INTO orders (TABLE y)',
  'INSERT INTO orders TABLE y UNION ALL TABLE y',
  'INSERT INTO orders TABLE y UNION ALL SELECT 1, 2',
  'INSERT INTO orders SELECT * FROM y UNION ALL TABLE y',
  'INSERT INTO orders SELECT 1, b FROM y UNION TABLE y',
  'INSERT INTO orders WITH w AS (TABLE y) TABLE w',
  'INSERT INTO orders SELECT * FROM (TABLE y) AS z',
  'INSERT INTO orders SELECT * FROM y WHERE b > 0 RETURNING id',
  'INSERT INTO orders SELECT y.* FROM y',
  'INSERT INTO orders SELECT a.a, c.b FROM y a, y c',
  'INSERT INTO orders SELECT a.*, 1 FROM (SELECT a FROM y) a',
  'INSERT INTO orders SELECT 1, c.* FROM (SELECT b FROM y) c',
  'INSERT INTO orders (at, id) TABLE orders',
  'INSERT INTO orders (at) TABLE orders',
  'INSERT INTO orders (at, id) SELECT DISTINCT * FROM orders',
  'INSERT INTO orders (at, id) SELECT ALL * FROM orders',
  'INSERT INTO orders (at, id) SELECT * FROM orders LIMIT 2',
  'INSERT INTO orders (at, id) WITH w AS (SELECT 1) SELECT * FROM orders',
  'INSERT INTO orders (at, id) (SELECT (o).* FROM orders o)',
  'INSERT INTO orders (at, id) (SELECT o.* FROM orders o)',
  'INSERT INTO orders (at, id) SELECT * FROM orders UNION TABLE orders',
  'INSERT INTO orders (at, id) TABLE orders UNION SELECT * FROM orders',
  'TABLE orders UNION SELECT true, now()',
  'SELECT true, now() UNION TABLE orders',
  'INSERT INTO y TABLE orders',
  'INSERT INTO y SELECT * FROM orders',
  'INSERT INTO y (a) TABLE orders',
  'SELECT (TABLE orders)',
  'SELECT 1 WHERE 2 IN (TABLE orders)',
  "SELECT 1 WHERE (now(), 'x') IN (TABLE orders)",
];
const WIDTHS: [string, number][] = [
  [widthKey('"x"'), 2],
  [widthKey('"y"'), 2],
];

for (const major of [14, 18])
  t.test(`PostgreSQL ${major}: an error has a place where the server tells one`, async (t) => {
    await loadParser();
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db: pg.Client = await cluster.client();
    t.teardown(() => db.end());
    for (const [schema, more] of [
      ['plain', ''],
      ['tandem', ', id_new bigint'],
    ]) {
      await db.query(`CREATE SCHEMA ${schema};
      CREATE TABLE ${schema}.orders (id integer, at date${more});
      CREATE TABLE ${schema}.x (a text, b date); CREATE TABLE ${schema}.y (a integer, b integer)`);
    }
    const rewriter = makeRewriter(RULES);
    const errorOf = async (schema: string, text: string): Promise<pg.DatabaseError> => {
      await db.query(`SET search_path = ${schema}`);
      return db.query(text).then(
        () => t.fail(`${text} is accepted`) as never,
        (error) => error,
      );
    };
    let without = 0;
    for (const text of [...STATEMENTS, ...ROWS, ...STARS]) {
      const { code, message, position } = await errorOf('plain', text);
      const rewrite = rewriter.rewrite(
        Buffer.from(text),
        new Map([['orders', 4711], ...WIDTHS]),
        true,
      );
      t.equal(rewrite.outcome, 'rewritten', text);
      const seen = await errorOf('tandem', rewrite.text.toString());
      const sent = Number(seen.position ?? 0);
      const place = rewriter.mapPosition(Buffer.from(text), rewrite, sent, true);
      const told = { code: seen.code, message: seen.message, place };
      // Of a type that no cast leads from, the copy's cast is told.
      if (seen.code === '42846' && code === '42804') Object.assign(told, { code, message });
      t.same(told, { code, message, place: Number(position ?? 0) }, text);
      if (position === undefined) without++;
    }
    t.ok(without > 1, 'some have none');
  });
