import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { RuleSet } from '../../sql/rules.js';

/*
 * Errors about what a VALUES list gives that is sorted or limited: the server tells no position, and
 * so it has to be of the text that is sent. Broken: the star, or the column, has a place.
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

t.test('an error has a place where the server tells one', async (t) => {
  await loadParser();
  const cluster = await Cluster.create({ major: 18 });
  t.teardown(() => cluster.destroy());
  const db: pg.Client = await cluster.client();
  t.teardown(() => db.end());
  for (const [schema, more] of [
    ['plain', ''],
    ['tandem', ', id_new bigint'],
  ]) {
    await db.query(`CREATE SCHEMA ${schema};
      CREATE TABLE ${schema}.orders (id integer, at date${more})`);
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
  for (const text of STATEMENTS) {
    const { code, message, position } = await errorOf('plain', text);
    const rewrite = rewriter.rewrite(Buffer.from(text), new Map([['orders', 4711]]), true);
    t.equal(rewrite.outcome, 'rewritten', text);
    const seen = await errorOf('tandem', rewrite.text.toString());
    const sent = Number(seen.position ?? 0);
    const place = rewriter.mapPosition(Buffer.from(text), rewrite, sent, true);
    const told = { code: seen.code, message: seen.message, place };
    t.same(told, { code, message, place: Number(position ?? 0) }, text);
    if (position === undefined) without++;
  }
  t.ok(without > 1, 'some have none');
});
