import t from 'tap';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { TableRule } from '../../sql/rules.js';
import { type Message, RawClient } from './harness.js';
import { ruled } from './ruled.js';
import { B, brief, E, error, P, Q, S } from './wire.js';

/*
 * A text that our parser does not know, of a table without a guard: what is none to the server either, it
 * says itself; what it knows is refused, and not run.
 *
 * | broken                                                 | seen by                             |
 * | ------------------------------------------------------ | ----------------------------------- |
 * | the text is not sent                                   | any text that is wrong              |
 * | what stands before it is not taken off the position    | any text that is wrong              |
 * | the statement that fails stands behind the text        | what the server knows is not run    |
 * | the text is sent as a Parse, and no other behind it    | what the server knows is not run    |
 * | it is not closed where the server knows it             | its name is free                    |
 */

const RULE: Partial<TableRule> = {
  guard: 'none',
  columns: ['id', 'a', 'b'].map((name) => ({
    ...{ name, type: 'text', baseType: 'text', notNull: false, identity: null, generated: false },
    ...{ default: null, defaultVolatile: false },
  })),
  visible: ['id', 'a'],
  pairs: [
    {
      ...{ name: 'change', follow: 'b', backward: null, everyUpdate: true },
      forward: { texts: ['', ''], columns: ['a'] },
    },
  ],
};

const WRONG = [
  'UPDATE users SET',
  "UPDATE users SET a = 'é' WHERE WHERE",
  'SELECT 1; INSERT INTO users VALUES (1',
  "UPDATE users SET a = 'x",
  '\n  UPDATE "users" SET SET',
  'PREPARE q AS UPDATE users SET',
];
/** A constant goes on behind a comment, which our parser's scanner does not know. */
const KNOWN = "UPDATE users SET a = 'x' --\n 'y'";

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: a text that does not parse, without a guard`, async (t) => {
    await loadParser();
    const b = await ruled(t, major, { more: { makeRewriter } });
    await b.rule('', RULE);
    await b.direct(`INSERT INTO users VALUES (1, 'a', 'a')`);
    const client = await RawClient.login(b.port);
    const plain = await RawClient.login(b.cluster.port);
    const say = async (to: RawClient, sent: Buffer[], count: number) => {
      to.send(...sent);
      return (await to.ready(count)).map((message: Message) =>
        message.type === 'E' ? error(message) : brief([message]),
      );
    };
    const same = async (title: string, count: number, ...sent: Buffer[]) => {
      const wanted = await say(plain, sent, count);
      t.same(await say(client, sent, count), wanted, title);
      return wanted;
    };
    for (const text of WRONG) {
      const told = await same(text, 1, Q(text));
      t.match(told[0], { code: '42601' });
      await same(`${text}, prepared`, 1, P('', text), B('', ''), E(), S);
      await same(`${text}, with a name`, 1, P('s', text), S);
      const failed = [Q('BEGIN'), Q('nonsense'), Q(text), P('', text), S, P('s', text), S];
      await same(`${text}, failed`, 6, ...failed, Q('ROLLBACK'));
    }
    await same(
      'the unnamed statement',
      3,
      P('', 'SELECT 1'),
      S,
      P('', 'TABLE users x y'),
      S,
      B('', ''),
      S,
    );
    await t.test('what the server knows is not run', async (t) => {
      const says = async (count: number, ...sent: Buffer[]) => {
        client.send(...sent);
        return brief(await client.ready(count));
      };
      t.equal(await says(1, Q(KNOWN)), 'E:0A000 Z:I');
      t.equal(await says(1, Q(`DELETE FROM users; ${KNOWN}; COMMIT`)), 'E:0A000 Z:I');
      for (const name of ['', 's']) {
        t.equal(await says(1, P(name, KNOWN), B('', name), E(), S), 'E:0A000 Z:I');
      }
      t.equal(
        await says(1, P('s', 'SELECT 1'), B('', 's'), E(), S),
        '1 2 D:1 C:SELECT 1 Z:I',
        'its name is free',
      );
      t.equal(await says(1, P('s', KNOWN), S), 'E:42P05 Z:I', 'its name is taken');
      t.equal(
        await says(5, Q('BEGIN'), Q('nonsense'), Q(KNOWN), P('', KNOWN), S, Q('ROLLBACK')),
        'C:BEGIN Z:T E:42601 Z:E E:25P02 Z:E E:25P02 Z:E C:ROLLBACK Z:I',
      );
      t.same(await b.direct('TABLE users'), [[1, 'a', 'a']]);
    });
    client.destroy();
    plain.destroy();
  });
}
