import t from 'tap';
import {
  CHANGES,
  columns,
  halves,
  prepared,
  REPLAYED,
  REPREPARED,
  STAR,
  TOLD,
} from './prepared.js';
import { B, brief, C, D, E, H, P, Q, S } from './wire.js';

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: who alters is never told of a cached plan`, async (t) => {
    for (const who of ['itself', 'another session', 'a direct connection'] as const) {
      const b = await prepared(t, major);
      const client = await b.client();
      const other = await b.client();
      client.send(P('s', STAR), S, Q(`PREPARE q AS ${STAR}`), Q(`PREPARE "Q 2" (text) AS ${STAR}`));
      await client.ready(3);
      client.send(B('', 's'), E(), S, Q('EXECUTE q'));
      t.equal(brief(await client.ready(2)), '2 D:1|x C:SELECT 1 Z:I T D:1|x C:SELECT 1 Z:I');
      for (const [change, row, names] of CHANGES) {
        if (who === 'a direct connection') await b.direct(change);
        else {
          const altering = who === 'itself' ? client : other;
          altering.send(Q(change));
          t.equal(brief(await altering.ready()), 'C:ALTER TABLE Z:I');
        }
        client.send(B('', 's'), D('P'), E(), S);
        const bound = await client.ready();
        t.equal(brief(bound), `2 T D:${row} C:SELECT 1 Z:I`, `${who}: ${change}`);
        t.equal(columns(bound[1]!.body).join(' '), names, 'described as it is now');
        client.send(Q(' /* x */ execute q;'));
        t.equal(brief(await client.ready()), `T D:${row} C:SELECT 1 Z:I`, 'by SQL');
        client.send(D('S', 's'), S);
        const described = await client.ready();
        t.equal(brief(described), 't T Z:I');
        t.equal(columns(described[1]!.body).join(' '), names);
        client.send(Q(`EXPLAIN (COSTS OFF) EXECUTE "Q 2"('x')`));
        t.match(brief(await client.ready()), /^T D:Seq Scan on users C:EXPLAIN Z:I$/);
        client.send(B('', 'q'), E(), S);
        t.equal(brief(await client.ready()), `2 D:${row} C:SELECT 1 Z:I`, 'a Bind of an SQL one');
        client.send(Q('EXECUTE s'));
        t.equal(brief(await client.ready()), `T D:${row} C:SELECT 1 Z:I`, 'EXECUTE of a named one');
      }
      t.equal(await b.metric(TOLD), 0);
      // Who sees it first sends again; then all are known to be old.
      t.equal(await b.metric(REPLAYED), who === 'a direct connection' ? 3 : 0);
      t.equal(await b.metric(REPREPARED), 3 * 3);
    }
  });

  t.test(`PostgreSQL ${major}: whatever the first message is, it is sent again`, async (t) => {
    const b = await prepared(t, major);
    const client = await b.client();
    client.send(P('s', STAR), P('u', 'UPDATE users SET a = $1'), P('', STAR), S);
    await client.ready();
    let column = 0;
    const alter = async () => {
      // All are known to be right before.
      client.send(B('', ''), B('', 's'), S);
      t.equal(brief(await client.ready()), '2 2 Z:I');
      await b.direct(`ALTER TABLE users ADD COLUMN c${++column} int`);
    };
    const row = () => `D:1|x${'|NULL'.repeat(column)}`;
    await alter();
    client.send(D('S', 's'), B('', 's'), E(), S);
    t.equal(brief(await client.ready()), `t T 2 ${row()} C:SELECT 1 Z:I`, 'Describe');
    await alter();
    client.send(B('', ''), E(), S);
    t.equal(brief(await client.ready()), `2 ${row()} C:SELECT 1 Z:I`, 'the unnamed statement');
    await alter();
    // The error is there before the client has sent the rest.
    client.send(B('', 's'), H);
    await client.wait(() => client.messages.length > 0);
    t.equal(client.messages[0]!.type, '2', 'a part of a batch');
    client.send(E());
    client.send(S);
    t.equal(brief(await client.ready()), `2 ${row()} C:SELECT 1 Z:I`);
    await alter();
    for (const piece of [B('', 's'), D('P'), E(), S].flatMap(halves)) {
      client.send(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.equal(brief(await client.ready()), `2 T ${row()} C:SELECT 1 Z:I`, 'in pieces');
    await alter();
    client.send(B('', 's'), E(), B('', 'u', ['y']), E(), B('', 's'), E(), S);
    t.equal(
      brief(await client.ready()),
      `2 ${row()} C:SELECT 1 2 C:UPDATE 1 2 ${row().replace('x', 'y')} C:SELECT 1 Z:I`,
      'a batch that writes is run once',
    );
    t.equal(await b.metric(REPLAYED), 5);
    t.equal(await b.metric(TOLD), 0);
    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
    t.equal(await b.metric('pgtandem_errors_total'), 0);
  });

  t.test(`PostgreSQL ${major}: what cannot be mended is told, once, and counted`, async (t) => {
    const b = await prepared(t, major);
    const client = await b.client();
    const other = await b.client();
    for (const c of [client, other]) {
      c.send(P('s', STAR), P('i', "INSERT INTO users VALUES (2, 'z')"), S);
      await c.ready();
    }
    await b.direct('ALTER TABLE users ADD COLUMN b int');
    client.send(Q('BEGIN'));
    await client.ready();
    client.send(B('', 's'), E(), S, Q('ROLLBACK'));
    t.equal(brief(await client.ready(2)), 'E:0A000 Z:E C:ROLLBACK Z:I', 'in a transaction');
    client.send(Q('BEGIN'), B('', 's'), E(), S, Q('ROLLBACK'));
    t.equal(brief(await client.ready(3)), 'C:BEGIN Z:T 2 D:1|x|NULL C:SELECT 1 Z:T C:ROLLBACK Z:I');
    other.send(Q('BEGIN'), B('', 's'), E(), S, Q('ROLLBACK'));
    t.match(brief(await other.ready(3)), /2 D:1\|x\|NULL C:SELECT 1 Z:T/, 'others are warned');
    t.equal(await b.metric(TOLD), 1);
    await b.direct('ALTER TABLE users ADD COLUMN c int');
    client.send(B('', 'i'), E(), B('', 's'), E(), S);
    t.equal(brief(await client.ready()), '2 C:INSERT 0 1 E:0A000 Z:I', 'behind something else');
    t.same(await b.direct('SELECT count(*)::int FROM users'), [[1]], 'as a whole');
    client.send(B('', 's'), S);
    await client.ready();
    await b.direct('ALTER TABLE users ADD COLUMN d int');
    client.send(B('', 's'), E(), S, B('', 'i'), E(), S);
    t.equal(
      brief(await client.ready(2)),
      'E:0A000 Z:I 2 C:INSERT 0 1 Z:I',
      'another batch behind it may not be overtaken',
    );
    t.equal(await b.metric(TOLD), 3);
    t.equal(await b.metric(REPLAYED), 0);
  });

  t.test(`PostgreSQL ${major}: within the transaction that alters, and after it`, async (t) => {
    const b = await prepared(t, major);
    const client = await b.client();
    client.send(P('s', STAR), S, Q(`PREPARE q AS ${STAR}`));
    await client.ready(2);
    const ADD = 'ALTER TABLE users ADD COLUMN b int';
    client.send(Q('BEGIN'), Q(ADD), B('', 's'), E(), S, Q('EXECUTE q'), Q('ROLLBACK'));
    client.send(B('', 's'), E(), S, Q('EXECUTE q'));
    t.equal(
      brief(await client.ready(7)),
      'C:BEGIN Z:T C:ALTER TABLE Z:T 2 D:1|x|NULL C:SELECT 1 Z:T T D:1|x|NULL C:SELECT 1 Z:T ' +
        'C:ROLLBACK Z:I 2 D:1|x C:SELECT 1 Z:I T D:1|x C:SELECT 1 Z:I',
      'in one flight, and rolled back',
    );
    client.send(Q('BEGIN'), Q('SAVEPOINT a'), Q(ADD), Q('EXECUTE q'), Q('ROLLBACK TO a'));
    client.send(Q('EXECUTE q'), B('', 's'), E(), S, Q('COMMIT'));
    t.equal(
      brief(await client.ready(8)),
      'C:BEGIN Z:T C:SAVEPOINT Z:T C:ALTER TABLE Z:T T D:1|x|NULL C:SELECT 1 Z:T C:ROLLBACK Z:T ' +
        'T D:1|x C:SELECT 1 Z:T 2 D:1|x C:SELECT 1 Z:T C:COMMIT Z:I',
      'to a savepoint',
    );
    client.send(P('', ADD), B('', ''), E(), B('', 's'), E(), C('S', 'none'), B('', 'q'), E(), S);
    t.equal(
      brief(await client.ready()),
      '1 2 C:ALTER TABLE 2 D:1|x|NULL C:SELECT 1 3 2 D:1|x|NULL C:SELECT 1 Z:I',
      'in one batch',
    );
    const drop = 'ALTER TABLE users DROP COLUMN b';
    client.send(P('', drop), B('', ''), E(), B('', 's'), E(), P('', 'SELECT 1/0'), B('', ''), E());
    client.send(B('', 'q'), S, B('', 's'), E(), S, B('', 'q'), E(), S);
    t.equal(
      brief(await client.ready(3)),
      '1 2 C:ALTER TABLE 2 D:1|x C:SELECT 1 1 E:22012 Z:I ' +
        '2 D:1|x|NULL C:SELECT 1 Z:I 2 D:1|x|NULL C:SELECT 1 Z:I',
      'which fails at its end',
    );
    client.send(P('alter', drop), S);
    client.send(B('', 'alter'), E(), S, B('', 's'), E(), S);
    t.equal(brief(await client.ready(3)), '1 Z:I 2 C:ALTER TABLE Z:I 2 D:1|x C:SELECT 1 Z:I');
    client.send(Q('CREATE TEMP TABLE users AS SELECT 5 AS z'), B('', 's'), E(), S);
    t.match(brief(await client.ready(2)), /C:SELECT 1 Z:I 2 D:5 C:SELECT 1 Z:I/, 'shadowed');
    client.send(Q('DROP TABLE users'), B('', 's'), E(), S, Q('EXECUTE q'));
    t.match(brief(await client.ready(3)), /Z:I 2 D:1\|x C:SELECT 1 Z:I T D:1\|x C:SELECT 1 Z:I/);
    t.equal(await b.metric(TOLD), 0);
    t.equal(await b.metric(REPLAYED), 0);
  });

  t.test(
    `PostgreSQL ${major}: views, types, functions, search_path, and a table anew`,
    async (t) => {
      const b = await prepared(t, major);
      await b.direct(`CREATE VIEW v AS SELECT id FROM users; CREATE TYPE pair AS (x int);
      CREATE FUNCTION f() RETURNS SETOF pair LANGUAGE sql AS 'SELECT 1';
      CREATE SCHEMA app; CREATE TABLE app.users (z int); INSERT INTO app.users VALUES (9)`);
      const client = await b.client();
      const other = await b.client();
      client.send(P('v', 'SELECT * FROM v'), P('f', 'SELECT * FROM f()'), P('s', STAR), S);
      await client.ready();
      const run = async (name: string) => {
        client.send(Q('BEGIN'), B('', name), E(), S, Q('COMMIT'));
        return brief(await client.ready(3)).replace(/^C:BEGIN Z:T | C:(COMMIT|ROLLBACK) Z:I$/g, '');
      };
      const by = async (text: string) => {
        other.send(Q(text));
        t.notMatch(brief(await other.ready()), /E:/);
      };
      await by('CREATE OR REPLACE VIEW v AS SELECT id, a FROM users');
      t.equal(await run('v'), '2 D:1|x C:SELECT 1 Z:T');
      await by('ALTER VIEW v RENAME COLUMN a TO b');
      t.equal(await run('v'), '2 D:1|x C:SELECT 1 Z:T');
      await by(
        'DROP FUNCTION f; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT $1 $$'.replace(
          '$1',
          "'g'",
        ),
      );
      t.equal(await run('f'), '2 D:g C:SELECT 1 Z:T');
      await by('DO $$ BEGIN ALTER TABLE users ADD COLUMN n int; END $$');
      t.equal(await run('s'), '2 D:1|x|NULL C:SELECT 1 Z:T');
      await by('DROP VIEW v; DROP TABLE users');
      t.equal(await run('s'), 'E:42P01 Z:E');
      await by('CREATE TABLE users (n int); INSERT INTO users VALUES (3)');
      t.equal(await run('s'), '2 D:3 C:SELECT 1 Z:T');
      client.send(Q('SET search_path = app'));
      await client.ready();
      if (major >= 18) t.equal(await run('s'), '2 D:9 C:SELECT 1 Z:T', 'reported');
      client.send(B('', 's'), E(), S);
      t.equal(brief(await client.ready()), '2 D:9 C:SELECT 1 Z:I', 'or found out');
      t.equal(await b.metric(TOLD), 0);
    },
  );
}
