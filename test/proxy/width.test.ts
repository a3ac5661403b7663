import t from 'tap';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, TableRule } from '../../sql/rules.js';
import { RawClient } from './harness.js';
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
}
