import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, RuleSet } from '../../sql/rules.js';

/*
 * With standard_conforming_strings off a backslash in a plain constant begins an escape: the same
 * statements on a plain table and, rewritten, on one under migration without a guard. Each has to be told
 * the same, errors with their position and warnings too, and to leave the same.
 *
 * | broken                                                   | seen by                                 |
 * | -------------------------------------------------------- | --------------------------------------- |
 * | the text is read with the setting on                     | 'it\'s', a comma within it              |
 * | offsets are not turned back                              | what stands behind a constant           |
 * | a copy of a constant is left without its E               | the warnings                            |
 * | N'' is read as any other                                 | N'\''                                   |
 * | a default of ours is given as the catalog has it         | DEFAULT, and a column that is left out   |
 */

const STATEMENTS: readonly string[] = [
  'INSERT INTO orders (id, note) VALUES (1, $$n$$), (2, DEFAULT)',
  'UPDATE orders SET name = DEFAULT',
  String.raw`INSERT INTO orders VALUES (1, 'it\'s', 'b')`,
  String.raw`INSERT INTO orders VALUES (1, 'it\'s, (', '\\'), (2, '''\\', $$\$$)`,
  String.raw`INSERT INTO orders VALUES (1, '\', 2', 'x\ty', 'one too many')`,
  String.raw`INSERT INTO orders (name, id) VALUES ('\x41\u00e4''\'', 3) RETURNING *`,
  String.raw`INSERT INTO orders (name, id) VALUES ('abc\\defghij\'', 3)`,
  String.raw`INSERT INTO orders (id, name) VALUES ('\61', E'\'' || 'x\'')`,
  String.raw`INSERT INTO orders (id, name) VALUES ('a\'', 'x'), (1 / 0, 'y')`,
  String.raw`INSERT INTO orders (id, name) VALUES (1, 'a\'b'
    'c\'d'), (2, 'e')`,
  String.raw`INSERT INTO orders (id, name) SELECT n, 'a\'' || n FROM generate_series(1, 2) AS n`,
  String.raw`UPDATE orders SET name = 'it\'s' WHERE note = '\'' OR id = 7`,
  String.raw`UPDATE orders SET note = 'it\'s' RETURNING *, note || '\''`,
  String.raw`UPDATE orders SET name = 'it\'s', id = 'x\'' WHERE id = 7`,
  String.raw`UPDATE orders SET name = pg_catalog.concat('a\'', pg_catalog.lower('B\\')), note = name`,
  String.raw`SELECT * FROM orders WHERE note <> '\''`,
  String.raw`SELECT *, 'a\'' AS "b\" FROM orders /* ' \ */ WHERE note <> '\\' -- \'`,
  String.raw`DELETE FROM orders WHERE name = 'seven\'' RETURNING *`,
  String.raw`SELECT date'2020-01-0\x31', * FROM orders`,
  String.raw`WITH w AS (INSERT INTO orders VALUES (4, '\'', '') RETURNING *) SELECT * FROM w`,
  String.raw`SELECT '\'', * FROM orders; UPDATE orders SET name = '\''; SELECT * FROM orders, oops`,
];

/** Of these nothing is read. */
const UNREAD: readonly string[] = [
  String.raw`UPDATE orders SET name = N'\''`,
  String.raw`UPDATE orders SET name = U&'\0041'`,
  String.raw`UPDATE orders SET name = '\'`,
];

const DEFAULT = String.raw`'a\101\\b'::character varying`;

function rules(): RuleSet {
  const column = (name: string, type: string, fallback: string | null = null): ColumnRule => {
    const rest = { notNull: false, identity: null, generated: false, default: fallback };
    return { name, type, baseType: type.replace('(9)', ''), defaultVolatile: false, ...rest };
  };
  const columns = [
    ...[
      column('id', 'integer'),
      column('name', 'character varying(9)', DEFAULT),
      column('note', 'text'),
    ],
    column('name_new', 'text'),
  ];
  const pair = {
    name: 'm',
    follow: 'name_new',
    forward: { texts: ['upper(', ')'], columns: ['name'] },
    backward: null,
    everyUpdate: true,
  };
  const table = { oid: 4711, schema: 'tandem', name: 'orders', version: 1, held: false };
  const visible = ['id', 'name', 'note'];
  const rest = { guard: 'none' as const, columns, visible, pairs: [pair] };
  return { epoch: 1, tables: [{ ...table, ...rest }] };
}

const names = new Map([['orders', 4711]]);
const LOOK = 'SELECT id, name, note FROM orders ORDER BY id, name';

t.test('a backslash begins an escape where the setting is off', async (t) => {
  await loadParser();
  const cluster = await Cluster.create({ major: 18 });
  t.teardown(() => cluster.destroy());
  const db: pg.Client = await cluster.client();
  t.teardown(() => db.end());
  for (const schema of ['plain', 'tandem']) {
    await db.query(`CREATE SCHEMA ${schema};
      CREATE TABLE ${schema}.orders (id integer, name varchar(9) DEFAULT ${DEFAULT}, note text)`);
  }
  await db.query('ALTER TABLE tandem.orders ADD name_new text');
  const rewriter = makeRewriter(rules());
  let notices: string[] = [];
  db.on('notice', ({ message, code }) => notices.push(`${code} ${message}`));
  const see = async (schema: string, text: string) => {
    await db.query(`BEGIN; SET LOCAL search_path = ${schema};
      INSERT INTO orders (id, name, note) VALUES (7, 'seven''', 'n');
      SET LOCAL standard_conforming_strings = off`);
    notices = [];
    const rewrite = rewriter.rewrite(Buffer.from(text), names, true, null, true);
    const sent = schema === 'tandem' ? rewrite : { ...rewrite, edits: [], text: Buffer.from(text) };
    try {
      const answers = [await db.query({ text: sent.text.toString(), rowMode: 'array' })].flat();
      const told = answers.map(({ rows, command, rowCount }) => ({ rows, command, rowCount }));
      const { rows } = await db.query({ text: LOOK, rowMode: 'array' });
      if (schema === 'tandem') {
        const wrong = await db.query('SELECT FROM orders WHERE name_new <> upper(name)');
        t.equal(wrong.rowCount, 0, `both columns of ${text}`);
      }
      return { told, left: rows, notices };
    } catch (error) {
      const { code, message, position } = error as pg.DatabaseError;
      const place = rewriter.mapPosition(Buffer.from(text), sent, Number(position ?? 0), true);
      return { code, message, place, notices };
    } finally {
      await db.query('ROLLBACK');
    }
  };
  for (const text of STATEMENTS) {
    t.same(await see('tandem', text), await see('plain', text), text);
    const { outcome } = rewriter.rewrite(Buffer.from(text), names, true, null, true);
    t.match(outcome, /^(rewritten|unchanged)$/, `${text} is read`);
  }
  for (const text of UNREAD) {
    const { outcome } = rewriter.rewrite(Buffer.from(text), names, true, null, true);
    t.equal(outcome, 'refused', text);
  }
  const plain = String.raw`UPDATE orders SET name = 'a\' WHERE note = '\'`;
  const escaped = rewriter.rewrite(Buffer.from(plain), names, true, null, true);
  const standard = rewriter.rewrite(Buffer.from(plain), names, true, null, false);
  t.not(escaped.outcome, standard.outcome, 'each setting has its own rewrite of a text');
});
