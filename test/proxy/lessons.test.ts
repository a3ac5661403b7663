/**
 * What other proxies got wrong, one lesson a test: the conversation. (The byte stream and the ends
 * of connections are in lessons-wire.test.ts, re-preparing in reprepare.test.ts.)
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                                      | fails                             |
 * | ----------------------------------------------------------- | --------------------------------- |
 * | ledger: `harmlessSync` always true                          | never inject a Sync               |
 * | lookup: the first Close left out                            | what is injected can be destroyed |
 * | ledger: `dropToSync` stops at a Query                       | an extended error drops           |
 * | ledger: an error in a Query, or FunctionCall, drops to Sync | a simple error drops nothing      |
 * | ledger: a Sync after an error is not entered                | an extended error drops           |
 * | ledger: CopyDone is entered while skipping                  | an error in COPY                  |
 * | ledger: a COPY that failed is still open                    | an error in COPY                  |
 * | ledger: an error with nothing pending is a mismatch         | errors arrive                     |
 * | dialogue: any DISCARD forgets the statements                | kinds of DISCARD                  |
 * | ledger: ParameterStatus, notifications have to answer       | notices, parameters               |
 */
import t from 'tap';
import { RawClient, until } from './harness.js';
import { ruled } from './ruled.js';
import { B, brief, C, copyData, copyDone, D, E, error, H, P, Q, S } from './wire.js';

t.setTimeout(120_000);

const INSERT = 'INSERT INTO users (id, a, b) VALUES ($1, /*old*/)';
const NEW = "'x', 'y'";
const OTHER = "'other', 'pair'";

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const b = await ruled(t, major);
    await b.direct(
      `CREATE TABLE plain (i int);
       CREATE TABLE parent (i int PRIMARY KEY);
       CREATE TABLE child (i int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`,
    );
    const empty = async () => b.direct('TRUNCATE users, plain, parent, child');

    await t.test('never inject a Sync: it commits the implicit transaction', async (t) => {
      for (const prepared of [true, false]) {
        await empty();
        await b.rule(NEW);
        const client = await RawClient.login(b.port);
        if (prepared) client.send(P('s', INSERT, [23]));
        client.send(S);
        await client.ready();
        await b.rule(OTHER);
        // The first INSERT has been run when our question, or our Parse, comes in between.
        client.send(P('', 'INSERT INTO plain VALUES (1)'), B('', ''), E(), H);
        await client.wait(() => client.messages.some((m) => m.type === 'C'));
        if (!prepared) client.send(P('t', INSERT, [23]));
        const name = prepared ? 's' : 't';
        client.send(B('', name, ['1']), E(), P('', 'SELECT 1/0'), B('', ''), E(), S);
        t.match(brief(await client.ready()), /C:INSERT 0 1 (1 )?2 C:INSERT 0 1 1 E:22012 Z:I$/);
        t.same(await b.direct('SELECT count(*)::int FROM plain'), [[0]], 'rolled back as one');
        t.same(await b.direct('SELECT count(*)::int FROM users'), [[0]]);
        client.destroy();
      }
      t.ok((await b.metric('pgtandem_reprepared_total')) > 0, 'something was injected');
    });

    await t.test('an injected step that fails is the answer, and is made good later', async (t) => {
      await empty();
      const client = await RawClient.login(b.port);
      client.send(P('s', INSERT, [23]), S);
      await client.ready();
      await b.rule('nonsense');
      for (let i = 0; i < 2; i++) {
        client.send(B('', 's', ['1']), E(), Q('SELECT 1'), S, Q('SELECT 2'));
        const messages = await client.ready(2);
        t.equal(brief(messages), 'E:42703 Z:I T D:2 C:SELECT 1 Z:I', 'and it drops to Sync');
        t.equal(error(messages[0]!).position, INSERT.indexOf('/*old*/') + 1);
      }
      await b.rule(NEW);
      client.send(B('', 's', ['1']), E(), S);
      t.equal(brief(await client.ready()), '2 C:INSERT 0 1 Z:I');
      t.same(await b.direct('SELECT * FROM users'), [[1, 'x', 'y']]);
      client.destroy();
    });

    await t.test('what is injected can be destroyed by the client at any time', async (t) => {
      await empty();
      const client = await RawClient.login(b.port);
      let id = 0;
      for (const text of ['DEALLOCATE ALL', 'DISCARD ALL', 'DISCARD PLANS', 'CLOSE ALL']) {
        await b.rule(id % 2 ? NEW : OTHER);
        client.send(Q(INSERT.replace('$1', String(++id))), Q(text));
        client.send(P('', INSERT, [23]), B('', '', [String(++id)]), E(), S);
        client.send(Q('BEGIN'), Q(text.replace('DISCARD ALL', 'DEALLOCATE ALL')));
        client.send(Q(INSERT.replace('$1', String(++id))), Q('COMMIT'));
        t.match(brief(await client.ready(7)), /^(?!.*E:).*C:COMMIT Z:I$/, text);
      }
      t.same(await b.direct('SELECT count(*)::int FROM users WHERE b IS NOT NULL'), [[id]]);
      client.destroy();
    });

    await t.test('a statement that the client destroyed is not brought back', async (t) => {
      await empty();
      for (const gone of ['DEALLOCATE s', 'DEALLOCATE ALL', 'DISCARD ALL', 'DEALLOCATE other']) {
        for (const together of [true, false]) {
          await empty();
          const client = await RawClient.login(b.port);
          client.send(P('s', INSERT, [23]), P('other', 'SELECT 1'), S);
          await client.ready();
          client.send(Q(gone));
          if (!together) await client.ready();
          const ruled = b.rule(together ? NEW : OTHER);
          client.send(B('', 's', ['1']), E(), S);
          const answer = brief(await client.ready(together ? 2 : 1));
          const stays = gone === 'DEALLOCATE other';
          const expected = stays ? /2 C:INSERT 0 1 Z:I$/ : /E:26000 Z:I$/;
          t.match(answer, expected, `${gone}, ${together ? 'in one write' : 'answered before'}`);
          await ruled;
          const pair = together ? ['x', 'y'] : ['other', 'pair'];
          t.same(await b.direct('SELECT a, b FROM users'), stays ? [pair] : []);
          client.destroy();
        }
      }
    });

    await t.test('an extended error drops all, a simple Query too, to Sync', async (t) => {
      const client = await RawClient.login(b.port);
      client.send(P('', 'nonsense'), B('', ''), E(), Q('SELECT 1'), C('S', 'x'), D('S'), H);
      client.send(Q('SELECT 2'), S, Q('SELECT 3'));
      t.equal(brief(await client.ready(2)), 'E:42601 Z:I T D:3 C:SELECT 1 Z:I');
      client.destroy();
    });

    await t.test('a simple error drops nothing, nor does that of a FunctionCall', async (t) => {
      const client = await RawClient.login(b.port);
      const call = Buffer.from([0x46, 0, 0, 0, 14, 0, 1, 0x86, 0x9f, 0, 0, 0, 0, 0, 0]);
      client.send(Q('SELECT 1/0'), Q('SELECT 1'), call, Q('SELECT 2; SELECT 1/0; SELECT 3'));
      client.send(P('', 'SELECT 4'), B('', ''), E(), S);
      t.equal(
        brief(await client.ready(5)),
        'E:22012 Z:I T D:1 C:SELECT 1 Z:I E:42883 Z:I T D:2 C:SELECT 1 E:22012 Z:I ' +
          '1 2 D:4 C:SELECT 1 Z:I',
      );
      client.destroy();
    });

    await t.test('one ReadyForQuery per Sync and per Query that was not dropped', async (t) => {
      const client = await RawClient.login(b.port);
      const batch = [P('', 'SELECT 1/0'), B('', ''), E()];
      client.send(S, S, ...batch, Q('SELECT 1'), Q('SELECT 1'), S, S, Q(''), ...batch, S);
      client.send(Q('SELECT 9'));
      t.equal(
        brief(await client.ready(7)),
        'Z:I Z:I 1 E:22012 Z:I Z:I I Z:I 1 E:22012 Z:I T D:9 C:SELECT 1 Z:I',
      );
      t.equal(client.messages.length, 0);
      client.destroy();
    });

    await t.test('an error in COPY discards to Sync; a late CopyDone has no answer', async (t) => {
      const client = await RawClient.login(b.port);
      client.send(P('', 'COPY plain FROM STDIN'), B('', ''), E(), H);
      await client.wait(() => client.messages.some((m) => m.type === 'G'));
      client.send(copyData('no number\n'.repeat(20_000)));
      await client.wait(() => client.messages.some((m) => m.type === 'E'));
      client.send(copyData('1\n'), copyDone, Q('SELECT 1'), S, Q('SELECT 2'));
      t.equal(brief(await client.ready(2)), '1 2 G E:22P02 Z:I T D:2 C:SELECT 1 Z:I');
      client.send(Q('COPY plain FROM STDIN'), copyData('no number\n'.repeat(20_000)));
      await client.wait(() => client.messages.some((m) => m.type === 'Z'));
      client.send(copyData('1\n'), copyDone, Q('SELECT 3'));
      t.equal(brief(await client.ready(2)), 'G E:22P02 Z:I T D:3 C:SELECT 1 Z:I');
      client.destroy();
    });

    await t.test('errors arrive without Flush or Sync, at Sync, and unasked', async (t) => {
      const client = await RawClient.login(b.port);
      client.send(P('', 'nonsense'));
      await client.wait(() => client.messages.length > 0);
      t.equal(brief(client.messages), 'E:42601', 'without either');
      client.send(S);
      t.equal(brief(await client.ready()), 'E:42601 Z:I');
      client.send(P('', 'INSERT INTO child VALUES (7)'), B('', ''), E(), S, Q('SELECT 1'));
      t.equal(
        brief(await client.ready(2)),
        '1 2 C:INSERT 0 1 E:23503 Z:I T D:1 C:SELECT 1 Z:I',
        'at Sync',
      );
      client.send(Q("SET idle_session_timeout = '50ms'"));
      await client.ready();
      t.equal(brief(await client.end()), 'E:57P05', 'while nothing was asked');
      await until('it is gone', () => b.proxy.stats().connections === 0);
    });

    await t.test('state changes in the order of replies, not of reads', async (t) => {
      await empty();
      const client = await RawClient.login(b.port);
      // What is parsed behind DEALLOCATE ALL is there when it is prepared again.
      client.send(P('s', 'SELECT 1'), S, Q('DEALLOCATE ALL'), P('s', INSERT, [23]), S);
      await client.ready(3);
      await b.rule(NEW);
      client.send(B('', 's', ['1']), E(), S);
      t.equal(brief(await client.ready()), '2 C:INSERT 0 1 Z:I');
      t.same(await b.direct('SELECT * FROM users'), [[1, 'x', 'y']]);
      // And a DEALLOCATE ALL that was dropped has deallocated nothing.
      client.send(P('', 'nonsense'), Q('DEALLOCATE ALL'), S);
      await client.ready();
      await b.rule(OTHER);
      client.send(B('', 's', ['2']), E(), S);
      t.equal(brief(await client.ready()), '2 C:INSERT 0 1 Z:I');
      t.same(await b.direct('SELECT a FROM users WHERE id = 2'), [['other']]);
      client.destroy();
    });

    await t.test('the kinds of DISCARD differ: nothing is emulated', async (t) => {
      await empty();
      const client = await RawClient.login(b.port);
      let id = 0;
      for (const kind of ['PLANS', 'SEQUENCES', 'TEMP']) {
        client.send(P(kind, INSERT, [23]), S, Q(`DISCARD ${kind}`));
        await client.ready(2);
        await b.rule(id % 2 ? OTHER : NEW);
        client.send(B('', kind, [String(++id)]), E(), S);
        t.equal(brief(await client.ready()), '2 C:INSERT 0 1 Z:I', kind);
      }
      t.same(await b.direct('SELECT a FROM users ORDER BY id'), [['x'], ['other'], ['x']]);
      client.destroy();
    });

    await t.test('notices, parameters and notifications come anywhere, any number', async (t) => {
      await empty();
      const client = await RawClient.login(b.port);
      await b.rule(NEW);
      const loud = `DO $$BEGIN FOR i IN 1..500 LOOP RAISE NOTICE '%', i; END LOOP; END$$`;
      client.send(P('s', INSERT, [23]), S, Q('LISTEN here'));
      await client.ready(2);
      await b.rule(OTHER);
      const bytes = [
        ...[P('', loud), B('', ''), E(), P('', "SET TimeZone = 'Asia/Tokyo'"), B('', ''), E()],
        ...[B('', 's', ['1']), E(), S, Q('NOTIFY here'), Q(`${loud}; SELECT 1`), H],
      ];
      client.send(...bytes);
      await b.direct('NOTIFY here');
      const messages = await client.ready(3);
      t.equal(messages.filter((m) => m.type === 'N').length, 1000);
      t.equal(messages.filter((m) => m.type === 'S').length, 1);
      t.equal(
        brief(messages.filter((m) => m.type !== 'A')),
        '1 2 C:DO 1 2 C:SET 2 C:INSERT 0 1 Z:I C:NOTIFY Z:I C:DO T D:1 C:SELECT 1 Z:I',
      );
      const heard = () => [...messages, ...client.messages].filter((m) => m.type === 'A').length;
      await client.wait(() => heard() === 2);
      client.destroy();
    });

    await t.test('the counters that must stay 0 are exported and are 0', async (t) => {
      const text = await b.metrics.registry.metrics();
      t.match(text, /^pgtandem_out_of_sync_total 0$/m);
      t.match(text, /^# TYPE pgtandem_errors_total counter$/m);
      t.notMatch(text, /^pgtandem_errors_total\{.*\} [1-9]/m);
      t.same(b.errors, []);
    });
  });
}
