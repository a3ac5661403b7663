import t from 'tap';
import type { RuleSet } from '../../sql/rules.js';
import { prepared } from './prepared.js';
import { tableRule } from './rewriter.js';
import { B, brief, E, error, P, Q, S } from './wire.js';

t.setTimeout(300_000);

for (const major of [14, 18]) {
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
