/**
 * Statements that were prepared under other rules are prepared again before their next use, and
 * the client sees none of it. See lessons.test.ts for what it must not do within a batch, and for
 * statements that the client has destroyed.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                           | fails                           |
 * | ------------------------------------------------ | ------------------------------- |
 * | frontend: not marked right after preparing again | once, not at each use           |
 * | statements: `isUnsure` always false              | in a pipeline                   |
 * | dialogue: a failed step is taken for done        | a failure leaves nothing behind |
 * | prepare: `lost` is not looked at                 | a failure leaves nothing behind |
 * | statements: only declared types are sent again   | parameter types                 |
 * | use: `beforeParse` lets all pass                 | a name stays taken              |
 * | use: `beforeNames` lets all pass                 | a name stays taken              |
 * | use: `beforeNames` looks at what is in flight not | a name stays taken             |
 * | frontend: `beforeNames` in a simple Query only   | a name stays taken              |
 * | prepare: of one that is missing, too, the server | a name stays taken              |
 * |   says that its transaction has failed           |                                 |
 * | use: no portal is given to `again`               | a name stays taken              |
 */
import t from 'tap';
import { RawClient } from './harness.js';
import { ruled } from './ruled.js';
import { B, brief, C, D, E, H, P, Q, S } from './wire.js';

t.setTimeout(60_000);

// Before the rewriting it selects one value, and after it another.
const TEXT = "SELECT '/*old*/' FROM (VALUES ('users')) v";

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const b = await ruled(t, major);
    const prepared = () => b.metric('pgtandem_reprepared_total');
    /** A session that has prepared `s` (and the unnamed statement) under rules for `one`. */
    const open = async (text = TEXT, types: number[] = []) => {
      await b.rule('one');
      const client = await RawClient.login(b.port);
      t.teardown(() => client.destroy());
      client.send(P('s', text, types), P('', text, types), P('spare', ''), S);
      t.equal(brief(await client.ready()), '1 1 1 Z:I');
      return client;
    };
    const run = (name = 's', portal = '') => [B(portal, name), E(portal)];

    const ONE = 'D:one C:SELECT 1';
    const TWO = 'D:two C:SELECT 1';

    await t.test('once, not at each use, and only when the rules are other ones', async (t) => {
      const client = await open();
      const before = await prepared();
      await b.rule('two');
      for (let i = 0; i < 3; i++) {
        client.send(...run(), S);
        t.equal(brief(await client.ready()), '2 D:two C:SELECT 1 Z:I');
      }
      t.equal((await prepared()) - before, 1);
      client.send(...run('', ''), S, ...run(), S);
      t.equal(brief(await client.ready(2)), '2 D:two C:SELECT 1 Z:I 2 D:two C:SELECT 1 Z:I');
      t.equal((await prepared()) - before, 2, 'the unnamed one too');
      client.destroy();
    });
    await t.test('in a pipeline of batches and within one', async (t) => {
      const client = await open();
      await b.rule('two');
      const other = [P('', 'SELECT 7'), B('', ''), E()];
      client.send(...run(), ...run(), S, ...other, ...run(), D('S', 's'), S, Q('SELECT 8'));
      client.send(...run(), S);
      t.equal(
        brief(await client.ready(4)),
        `2 ${TWO} 2 ${TWO} Z:I 1 2 D:7 C:SELECT 1 2 ${TWO} t T Z:I ` +
          `T D:8 C:SELECT 1 Z:I 2 ${TWO} Z:I`,
      );
      // Parsed anew under the same name, while the old one is being used.
      await b.rule('one');
      client.send(...run(), C('S', 's'), P('s', "SELECT 'new /*old*/ users'"), ...run(), S);
      client.send(...run(), S);
      const FRESH = 'D:new one users C:SELECT 1';
      t.equal(brief(await client.ready(2)), `2 ${ONE} 3 1 2 ${FRESH} Z:I 2 ${FRESH} Z:I`);
      // A Parse that fails in a batch before: the statement from before it is used.
      await b.rule('two');
      client.send(P('s', 'SELECT 1 users'), S, ...run(), S);
      t.equal(brief(await client.ready(2)), 'E:42P05 Z:I 2 D:new two users C:SELECT 1 Z:I');
      client.destroy();
    });

    await t.test(
      'after an error: dropped with its batch, it is done at the next use',
      async (t) => {
        const client = await open();
        await b.rule('two');
        client.send(P('', 'nonsense'), ...run(), S, ...run(), S);
        t.equal(brief(await client.ready(2)), `E:42601 Z:I 2 ${TWO} Z:I`);
        await b.rule('one');
        // The Bind itself fails, after our steps went through.
        client.send(B('', 's', ['too many']), E(), S, ...run(), S);
        t.equal(brief(await client.ready(2)), `E:08P01 Z:I 2 ${ONE} Z:I`);
        await b.rule('two');
        // The error is on its way when the use is read.
        client.send(Q('SELECT 1/0'), ...run(), P('', 'SELECT 1/0'), ...run(), S, ...run(), S);
        t.equal(brief(await client.ready(3)), `E:22012 Z:I 2 ${TWO} 1 2 ${TWO} Z:I 2 ${TWO} Z:I`);
        client.destroy();
      },
    );

    await t.test(
      'in a failed transaction it is refused like any other, and later done',
      async (t) => {
        const client = await open();
        client.send(Q('BEGIN'), Q('SELECT 1/0'));
        await client.ready(2);
        const ruled = b.rule('two');
        client.send(...run(), S, Q('ROLLBACK'), ...run(), S);
        t.equal(brief(await client.ready(3)), `E:25P02 Z:E C:ROLLBACK Z:I 2 ${TWO} Z:I`);
        await ruled;
        await b.rule('one');
        client.send(Q('BEGIN'), Q('SAVEPOINT a'), Q('SELECT 1/0'), ...run(), S, Q('ROLLBACK TO a'));
        client.send(...run(), S, Q('COMMIT'));
        t.equal(
          brief(await client.ready(7)),
          `C:BEGIN Z:T C:SAVEPOINT Z:T E:22012 Z:E E:25P02 Z:E C:ROLLBACK Z:T 2 ${ONE} Z:T C:COMMIT Z:I`,
        );
        client.destroy();
      },
    );

    await t.test('portals of the old statement live on beside it', async (t) => {
      const client = await open("SELECT '/*old*/' || i FROM generate_series(1, 3) i, users");
      await b.direct("INSERT INTO users VALUES (1, 'a', 'b')");
      client.send(Q('BEGIN'), B('old', 's'), E('old', 1), B('', 's'), E('', 1), S);
      t.equal(brief(await client.ready(2)), 'C:BEGIN Z:T 2 D:one1 s 2 D:one1 s Z:T');
      const ruled = b.rule('two');
      client.send(B('new', 's'), E('new', 1), E('old', 1), E('', 1), S);
      t.equal(brief(await client.ready()), '2 D:two1 s D:one2 s D:one2 s Z:T');
      client.send(E('old'), E('new'), H, Q('COMMIT'));
      t.equal(
        brief(await client.ready()),
        'D:one3 C:SELECT 1 D:two2 D:two3 C:SELECT 2 C:COMMIT Z:I',
      );
      await ruled;
      client.destroy();
    });

    await t.test('with the parameter types that the client was told', async (t) => {
      const client = await open('SELECT $1 /*old*/, $2 FROM (VALUES (1)) users', [0, 23]);
      client.send(D('S', 's'), S);
      const [types] = await client.ready();
      await b.rule('::int');
      client.send(D('S', 's'), B('', 's', ['5', '6']), E(), S);
      const messages = await client.ready();
      t.match(brief(messages), /^t T 2 /);
      t.strictSame(messages[0]!.body, types!.body);
      client.destroy();
    });

    await t.test('a failure leaves nothing behind, whatever was deallocated', async (t) => {
      for (const doubtful of [false, true]) {
        const client = await open();
        if (doubtful) client.send(Q('DEALLOCATE spare'));
        else client.send(Q('SELECT 1/0'));
        await client.ready();
        await b.rule("' nonsense '");
        for (let i = 0; i < 2; i++) {
          client.send(...run(), S);
          t.equal(brief(await client.ready()), 'E:42601 Z:I');
        }
        await b.rule('two');
        client.send(...run(), S);
        t.equal(brief(await client.ready()), `2 ${TWO} Z:I`);
        client.send(P('', TEXT), S);
        await client.ready();
        await b.rule("' nonsense '");
        client.send(...run(''), S);
        t.equal(brief(await client.ready()), 'E:42601 Z:I');
        await b.rule('one');
        client.send(...run(''), S);
        t.equal(brief(await client.ready()), `2 ${ONE} Z:I`, 'the unnamed one too');
        client.destroy();
      }
    });

    await t.test("when the rules have gone it is the client's own text again", async (t) => {
      const client = await open();
      await b.proxy.apply({ epoch: 1_000_000, tables: [] });
      client.send(...run(), S);
      t.equal(brief(await client.ready()), '2 D:/*old*/ C:SELECT 1 Z:I', 'the rules have gone');
      client.destroy();
    });

    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
    t.same(b.errors, []);
  });
}

/** A statement whose table is gone, so that it cannot be prepared again: what is said of it then. */
const LOST: Record<string, { talk: Buffer[][]; said: string }> = {
  'Parse of the name': {
    talk: [
      [P('g', 'SELECT 1'), B('', 'g'), E(), S],
      [P('', 'SELECT 2'), B('', ''), E(), S],
    ],
    said: 'E:42P05 Z:I 1 2 D:2 C:SELECT 1 Z:I',
  },
  'Close and Parse': {
    talk: [[C('S', 'g'), P('g', 'SELECT 3'), B('', 'g'), E(), S]],
    said: '3 1 2 D:3 C:SELECT 1 Z:I',
  },
  'Close and PREPARE': {
    talk: [[C('S', 'g'), Q('PREPARE g AS SELECT 3')], [Q('EXECUTE g')]],
    said: '3 C:PREPARE Z:I T D:3 C:SELECT 1 Z:I',
  },
  'a Close that is dropped, and PREPARE': {
    talk: [[P('', 'nonsense'), C('S', 'g'), S], [Q('PREPARE g AS SELECT 3')]],
    said: 'E:42601 Z:I E:42P05 Z:I',
  },
  PREPARE: { talk: [[Q('PREPARE g AS SELECT 1')]], said: 'E:42P05 Z:I' },
  'PREPARE, in the extended protocol': {
    talk: [[P('', 'PREPARE g AS SELECT 1'), B('', ''), E(), S]],
    said: '1 2 E:42P05 Z:I',
  },
  'PREPARE among others': {
    talk: [
      [Q('SELECT 1; PREPARE g AS SELECT 1')],
      [Q("DO $$BEGIN EXECUTE 'PREPARE g AS SELECT 1'; END$$")],
    ],
    said: 'T D:1 C:SELECT 1 E:42P05 Z:I E:42P05 Z:I',
  },
  'PREPARE in a transaction': {
    talk: [[Q('BEGIN'), Q('PREPARE g AS SELECT 1'), Q('PREPARE g AS SELECT 1'), Q('COMMIT')]],
    said: 'C:BEGIN Z:T E:42P05 Z:E E:25P02 Z:E C:ROLLBACK Z:I',
  },
  DEALLOCATE: {
    talk: [[Q('DEALLOCATE g')], [Q('DEALLOCATE g')], [P('g', 'SELECT 1'), S]],
    said: 'C:DEALLOCATE Z:I E:26000 Z:I 1 Z:I',
  },
  'DEALLOCATE, in the extended protocol': {
    talk: [[P('', 'deallocate g'), B('', ''), E(), E(), S], [Q('PREPARE g AS SELECT 1')]],
    said: '1 2 C:DEALLOCATE E:55000 Z:I C:PREPARE Z:I',
  },
  'DEALLOCATE among others': {
    talk: [[Q('DEALLOCATE g; PREPARE g AS SELECT 4; EXECUTE g')], [Q('EXECUTE g')]],
    said: 'C:DEALLOCATE C:PREPARE T D:4 C:SELECT 1 Z:I T D:4 C:SELECT 1 Z:I',
  },
  'DEALLOCATE ALL': {
    talk: [[Q('DEALLOCATE ALL'), Q('PREPARE g AS SELECT 1')]],
    said: 'C:DEALLOCATE ALL Z:I C:PREPARE Z:I',
  },
  'its use, and that of the other one': {
    talk: [[Q('EXECUTE g (1)')], [B('', 'g', ['1']), E(), S], [B('', 'w'), E(), S]],
    said: 'E:42P01 Z:I E:42P01 Z:I E:42P01 Z:I',
  },
  'its Bind to a portal that is there': {
    talk: [
      [Q('BEGIN'), P('', 'SELECT 1'), B('p', ''), B('p', 'g', ['1']), E('p'), S],
      [Q('ROLLBACK'), B('p', 'w'), S],
      [P('', 'SELECT 1'), B('p', ''), B('q', ''), C('P', 'q'), B('q', 'g', ['1']), S],
    ],
    said: 'C:BEGIN Z:T 1 2 E:42P03 Z:E C:ROLLBACK Z:I E:42P01 Z:I 1 2 2 3 E:42P01 Z:I',
  },
  'its Bind to the name of a cursor': {
    talk: [
      [Q('BEGIN; DECLARE p CURSOR FOR SELECT 1')],
      [B('p', 'g', ['1']), E('p'), S, Q('ROLLBACK')],
      [Q('BEGIN; DECLARE p CURSOR FOR SELECT 1; DEALLOCATE g')],
      [B('p', 'g', ['1']), S, Q('ROLLBACK')],
    ],
    said:
      'C:BEGIN C:DECLARE CURSOR Z:T E:42P03 Z:E C:ROLLBACK Z:I ' +
      'C:BEGIN C:DECLARE CURSOR C:DEALLOCATE Z:T E:26000 Z:E C:ROLLBACK Z:I',
  },
  'its use in a failed transaction': {
    talk: [
      [Q('BEGIN'), Q('nonsense')],
      [B('', 'g', ['1']), E(), S],
      [D('S', 'g'), S],
      [D('S', 'w'), S],
      [B('', 'w'), S],
      [D('S', 'w'), S],
      [Q('EXECUTE g (1)')],
      [D('S', 'g'), S],
      [B('', 'g', ['1']), E(), S],
      [Q('ROLLBACK; PREPARE g AS SELECT 1')],
      [B('', 'g', ['1']), E(), S],
    ],
    said:
      'C:BEGIN Z:T E:42601 Z:E E:25P02 Z:E E:25P02 Z:E t n Z:E E:25P02 Z:E t n Z:E ' +
      'E:25P02 Z:E E:25P02 Z:E E:25P02 Z:E C:ROLLBACK E:42P05 Z:I E:42P01 Z:I',
  },
};

t.test('a name stays taken though its statement cannot be prepared again', async (t) => {
  const b = await ruled(t, 18);
  for (const [what, { talk, said }] of Object.entries(LOST)) {
    for (const pipelined of [false, true]) {
      for (const port of [b.cluster.port, b.port]) {
        const client = await RawClient.login(port);
        client.send(Q('DROP TABLE IF EXISTS gone; CREATE TABLE gone (i int)'));
        client.send(P('g', 'SELECT i FROM gone WHERE i > $1'), P('w', 'DELETE FROM gone'), S);
        client.send(Q('DROP TABLE gone'));
        t.match(brief(await client.ready(3)), /1 1 Z:I C:DROP TABLE Z:I$/);
        const uses = [B('', 'g', ['1']), E(), S, B('', 'w'), E(), S];
        client.send(...uses);
        t.equal(brief(await client.ready(2)), 'E:42P01 Z:I E:42P01 Z:I');
        const answers: string[] = [];
        if (pipelined) {
          client.send(...talk.flat());
          const readies = said.match(/Z:/g)!.length;
          answers.push(brief(await client.ready(readies)));
        } else {
          for (const batch of talk) {
            client.send(...batch);
            const readies = batch.filter((message) =>
              'QS'.includes(String.fromCharCode(message[0]!)),
            );
            answers.push(brief(await client.ready(readies.length)));
          }
        }
        const where = port === b.port ? 'through the proxy' : 'directly';
        t.equal(answers.join(' '), said, `${what}, ${where}${pipelined ? ', at once' : ''}`);
        client.destroy();
      }
    }
  }
  t.ok((await b.metric('pgtandem_reprepared_total')) > 0);
  t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
  t.same(b.errors, []);
});
