import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { widthKey } from '../../sql/names.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, TableRule } from '../../sql/rules.js';
import { RawClient } from './harness.js';
import { tableRule } from './rewriter.js';
import { ruled } from './ruled.js';
import { B, brief, E, P, Q, row, S } from './wire.js';

/*
 * INSERT of `*` of another table without a column list: the server is asked how many columns that has; and
 * of a whole row by a name alone, whether another table has a column of that name.
 * There is no guard: what is not rewritten is refused.
 *
 * | broken                                                  | seen by                                  |
 * | ------------------------------------------------------- | ---------------------------------------- |
 * | nobody asks                                             | the first INSERT                         |
 * | the answer is kept                                      | the table has a column more, or less     |
 * | a statement that is kept is made of it, too             | a prepared statement                     |
 * | another statement of the text may alter the table       | ALTER and INSERT in one Query            |
 * | all columns are counted where those of a name are asked | a name alone is the row                  |
 * | only a text of one statement asks                       | a Query of several                       |
 * | only what the guard would have to do is asked for       | `complete`                               |
 * | a function of the server's is taken for one that alters | aggregates before the INSERT             |
 * | the columns that are named are not counted              | a table that was altered since           |
 */

const column = (name: string, type: string): ColumnRule => ({
  ...{ name, type, baseType: type, notNull: false, identity: null, generated: false },
  ...{ default: null, defaultVolatile: false },
});

const RULE: Partial<TableRule> = {
  guard: 'none',
  columns: [...['a', 'b'].map((name) => column(name, 'text')), column('a_new', 'text')],
  visible: ['id', 'a', 'b'],
  pairs: [
    {
      ...{ name: 'change', follow: 'a_new', backward: null, everyUpdate: true },
      forward: { texts: ['upper(', ')'], columns: ['a'] },
    },
  ],
};
RULE.columns!.unshift(column('id', 'integer'));

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: how many columns another table has is asked`, async (t) => {
    await loadParser();
    const b = await ruled(t, major, { more: { makeRewriter } });
    await b.direct('ALTER TABLE users ADD a_new text');
    await b.direct(`CREATE TABLE x AS SELECT 1 AS id, 'x'::text AS a, 'y'::text AS b`);
    await b.rule('', RULE);
    const client = await RawClient.login(b.port);
    const INSERT = 'INSERT INTO users SELECT * FROM x';
    const says = async (...messages: Buffer[]) => {
      client.send(...messages);
      const answer = brief(await client.ready());
      const rows = await b.direct('SELECT id, a, b, a_new FROM users');
      await b.direct('DELETE FROM users');
      return [answer, ...rows.map((row) => row.join())];
    };
    t.same(await says(Q(INSERT)), ['C:INSERT 0 1 Z:I', '1,x,y,X']);
    t.same(await says(P('', INSERT), B('', ''), E(), S), ['1 2 C:INSERT 0 1 Z:I', '1,x,y,X']);
    await b.direct('ALTER TABLE x DROP b');
    t.same(await says(Q(INSERT)), ['C:INSERT 0 1 Z:I', '1,x,,X'], 'a column less');
    await b.direct(`ALTER TABLE x ADD c text DEFAULT 'c', ADD d text`);
    t.same(await says(Q(INSERT)), ['E:42601 Z:I'], 'more than the table has');
    t.same(await says(P('', INSERT), B('', ''), E(), S), ['E:42601 Z:I']);
    await b.direct('ALTER TABLE x DROP d');
    t.same(await says(Q(`INSERT INTO users SELECT x.* FROM public.x`)), [
      'C:INSERT 0 1 Z:I',
      '1,x,c,X',
    ]);
    t.same(await says(Q('INSERT INTO users SELECT * FROM nowhere')), ['E:0A000 Z:I']);
    t.same(await says(P('s', INSERT), S), ['E:0A000 Z:I'], 'a prepared statement is kept');
    const both = `ALTER TABLE x DROP c; ${INSERT}`;
    t.same(await says(Q(both)), ['E:0A000 Z:I'], 'two statements');
    client.send(Q('BEGIN'), Q('ALTER TABLE x DROP c'), Q(INSERT), Q('ROLLBACK'), Q(INSERT));
    t.equal(
      brief(await client.ready(5)),
      'C:BEGIN Z:T C:ALTER TABLE Z:T C:INSERT 0 1 Z:T C:ROLLBACK Z:I C:INSERT 0 1 Z:I',
      'pipelined',
    );
    t.same(await b.direct('SELECT id, a, b, a_new FROM users'), [[1, 'x', 'c', 'X']]);
    await b.direct(`DELETE FROM users; INSERT INTO users (id, a, a_new) VALUES (1, 'p', 'P')`);
    const shown = async (...messages: Buffer[]) => {
      client.send(...messages);
      const first = (await client.ready()).find(({ type }) => type === 'D');
      return first && row(first.body)[0];
    };
    const ROW = 'SELECT users FROM users, x';
    t.equal(await shown(Q(ROW)), '(1,p,)', 'a name alone is the row');
    await b.direct(`ALTER TABLE x ADD users text DEFAULT 'own'`);
    t.equal(await shown(Q(ROW)), 'own', 'and the column of another table that has one');
    t.equal(await shown(P('', ROW), B('', ''), E(), S), 'own');
    await b.direct('ALTER TABLE x DROP users');
    t.equal(await shown(P('', ROW), B('', ''), E(), S), '(1,p,)');
    t.equal(await shown(P('t', ROW), B('', 't'), E(), S), '(1,p,,P)', 'a prepared one is kept');
    client.destroy();
  });

  t.test(`PostgreSQL ${major}: it is asked for a Query of several statements, too`, async (t) => {
    await loadParser();
    const b = await ruled(t, major, { more: { makeRewriter } });
    await b.direct(`ALTER TABLE users ADD a_new text; CREATE TABLE log (n bigint);
      CREATE TABLE x AS SELECT 1 AS id, 'x'::text AS a;
      CREATE FUNCTION widen() RETURNS void LANGUAGE sql AS 'ALTER TABLE x ADD c text'`);
    const client = await RawClient.login(b.port);
    const says = async (text: string) => {
      client.send(Q(text));
      const answer = brief((await client.ready()).filter(({ type }) => !/[TD]/.test(type)));
      const rows = await b.direct('SELECT id, a, b, a_new FROM users');
      await b.direct('DELETE FROM users');
      return [answer, ...rows.map((row) => row.join())];
    };
    const INSERT = 'INSERT INTO public.users SELECT * FROM x';
    const INSERTED = 'C:INSERT 0 1';
    const cases: [string, string][] = [
      [`${INSERT}; DELETE FROM users; ${INSERT}`, `${INSERTED} C:DELETE 1 ${INSERTED}`],
      [
        `BEGIN; SET LOCAL work_mem = '1MB'; LOCK TABLE x; TRUNCATE log; ${INSERT}; COMMIT`,
        `C:BEGIN C:SET C:LOCK TABLE C:TRUNCATE TABLE ${INSERTED} C:COMMIT`,
      ],
      [
        `WITH w AS (INSERT INTO log SELECT count(*) FROM x RETURNING n) SELECT now() FROM w; ${INSERT}`,
        `C:SELECT 1 ${INSERTED}`,
      ],
      [
        `SELECT json_agg(x ORDER BY id), string_agg(a, ','), max(i) FROM x, generate_series(1, 2) i;
         SELECT row_number() OVER () FROM unnest(ARRAY[1]); ${INSERT}`,
        `C:SELECT 1 C:SELECT 1 ${INSERTED}`,
      ],
      [
        `${INSERT}; ALTER TABLE x ADD c text; ALTER TABLE x DROP c`,
        `${INSERTED} C:ALTER TABLE C:ALTER TABLE`,
      ],
    ];
    const altering = [
      'ALTER TABLE x ADD c text',
      'SELECT widen()',
      "DO 'BEGIN ALTER TABLE x ADD c text; END'",
      'SELECT 1 AS id INTO TEMP x UNION SELECT 2',
      'SET search_path = pg_catalog',
      'BEGIN; ROLLBACK',
    ];
    await b.rule('', RULE);
    for (const [text, tags] of cases) {
      t.same(await says(text), [`${tags} Z:I`, '1,x,,X'], text);
    }
    for (const before of altering) {
      t.same(await says(`${before}; ${INSERT}`), ['E:0A000 Z:I'], before);
      t.same(await says(`${INSERT}; ${before}; ${INSERT}`), ['E:0A000 Z:I'], before);
    }
    // The change is complete: nothing is left to a guard, and the column lies last.
    await b.direct('ALTER TABLE users DROP a; ALTER TABLE users RENAME a_new TO a');
    const [id, a, second] = RULE.columns!;
    await b.rule('', { ...RULE, columns: [id!, second!, a!], pairs: [] });
    const complete = async (text: string) => {
      client.send(Q(text));
      const answer = brief(await client.ready());
      const rows = await b.direct('SELECT id, a, b FROM users');
      await b.direct('DELETE FROM users');
      return [answer, ...rows.map((row) => row.join())];
    };
    t.same(await complete(INSERT), [`${INSERTED} Z:I`, '1,x,'], 'complete');
    t.same(await complete(`SELECT 1 AS x; ${INSERT}`), [
      `T D:1 C:SELECT 1 ${INSERTED} Z:I`,
      '1,x,',
    ]);
    client.destroy();
  });

  t.test(`PostgreSQL ${major}: a table that was altered since is refused`, async (t) => {
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db = await cluster.client();
    t.teardown(() => db.end());
    await loadParser();
    const table = tableRule(4711, 'users', '', RULE);
    const rewriter = makeRewriter({ epoch: 1, tables: [table] });
    await db.query('CREATE TABLE users (id int, a text, b text, a_new text)');
    const texts = [
      'INSERT INTO users SELECT x.*, y.b FROM x, y',
      "INSERT INTO users SELECT x.*, 'b' FROM x",
      'INSERT INTO users SELECT * FROM x JOIN y ON true',
      'INSERT INTO users (id, b, a) SELECT x.*, y.b FROM x, y',
      'INSERT INTO users SELECT x.*, y.b FROM x, y UNION ALL SELECT x.*, y.b FROM x, y',
    ];
    for (const text of texts) {
      const names = [
        ['users', 4711],
        [widthKey('"x"'), 2],
        [widthKey('"y"'), 1],
      ] as const;
      const { outcome, text: sent } = rewriter.rewrite(Buffer.from(text), new Map(names), true);
      t.equal(outcome, 'rewritten', text);
      for (const [columns, code] of [
        ['1 AS id', /^(42601|42P10)$/],
        [`1 AS id, 'a' AS a`, null],
        [`1 AS id, 'a' AS a, 'c' AS c`, /^42601$/],
      ] as const) {
        await db.query(`BEGIN; CREATE TABLE x AS SELECT ${columns};
          CREATE TABLE y AS SELECT 'b'::text AS b`);
        const done = db.query(sent.toString());
        if (code) await t.rejects(done, { code }, `${text} of ${columns}`);
        else {
          await done;
          const { rows } = await db.query('SELECT * FROM users LIMIT 1');
          t.same(
            rows,
            [{ id: 1, a: 'a', b: 'b', a_new: 'A' }].map((row) => {
              return /id, b, a/.test(text) ? { ...row, a: 'b', b: 'a', a_new: 'B' } : row;
            }),
          );
        }
        await db.query('ROLLBACK');
      }
    }
  });
}
