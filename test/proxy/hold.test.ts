/**
 * Statements held, drains, sessions ended: on real servers, with rules that understand markers.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                             | fails                           |
 * | -------------------------------------------------- | ------------------------------- |
 * | gate: held tables are not looked at                | held while (waits for ever)     |
 * | session: new rules do not resume what is held      | held while (waits for ever)     |
 * | session: the client is not paused behind a backlog | the backlog is bounded          |
 * | session: a client that has left stays held         | a client that leaves            |
 * | touches: `goesOn` always false                     | bound to go on (waits for ever) |
 * | gate: the fence is not looked at                   | a fence (waits for ever)        |
 * | touches: `touching` always true, or always false   | closeTouching                   |
 * | session: what runs is not cancelled                | closeTouching (waits for ever)  |
 * | drain: a watch is over at once                     | a drain resolves when           |
 * | drain: portals are not looked at                   | a drain waits for portals       |
 */
import t from 'tap';
import { RawClient, until } from './harness.js';
import { ruled } from './ruled.js';
import { B, brief, copyData, E, error, H, P, Q, S } from './wire.js';

t.setTimeout(120_000);

const INSERT = "INSERT INTO users (id, a, b) VALUES ($1, 'a', 'b')";
const insert = (id: number) => Q(INSERT.replace('$1', String(id)));

/** Whether a promise has been resolved by now. */
function watched(promise: Promise<void>): { resolved: boolean; promise: Promise<void> } {
  const state = { resolved: false, promise };
  state.promise = promise.then(() => {
    state.resolved = true;
  });
  return state;
}

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const b = await ruled(t, major);
    // Only the holding changes: the version stays.
    const hold = (held = true) => b.rule('', { held, version: 1 });
    const heldNow = (n: number) =>
      until(`${n} held`, async () => {
        const { held } = b.proxy.stats();
        return held === n && (await b.metric('pgtandem_held_statements')) === n;
      });
    const seen = (what: string, condition: string, count: number) =>
      until(what, async () => {
        const rows = await b.direct(
          `SELECT count(*)::int FROM pg_stat_activity WHERE ${condition}`,
        );
        return Number(rows[0]![0]) === count;
      });
    const waiting = (count: number) =>
      seen('they wait for the lock', "wait_event_type = 'Lock'", count);
    const count = async () => Number((await b.direct('SELECT count(*)::int FROM users'))[0]![0]);
    const open = async (...parameters: Record<string, string>[]) => {
      const client = await RawClient.login(b.port, parameters[0]);
      t.teardown(() => client.destroy());
      return client;
    };

    await t.test('a statement is held while the rules hold its table, in order', async (t) => {
      await hold(false);
      const [simple, extended, prepared, free] = await Promise.all([
        open(),
        open(),
        open(),
        open(),
      ]);
      prepared.send(P('s', INSERT, [23]), S);
      await prepared.ready();
      await hold();
      simple.send(Q('SELECT 1'), insert(1), Q('SELECT 2'));
      extended.send(P('', INSERT, [23]), B('', '', ['2']), E(), S, Q('SELECT 3'));
      prepared.send(B('', 's', ['3']), E(), S);
      await heldNow(3);
      t.equal(brief(await simple.ready()), 'T D:1 C:SELECT 1 Z:I', 'what came before is answered');
      free.send(Q('SELECT 4'));
      t.equal(brief(await free.ready()), 'T D:4 C:SELECT 1 Z:I', 'other statements go');
      free.destroy();
      t.equal(await count(), 0);
      t.equal(simple.messages.length, 0, 'nothing overtakes what is held');
      // Rules that hold it still let nothing through.
      await hold();
      await heldNow(3);
      const before = await b.metric('pgtandem_hold_seconds');
      await hold(false);
      t.equal(brief(await simple.ready(2)), 'C:INSERT 0 1 Z:I T D:2 C:SELECT 1 Z:I');
      t.equal(brief(await extended.ready(2)), '1 2 C:INSERT 0 1 Z:I T D:3 C:SELECT 1 Z:I');
      t.equal(brief(await prepared.ready()), '2 C:INSERT 0 1 Z:I');
      t.equal(await count(), 3);
      t.equal(b.proxy.stats().held, 0);
      t.equal((await b.metric('pgtandem_hold_seconds')) - before, 3);
      t.ok(b.proxy.stats().longestHoldMs > 0);
      for (const client of [simple, extended, prepared]) client.destroy();
    });

    await t.test('a held statement sees the rules that let it go', async (t) => {
      await b.direct('TRUNCATE users');
      await hold();
      const client = await open();
      client.send(Q('INSERT INTO users (id, a, b) VALUES (1, /*old*/)'));
      client.send(P('', 'INSERT INTO users (id, a, b) VALUES (2, /*old*/)'), B('', ''), E(), S);
      await heldNow(1);
      await b.rule("'x', 'y'");
      t.equal(brief(await client.ready(2)), 'C:INSERT 0 1 Z:I 1 2 C:INSERT 0 1 Z:I');
      t.same(await b.direct('SELECT DISTINCT a, b FROM users'), [['x', 'y']]);
      client.destroy();
    });

    await t.test('the backlog behind a held statement is bounded, and all answered', async (t) => {
      await b.direct('TRUNCATE users');
      await hold();
      const client = await open();
      client.send(insert(1));
      await heldNow(1);
      const text = `SELECT 5 -- ${'z'.repeat(100_000)}`;
      const n = 500;
      for (let i = 0; i < n; i++) client.send(Q(text));
      const sent = client.socket.bytesWritten;
      let left = -1;
      // Until the kernel takes no more: what it holds itself is a few megabytes.
      await until('the client is blocked', async () => {
        const before = left;
        left = client.socket.writableLength;
        if (left !== before) await new Promise((resolve) => setTimeout(resolve, 100));
        return left === before;
      });
      const taken = sent - left;
      t.ok(taken < 20e6, `${Math.round(taken / 1e6)} of ${Math.round(sent / 1e6)} MB were taken`);
      await hold(false);
      const messages = await client.ready(n + 1);
      t.equal(messages.filter((m) => m.type === 'D').length, n);
      client.destroy();
    });

    await t.test('a client that leaves while it is held has said nothing', async (t) => {
      await b.direct('TRUNCATE users');
      await until('none is left', () => b.proxy.stats().connections === 0);
      await hold();
      const ways: ((client: RawClient) => void)[] = [
        (client) => client.destroy(),
        (client) => client.socket.resetAndDestroy(),
        (client) => client.socket.end(),
      ];
      for (const leave of ways) {
        const client = await open();
        client.send(insert(1));
        await heldNow(1);
        leave(client);
        await heldNow(0);
        await until('its session is gone', () => b.proxy.stats().connections === 0);
      }
      const early = await open();
      early.send(insert(2));
      early.socket.end();
      await until('half-closed before it is held', () => b.proxy.stats().connections === 0);
      await hold(false);
      t.equal(await count(), 0);
    });

    await t.test('a session that is bound to go on goes on; another waits', async (t) => {
      await b.direct('TRUNCATE users');
      await hold(false);
      const [touched, untouched, batch] = await Promise.all([open(), open(), open()]);
      touched.send(Q('BEGIN'), insert(1));
      untouched.send(Q('BEGIN'), Q('SELECT 1'));
      await Promise.all([touched.ready(2), untouched.ready(2)]);
      batch.send(P('', INSERT, [23]), B('', '', ['2']), E(), H);
      await batch.wait(() => batch.messages.some((m) => m.type === 'C'));
      const drain = watched(hold());
      await drain.promise;
      t.pass('the drain does not wait for those that go on');
      touched.send(insert(3), P('s', INSERT, [23]), B('', 's', ['4']), E(), S);
      t.equal(brief(await touched.ready(2)), 'C:INSERT 0 1 Z:T 1 2 C:INSERT 0 1 Z:T');
      batch.send(B('', '', ['5']), E(), S);
      t.match(brief(await batch.ready()), /2 C:INSERT 0 1 2 C:INSERT 0 1 Z:I$/);
      untouched.send(insert(6));
      await heldNow(1);
      touched.send(Q('COMMIT'), insert(7));
      t.equal(brief(await touched.ready()), 'C:COMMIT Z:I');
      await heldNow(2);
      t.equal(await count(), 5);
      await hold(false);
      t.equal(brief(await touched.ready()), 'C:INSERT 0 1 Z:I');
      t.equal(brief(await untouched.ready()), 'C:INSERT 0 1 Z:T');
      for (const client of [touched, untouched, batch]) client.destroy();
    });

    await t.test('a fence holds those in a transaction too, and is taken away', async (t) => {
      await b.direct('TRUNCATE users');
      await b.rule('');
      const client = await open();
      client.send(Q('BEGIN'), insert(1));
      await client.ready(2);
      b.proxy.fence(true);
      client.send(Q('SELECT 1'), insert(2));
      t.equal(brief(await client.ready()), 'T D:1 C:SELECT 1 Z:T');
      await heldNow(1);
      b.proxy.fence(false);
      client.send(Q('COMMIT'));
      t.equal(brief(await client.ready(2)), 'C:INSERT 0 1 Z:T C:COMMIT Z:I');
      client.destroy();
    });

    await t.test('closeTouching ends who touches, who is held, and nobody else', async (t) => {
      await b.direct('TRUNCATE users');
      await hold(false);
      const [inside, running, other, held] = await Promise.all([open(), open(), open(), open()]);
      inside.send(Q('BEGIN'), insert(1));
      other.send(Q('BEGIN'), Q('SELECT 1'));
      await Promise.all([inside.ready(2), other.ready(2)]);
      await hold();
      held.send(insert(3));
      await heldNow(1);
      const own = await open();
      // In flight since before the hold, in a transaction of its own.
      running.send(Q('BEGIN'));
      await running.ready();
      await hold(false);
      held.send(Q('SELECT 9'));
      await held.ready(2);
      running.send(Q("SELECT pg_sleep(100) FROM (VALUES ('users')) v"));
      await until('it runs', async () => {
        const rows = await b.direct("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        return rows.length === 1;
      });
      b.proxy.fence(true);
      held.send(insert(4));
      await heldNow(1);
      b.proxy.closeTouching('because of the test');
      for (const client of [inside, running, held]) {
        const messages = await client.end();
        t.match(error(messages[0]!), { code: '57P01', message: 'because of the test' });
        t.equal(messages.length, 1);
      }
      await until('it was cancelled', async () => {
        const rows = await b.direct("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        return rows.length === 0;
      });
      b.proxy.fence(false);
      other.send(Q('COMMIT'));
      own.send(Q('SELECT 1'));
      t.equal(brief(await other.ready()), 'C:COMMIT Z:I');
      t.match(brief(await own.ready()), /Z:I$/);
      t.same(await b.direct('SELECT id FROM users'), [[3]], 'the transaction was rolled back');
      t.equal(b.proxy.stats().held, 0);
      for (const client of [other, own]) client.destroy();
    });

    await t.test('a drain resolves when all that was sent before is answered', async (t) => {
      await b.direct('TRUNCATE users');
      await b.rule('');
      const [simple, pipelined, copying, idle] = await Promise.all([
        open(),
        open(),
        open(),
        open(),
      ]);
      copying.send(P('', 'COPY users FROM STDIN'), B('', ''), E(), H);
      await copying.wait(() => copying.messages.some((m) => m.type === 'G'));
      const drain = watched(b.rule(''));
      simple.send(Q('SELECT 1'));
      idle.send(Q('SELECT 1'));
      await Promise.all([simple.ready(), idle.ready()]);
      t.equal(drain.resolved, false, 'a COPY is going on');
      copying.send(copyData('1\ta\tb\n'), Buffer.from([0x63, 0, 0, 0, 4]), S);
      t.match(brief(await copying.ready()), /C:COPY 1 Z:I$/);
      await drain.promise;
      await b.direct('BEGIN; LOCK TABLE users IN EXCLUSIVE MODE');
      simple.send(insert(2));
      pipelined.send(P('', INSERT, [23]), B('', '', ['3']), E(), S, Q('SELECT 1'));
      await waiting(2);
      const second = watched(b.rule(''));
      idle.send(Q('SELECT 1'));
      await idle.ready();
      t.equal(second.resolved, false, 'two are in flight');
      await b.direct('ROLLBACK');
      t.match(brief(await simple.ready()), /C:INSERT 0 1 Z:I$/);
      t.match(brief(await pipelined.ready(2)), /C:SELECT 1 Z:I$/);
      await second.promise;
      // One that leaves amid its statement: only when the server has closed is it over.
      await b.direct('BEGIN; LOCK TABLE users IN EXCLUSIVE MODE');
      simple.send(insert(4));
      await waiting(1);
      const last = watched(b.rule(''));
      simple.destroy();
      idle.send(Q('SELECT 1'));
      await idle.ready();
      t.equal(last.resolved, false, 'it may still commit');
      await b.direct('COMMIT');
      await last.promise;
      // A hold waits for what touches the table only.
      await hold(false);
      await b.direct('BEGIN; LOCK TABLE users IN EXCLUSIVE MODE');
      pipelined.send(insert(5));
      await waiting(1);
      copying.send(Q('BEGIN'), Q('SELECT pg_sleep(100)'));
      const held = watched(hold());
      idle.send(Q('SELECT 1'));
      await idle.ready();
      t.equal(held.resolved, false, 'an INSERT is in flight');
      await b.direct('COMMIT');
      await held.promise;
      await seen('it sleeps', "wait_event = 'PgSleep'", 1);
      await b.direct(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
      );
      t.match(brief(await copying.ready(2)), /C:BEGIN Z:T T E:57014 Z:E$/);
      for (const client of [pipelined, copying, idle]) client.destroy();
    });

    await t.test('a drain waits for portals that were bound before', async (t) => {
      const client = await open();
      client.send(Q('BEGIN'), P('', 'SELECT generate_series(1, 3)'), B('p', ''), E('p', 1), S);
      await client.ready(2);
      const drain = watched(b.rule(''));
      client.send(Q('SELECT 1'));
      await client.ready();
      t.equal(drain.resolved, false, 'the portal may be run again');
      client.send(E('p'), S);
      t.equal(brief(await client.ready()), 'D:2 D:3 C:SELECT 2 Z:T');
      t.equal(drain.resolved, false, 'it is still there');
      client.send(Q('COMMIT'));
      await client.ready();
      await drain.promise;
      client.send(Q('BEGIN; DECLARE c CURSOR FOR SELECT 1'));
      await client.ready();
      const cursor = watched(b.rule(''));
      client.send(Q('SELECT 1'));
      await client.ready();
      t.equal(cursor.resolved, false, 'so may a cursor of SQL');
      client.destroy();
      await cursor.promise;
    });

    await t.test('other databases and replication are left alone', async (t) => {
      await b.rule('');
      const other = await open({ database: 'template1' });
      const replication = await open({ replication: 'database' });
      for (const client of [other, replication]) {
        client.send(Q('BEGIN; CREATE TEMP TABLE users (id int, a text, b text)'), insert(1));
        t.match(brief(await client.ready(2)), /C:INSERT 0 1 Z:T$/);
      }
      await hold();
      for (const client of [other, replication]) {
        client.send(insert(2));
        t.equal(brief(await client.ready()), 'C:INSERT 0 1 Z:T');
      }
      b.proxy.closeTouching('nobody');
      other.send(Q('SELECT 1'));
      t.match(brief(await other.ready()), /Z:T$/);
      await hold(false);
    });

    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
    t.same(b.errors, []);
  });
}
