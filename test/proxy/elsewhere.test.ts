/**
 * A session whose server is not the one where the lease is: nothing of it touches a table under
 * migration, and it ends as soon as it is known where the database is.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                       | fails           |
 * | -------------------------------------------- | --------------- |
 * | gate: `isElsewhere` is not looked at         | it waits        |
 * | realm: nobody is ended by `settle`           | it ends         |
 * | realm: `settle` wakes nobody                 | it goes on      |
 * | session: nobody is told                      | it waits        |
 */
import t from 'tap';
import { RawClient, until } from './harness.js';
import { ruled } from './ruled.js';
import { B, brief, E, P, Q, S } from './wire.js';

t.setTimeout(60_000);

const USE = "SELECT '/*old*/' FROM (VALUES ('users')) v";

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    let strayed = 0;
    const stray = () => void strayed++;
    const b = await ruled(t, major, { more: { stray } });
    const realm = b.proxy.realm(null);
    const upstream = { host: '127.0.0.1', port: b.cluster.port };
    const [started] = await b.direct('SELECT extract(epoch FROM pg_postmaster_start_time())::text');
    await b.rule('one');
    const held = () => b.proxy.stats().held;
    const open = async () => {
      const client = await RawClient.login(b.port);
      t.teardown(() => client.destroy());
      return client;
    };
    const ONE = 'T D:one C:SELECT 1 Z:I';

    realm.settle(upstream, 'another time');
    const simple = await open();
    const extended = await open();
    simple.send(Q(USE));
    extended.send(P('', USE), B('', ''), E(), S);
    await until('it waits', () => held() === 2);
    t.ok(strayed >= 2, 'and is told of');
    const free = await open();
    free.send(Q('SELECT 1'));
    t.equal(brief(await free.ready()), 'T D:1 C:SELECT 1 Z:I', 'what touches nothing does not');
    free.send(Q(USE));
    await until('it waits', () => held() === 3);

    realm.settle(upstream, started![0]!);
    t.equal(brief(await simple.ready()), ONE, 'it goes on when the server is the right one');
    t.equal(brief(await extended.ready()), '1 2 D:one C:SELECT 1 Z:I');
    t.equal(brief(await free.ready()), ONE);
    simple.send(Q(USE));
    t.equal(brief(await simple.ready()), ONE);
    t.equal(held(), 0);

    realm.settle(upstream, 'a third time');
    for (const client of [simple, extended, free]) {
      t.equal(brief(await client.end()), 'E:57P01', 'it ends when that is elsewhere');
      client.destroy();
    }
    const late = await open();
    late.send(Q(USE));
    await until('it waits', () => held() === 1);
    realm.settle(upstream, 'a fourth time');
    t.equal(brief(await late.end()), 'E:57P01');
    t.same(b.errors, []);
  });
}
