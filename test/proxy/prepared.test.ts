import t from 'tap';
import { prepared } from './prepared.js';
import { B, brief, C, D, E, H, P, Q, S } from './wire.js';

t.setTimeout(300_000);

const STAR = 'SELECT * FROM users';
const REPREPARED = 'pgtandem_reprepared_total';
const REPLAYED = 'pgtandem_replayed_total';
const TOLD = 'pgtandem_result_type_errors_total';

/** The names in a RowDescription. */
function columns(body: Buffer): string[] {
  const names: string[] = [];
  let pos = 2;
  for (let i = body.readUInt16BE(0); i > 0; i--) {
    const nul = body.indexOf(0, pos);
    names.push(body.toString('utf8', pos, nul));
    pos = nul + 19;
  }
  return names;
}

const halves = (b: Buffer) => [b.subarray(0, b.length >> 1), b.subarray(b.length >> 1)];

/** Alternately adds and drops a column, or changes a type: each changes the result of STAR. */
const CHANGES = [
  ['ALTER TABLE users ADD COLUMN b int DEFAULT 7', '1|x|7', 'id a b'],
  ['ALTER TABLE users ALTER COLUMN id TYPE text', '1|x|7', 'id a b'],
  ['ALTER TABLE users DROP COLUMN b', '1|x', 'id a'],
] as const;

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

  t.test(`PostgreSQL ${major}: names come and go in the order of the answers`, async (t) => {
    const b = await prepared(t, major);
    const client = await b.client();
    const alter = async (what: string) => {
      client.send(Q(`ALTER TABLE users ${what}`));
      await client.ready();
    };
    client.send(
      P('s', STAR),
      S,
      Q(`PREPARE s AS SELECT 1`),
      Q(`PREPARE q AS ${STAR}`),
      P('q', 'x'),
    );
    client.send(S);
    t.equal(brief(await client.ready(4)), '1 Z:I E:42P05 Z:I C:PREPARE Z:I E:42601 Z:I');
    client.send(P('q', 'SELECT 1'), S, Q('BEGIN'), Q('PREPARE s AS SELECT 1'), Q('ROLLBACK'));
    t.equal(brief(await client.ready(4)), 'E:42P05 Z:I C:BEGIN Z:T E:42P05 Z:E C:ROLLBACK Z:I');
    await alter('ADD COLUMN b int');
    client.send(Q('EXECUTE q'), B('', 's'), E(), S);
    t.equal(
      brief(await client.ready(2)),
      'T D:1|x|NULL C:SELECT 1 Z:I 2 D:1|x|NULL C:SELECT 1 Z:I',
    );

    client.send(Q('DEALLOCATE PREPARE q'), Q("PREPARE q AS SELECT 'new', * FROM users"));
    await client.ready(2);
    await alter('DROP COLUMN b');
    client.send(Q('EXECUTE q'), Q('DEALLOCATE s'), B('', 's'), E(), S, B('', 'q'), E(), S);
    t.equal(
      brief(await client.ready(4)),
      'T D:new|1|x C:SELECT 1 Z:I C:DEALLOCATE Z:I E:26000 Z:I 2 D:new|1|x C:SELECT 1 Z:I',
    );
    // Not read: which name was meant is not known, and an old text may not come back.
    client.send(P('s', STAR), S, Q("DEALLOCATE s; PREPARE s AS SELECT 'another', * FROM users"));
    await client.ready(2);
    client.send(B('', 's'), E(), S);
    t.equal(brief(await client.ready()), '2 D:another|1|x C:SELECT 1 Z:I');
    await alter('ADD COLUMN b int');
    client.send(B('', 's'), E(), S);
    t.match(brief(await client.ready()), /E:0A000 Z:I|another/, 'never the one from before');
    client.send(
      Q('DEALLOCATE ALL'),
      P('s', STAR),
      B('', 's'),
      E(),
      S,
      B('', 'q'),
      S,
      Q('EXECUTE q'),
    );
    t.equal(
      brief(await client.ready(4)),
      'C:DEALLOCATE ALL Z:I 1 2 D:1|x|NULL C:SELECT 1 Z:I E:26000 Z:I E:26000 Z:I',
    );
    await alter('DROP COLUMN b');
    client.send(Q('DISCARD ALL'), Q(`PREPARE q AS ${STAR}`), Q('EXECUTE q'), B('', 's'), E(), S);
    t.equal(
      brief(await client.ready(4)),
      'C:DISCARD ALL Z:I C:PREPARE Z:I T D:1|x C:SELECT 1 Z:I E:26000 Z:I',
    );
    await alter('ADD COLUMN b int');
    client.send(Q('DISCARD PLANS'), Q('EXECUTE q'));
    t.equal(brief(await client.ready(2)), 'C:DISCARD PLANS Z:I T D:1|x|NULL C:SELECT 1 Z:I');
    // All of it in the extended protocol.
    for (const text of ['DEALLOCATE q', `PREPARE q AS ${STAR}`, 'EXECUTE q']) {
      client.send(P('', text), B('', ''), E(), S);
    }
    t.equal(
      brief(await client.ready(3)),
      '1 2 C:DEALLOCATE Z:I 1 2 C:PREPARE Z:I 1 2 D:1|x|NULL C:SELECT 1 Z:I',
    );
    client.send(P('run', 'EXECUTE q'), S);
    await client.ready();
    await alter('DROP COLUMN b');
    client.send(B('', 'run'), D('P'), E(), S);
    const run = await client.ready();
    t.equal(brief(run), '2 T D:1|x C:SELECT 1 Z:I');
    t.same(columns(run[1]!.body), ['id', 'a']);
    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
  });

  t.test(`PostgreSQL ${major}: an error in any place of a pipeline`, async (t) => {
    const b = await prepared(t, major);
    const client = await b.client();
    const FAIL = [P('', 'SELECT 1/0'), B('', ''), E()];
    const parts = [
      [B('', 's'), E()],
      [P('t', STAR), B('', 't'), E(), C('S', 't')],
      [B('', 'q'), D('P'), E()],
      [P('', 'INSERT INTO users (a) VALUES (NULL)'), B('', ''), E()],
      [D('S', 's'), B('', 's'), E('', 0)],
    ];
    const rows = ['2 R', '1 2 R 3', '2 T R', '1 2 C:INSERT 0 1', 't T 2 R'];
    client.send(P('s', `${STAR} WHERE id = 1`), S, Q(`PREPARE q AS ${STAR} WHERE id = 1`));
    await client.ready(2);
    for (let place = 0; place <= parts.length; place++) {
      for (const who of ['direct', 'itself'] as const) {
        const added = `c${place}${who}`;
        const ddl = `ALTER TABLE users ADD COLUMN ${added} int`;
        if (who === 'direct') await b.direct(ddl);
        else client.send(Q(ddl));
        if (who === 'itself') await client.ready();
        const batch = [...parts];
        batch.splice(place, 0, FAIL);
        // In front of what fails nothing else comes first, so that a stale one can be sent again.
        const first = place === 0 ? [] : [B('', 's'), E()];
        client.send(...first, ...batch.flat(), S);
        const got = brief(await client.ready()).replace(/D:1\|x[|NUL]* C:SELECT 1/g, 'R');
        const before = rows.slice(0, place).map((r) => r.replaceAll('R', 'R'));
        const expected = [
          ...(place === 0 ? [] : ['2 R']),
          ...before.map((r) => (r.startsWith('1 2 R 3') ? '1 2 D* 3' : r)),
          '1 E:22012 Z:I',
        ].join(' ');
        t.equal(
          got.replace(/1 2 (R|D:\S+ C:SELECT \d) 3/, '1 2 D* 3'),
          expected,
          `${place} ${who}`,
        );
      }
    }
    t.same(await b.direct('SELECT count(*)::int FROM users'), [[1]], 'all rolled back');
    t.equal(await b.metric(TOLD), 0);
  });
}
