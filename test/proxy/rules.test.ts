import t from 'tap';
import { RawClient } from './harness.js';
import { backendPid, cancelWhenWaiting, ruled } from './ruled.js';
import { B, brief, D, E, error, H, P, Q, S, X } from './wire.js';

t.setTimeout(300_000);

const INSERT = 'INSERT INTO users (id, a, b) VALUES (1, /*old*/)';

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: a text is rewritten in both protocols`, async (t) => {
    const b = await ruled(t, major);
    const client = await RawClient.login(b.port);
    await b.rule("'x', 'y'");
    client.send(Q(INSERT), Q(INSERT.replace('(1', '(2')));
    t.equal(brief(await client.ready(2)), 'C:INSERT 0 1 Z:I C:INSERT 0 1 Z:I', 'pipelined');
    client.send(
      P('s', INSERT.replace('(1', '($1')),
      B('', 's', ['3']),
      E(),
      B('', 's', ['4']),
      E(),
      S,
    );
    t.equal(brief(await client.ready()), '1 2 C:INSERT 0 1 2 C:INSERT 0 1 Z:I');
    client.send(P('', `SELECT a /*old*/ FROM users ORDER BY id`), D('S'), S);
    t.equal(brief(await client.ready()), 'E:42704 Z:I');
    t.same(await b.direct('SELECT id, a, b FROM users ORDER BY id'), [
      [1, 'x', 'y'],
      [2, 'x', 'y'],
      [3, 'x', 'y'],
      [4, 'x', 'y'],
    ]);
    t.equal(await b.metric('pgtandem_statements_total', { outcome: 'rewritten' }), 4);
    t.equal(await b.metric('pgtandem_epoch'), 1);
    client.destroy();
  });

  t.test(`PostgreSQL ${major}: positions are those of the client's text`, async (t) => {
    const b = await ruled(t, major);
    await b.rule("'a much longer text than the marker'");
    const client = await RawClient.login(b.port);
    const text = 'SELECT /*old*/, nonsense FROM users';
    client.send(Q(text), P('', text), S);
    const errors = (await client.ready(2)).filter((m) => m.type === 'E').map(error);
    t.same(
      errors.map((e) => e.position),
      [17, 17],
    );
    const runtime = 'SELECT /*old*/, $1::int, a::int FROM users';
    client.send(P('', runtime), B('', '', ['x']), S);
    t.match(
      brief(await client.ready()),
      /1 E:22P02 Z:I/,
      'an error without a position is left alone',
    );
    const syntax = 'SELECT /*old*/ FROM users WHERE WHERE';
    client.send(Q(syntax));
    t.equal(error((await client.ready())[0]!).position, syntax.lastIndexOf('WHERE') + 1);
    const warned = "SELECT /*old*/, '\\\\' FROM users";
    client.send(Q('SET standard_conforming_strings = off'));
    await client.ready();
    client.send(Q(warned), P('', warned), S);
    const notices = (await client.ready(2)).filter(({ type }) => type === 'N').map(error);
    const warning = { code: '22P06', position: warned.indexOf("'") + 1 };
    t.match(notices, [warning, warning], 'and those of warnings');
    client.destroy();
  });

  t.test(`PostgreSQL ${major}: a refusal is an error like any other`, async (t) => {
    const b = await ruled(t, major);
    await b.rule("'x', 'y'");
    const client = await RawClient.login(b.port);
    const text = '/*refuse*/ DELETE FROM users';
    client.send(Q(text));
    const [refusal] = await client.ready();
    t.match(error(refusal!), { code: '0A000', message: 'refused for users', position: 0 });
    t.match(refusal!.body.toString(), 'Ask again later.');
    client.send(P('', text), B('', ''), D('P'), E(), S, Q('SELECT 1'));
    t.equal(brief(await client.ready(2)), 'E:0A000 Z:I T D:1 C:SELECT 1 Z:I', 'skips to Sync');
    client.send(Q('BEGIN'), Q(text), Q(text), Q('SELECT 2'), Q('ROLLBACK'));
    t.equal(
      brief(await client.ready(5)),
      'C:BEGIN Z:T E:0A000 Z:E E:25P02 Z:E E:25P02 Z:E C:ROLLBACK Z:I',
      'the transaction has failed, and then the server speaks for itself',
    );
    client.send(
      P('', 'INSERT INTO users VALUES (9)'),
      B('', ''),
      E(),
      P('', text),
      B('', ''),
      E(),
      S,
    );
    t.equal(brief(await client.ready()), '1 2 C:INSERT 0 1 E:0A000 Z:I');
    t.same(await b.direct('SELECT count(*)::int FROM users'), [[0]], 'rolled back with its batch');
    t.equal(await b.metric('pgtandem_statements_total', { outcome: 'refused' }), 5);
    client.destroy();
  });

  t.test(
    `PostgreSQL ${major}: a statement prepared before is refused at Bind, and stays`,
    async (t) => {
      const b = await ruled(t, major);
      const client = await RawClient.login(b.port);
      client.send(P('s', '/*refuse*/ DELETE FROM users'), S);
      await client.ready();
      await b.rule('');
      for (let i = 0; i < 2; i++) {
        client.send(B('', 's'), E(), S);
        t.equal(brief(await client.ready()), 'E:0A000 Z:I');
      }
      await b.proxy.apply({ epoch: 2, tables: [] });
      client.send(B('', 's'), E(), S);
      t.equal(brief(await client.ready()), '2 C:DELETE 0 Z:I');
      client.destroy();
    },
  );

  t.test(`PostgreSQL ${major}: names are resolved as the server would`, async (t) => {
    const b = await ruled(t, major);
    await b.direct(
      'CREATE SCHEMA app; CREATE TABLE app.users (id int PRIMARY KEY, a text, b text)',
    );
    await b.rule("'x', 'y'");
    const client = await RawClient.login(b.port);
    const sent = INSERT.replace('(1,', '(((SELECT count(*) FROM users))::int,');
    const run = async (...texts: string[]) => {
      client.send(...texts.map(Q));
      return brief(await client.ready(texts.length))
        .split(/(?<=Z:.) /)
        .at(-1);
    };
    const DONE = 'C:INSERT 0 1 Z:I';
    // Unrewritten, the marker is a comment and the INSERT has too few values.
    const UNREWRITTEN = 'E:42601 Z:I';
    t.equal(await run(sent), DONE);
    t.equal(await run('SET search_path = app', sent), UNREWRITTEN, 'another table');
    t.equal(await run('SET search_path = app, public', sent), UNREWRITTEN);
    t.equal(await run('SET search_path = public, app', sent), DONE, 'pipelined with its SET');
    t.equal(await run('BEGIN', 'SET LOCAL search_path = app', sent), 'E:42601 Z:E');
    t.equal(await run('ROLLBACK', sent), DONE, 'SET LOCAL ends with its transaction');
    t.equal(
      await run('BEGIN', 'CREATE TEMP TABLE users (id int, a text)', sent),
      'E:42601 Z:E',
      'shadowed',
    );
    t.equal(await run('ROLLBACK', sent), DONE, 'rolled back');
    t.equal(
      await run('CREATE TEMP TABLE users AS SELECT 1 AS id', sent),
      'E:42601 Z:I',
      'its tag is SELECT',
    );
    t.equal(await run('DROP TABLE users', sent), DONE);
    t.equal(await run("SELECT set_config('search_path', 'app', false)", sent), UNREWRITTEN);
    t.equal(await run('DISCARD ALL', sent), DONE);
    client.send(P('', 'SET search_path = app'), B('', ''), E(), P('', sent), B('', ''), E(), S);
    t.equal(brief(await client.ready()), '1 2 C:SET E:42601 Z:I', 'within one batch');
    t.equal(await run(sent), DONE, 'which was rolled back');
    client.send(P('t', 'CREATE TEMP TABLE users (id int)'), B('', 't'), E(), S);
    await client.ready();
    t.equal(await run(sent), UNREWRITTEN, 'made by a prepared statement');
    client.destroy();
    const other = await RawClient.login(b.port, { options: '-c search_path=app' });
    other.send(Q(INSERT));
    t.equal(brief(await other.ready()), UNREWRITTEN, 'set at start-up');
    other.destroy();
  });

  t.test(`PostgreSQL ${major}: asking what names mean leaves no trace`, async (t) => {
    const b = await ruled(t, major);
    await b.direct("INSERT INTO users SELECT i, 'a', 'b' FROM generate_series(1, 5) i");
    const client = await RawClient.login(b.port);
    client.send(Q('BEGIN'), P('', 'SELECT id FROM users ORDER BY id'), B('', ''), E('', 2), S);
    await client.ready(2);
    void b.rule('');
    client.send(E('', 2), S);
    t.equal(brief(await client.ready()), 'D:3 D:4 s Z:T', 'the unnamed portal lives');
    client.send(P('n', 'SELECT a FROM users WHERE id = 1'), E('', 2), S);
    t.equal(brief(await client.ready()), '1 D:5 C:SELECT 1 Z:T', 'over our question too');
    client.send(Q('COMMIT'), P('', 'SELECT 7 FROM users LIMIT 1'), S);
    await client.ready(2);
    client.send(Q('SET search_path = public'), P('', 'SELECT 8 FROM users LIMIT 1'), S);
    await client.ready(2);
    client.send(B('', 'n'), E(), B('', ''), E(), S);
    t.equal(brief(await client.ready()), '2 D:a C:SELECT 1 2 D:8 C:SELECT 1 Z:I');
    client.send(Q('BEGIN'), Q('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE'));
    client.send(Q('SELECT count(*) FROM users'), Q('COMMIT'));
    t.match(brief(await client.ready(4)), /C:SET Z:T T D:5 C:SELECT 1 Z:T C:COMMIT Z:I/);
    client.destroy();
  });

  t.test(
    `PostgreSQL ${major}: a question that fails is the answer to the client's message`,
    async (t) => {
      const b = await ruled(t, major);
      await b.rule("'x', 'y'");
      // The server fails the question itself: it may not run even this long.
      for (const [begin, sent, expected] of [
        ['SELECT 1', [Q(INSERT)], 'E:57014 Z:I'],
        ['BEGIN', [Q(INSERT)], 'E:57014 Z:E'],
        ['SELECT 1', [P('', INSERT), B('', ''), E(), S], 'E:57014 Z:I'],
        ['BEGIN', [P('', INSERT), B('', ''), E(), S], 'E:57014 Z:E'],
      ] as const) {
        const client = await RawClient.login(b.port);
        client.send(Q(begin));
        const key = await backendPid(b, client);
        await client.ready();
        await b.direct('BEGIN; LOCK TABLE pg_class IN ACCESS EXCLUSIVE MODE');
        client.send(...sent);
        await cancelWhenWaiting(b, key);
        t.equal(brief(await client.ready()), expected);
        await b.direct('ROLLBACK');
        client.send(Q('ROLLBACK'), Q('SELECT 1'));
        t.match(brief(await client.ready(2)), /C:ROLLBACK Z:I T D:1 C:SELECT 1 Z:I/);
        client.destroy();
      }
      t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
    },
  );

  t.test(`PostgreSQL ${major}: what cannot be looked at is guarded, and counted`, async (t) => {
    const b = await ruled(t, major, { limits: { parseBytes: 1000 } });
    await b.rule("'x', 'y'");
    const client = await RawClient.login(b.port);
    client.send(
      Q(`SELECT 1 -- users ${'x'.repeat(5000)}`),
      P('', `SELECT 2 -- ${'y'.repeat(3000)}`),
      S,
    );
    t.equal(brief(await client.ready(2)), 'T D:1 C:SELECT 1 Z:I 1 Z:I');
    t.equal(await b.metric('pgtandem_guarded_total', { reason: 'too-large' }), 2);
    client.send(Q("SET client_encoding = 'SJIS'"), Q('SELECT count(*) FROM users'));
    await client.ready(2);
    t.equal(await b.metric('pgtandem_guarded_total', { reason: 'encoding' }), 1);
    client.send(Q("SET client_encoding = 'UTF8'"), Q('SELECT count(*) /*guard*/ FROM users'));
    await client.ready(2);
    t.equal(await b.metric('pgtandem_guarded_total', { reason: 'marker' }), 1);
    client.send(Q("SET a.b = ''; PREPARE p AS SELECT 3"), B('', 'p'), E(), S);
    t.equal(brief(await client.ready(2)), 'C:SET C:PREPARE Z:I 2 D:3 C:SELECT 1 Z:I');
    t.equal(await b.metric('pgtandem_guarded_total', { reason: 'unknown-statement' }), 1);
    client.send(
      Q('SELECT 1'),
      Q('BEGIN'),
      Q('SELECT 1/0'),
      Q('ROLLBACK; SELECT count(*) FROM users'),
    );
    t.match(brief(await client.ready(4)), /E:22012 Z:E C:ROLLBACK T D:0 C:SELECT 1 Z:I$/);
    client.send(Q('nul \0 users'), H, X);
    t.match(brief(await client.end()), /E:08P01/);
  });
}
