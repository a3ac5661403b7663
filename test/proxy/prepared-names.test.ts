import t from 'tap';
import type { RuleSet } from '../../sql/rules.js';
import { columns, prepared, STAR, TOLD } from './prepared.js';
import { tableRule } from './rewriter.js';
import { B, brief, C, D, E, error, P, Q, S } from './wire.js';

for (const major of [14, 18]) {
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

  t.test(`PostgreSQL ${major}: cursors and portals outlive an epoch`, async (t) => {
    const b = await prepared(t, major);
    await b.direct('INSERT INTO users SELECT i, i FROM generate_series(2, 6) i');
    const oid = Number((await b.direct("SELECT 'users'::regclass::oid::int"))[0]![0]);
    const client = await b.client();
    const other = await b.client();
    client.send(P('s', 'SELECT id /*old*/ FROM users ORDER BY id'), S, Q('BEGIN'));
    client.send(Q('DECLARE c CURSOR FOR SELECT id /*old*/ FROM users ORDER BY id'), Q('FETCH 2 c'));
    client.send(B('p', 's'), E('p', 2), S);
    t.match(brief(await client.ready(5)), /T D:1 D:2 C:FETCH 2 Z:T 2 D:1 D:2 s Z:T$/);
    let drained = false;
    const rules: RuleSet = { epoch: 1, tables: [tableRule(oid, 'users', ', 77')] };
    const applied = b.proxy.apply(rules).then(() => {
      drained = true;
    });
    client.send(Q('FETCH 1 c'), E('p', 1), S, B('', 's'), E('', 1), S);
    t.equal(
      brief(await client.ready(3)),
      'T D:3 C:FETCH 1 Z:T D:3 s Z:T 2 D:1|77 s Z:T',
      'what is open goes on as it was; what is bound now is new',
    );
    client.send(Q('DECLARE d CURSOR FOR SELECT id /*old*/ FROM users ORDER BY id'), Q('FETCH d'));
    client.send(E('', 1), E('p', 1), S);
    t.equal(
      brief(await client.ready(3)),
      'C:DECLARE CURSOR Z:T T D:1|77 C:FETCH 1 Z:T D:2|77 s D:4 s Z:T'
        .replace('D:2|77 s ', 'E:34000')
        .replace('E:34000D:4 s Z:T', 'E:34000 Z:E'),
    );
    t.equal(drained, false, 'open portals are waited for');
    client.send(Q('ROLLBACK'));
    await client.ready();
    await applied;
    // The same for SQL-level statements: prepared before the rules, and under them.
    other.send(Q('PREPARE q (int) AS SELECT id /*old*/ FROM users WHERE id = $1'));
    other.send(Q('EXECUTE q(2)'), Q('BEGIN'), Q('EXECUTE q(3)'), Q('COMMIT'));
    t.equal(
      brief(await other.ready(5)),
      'C:PREPARE Z:I T D:2|77 C:SELECT 1 Z:I C:BEGIN Z:T T D:3|77 C:SELECT 1 Z:T C:COMMIT Z:I',
    );
    await b.proxy.apply({ epoch: 2, tables: [] });
    other.send(Q('EXECUTE q(2)'), B('', 'q', ['3']), E(), S);
    t.equal(brief(await other.ready(2)), 'T D:2 C:SELECT 1 Z:I 2 D:3 C:SELECT 1 Z:I');
    void b.proxy.apply({
      epoch: 3,
      tables: [tableRule(oid, 'users', ', nonsense', { version: 9 })],
    });
    other.send(Q('EXECUTE q(2)'), Q('SELECT 1'), Q('BEGIN'), Q('EXECUTE q(2)'), Q('ROLLBACK'));
    const failed = await other.ready(5);
    t.equal(
      brief(failed),
      'E:42703 Z:I T D:1 C:SELECT 1 Z:I C:BEGIN Z:T E:42703 Z:E C:ROLLBACK Z:I',
      'what fails under the hood is the answer to the Query, and nothing else is',
    );
    t.equal(error(failed[0]!).position, 'PREPARE q (int) AS SELECT id '.length + 1);
    await b.proxy.apply({ epoch: 4, tables: [tableRule(oid, 'users', '', { version: 10 })] });
    other.send(Q('EXECUTE q(2)'), Q('DEALLOCATE q'), Q('EXECUTE q(2)'));
    t.equal(brief(await other.ready(3)), 'T D:2 C:SELECT 1 Z:I C:DEALLOCATE Z:I E:26000 Z:I');
    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
  });
}
