import t from 'tap';
import { Cluster, freePort } from '../../cli/demo/cluster.js';
import {
  ATTRS,
  choose,
  describeHost,
  type Known,
  parseTarget,
  suits,
  TargetError,
} from '../../db/target.js';
import { sameDatabase } from '../../proxy/database-name.js';
import { withDatabase } from '../../proxy/startup.js';
import { type Bench, front, RawClient, until } from './harness.js';
import { tableRule } from './rewriter.js';
import { brief, error, PROTOCOL_3_2, Q, startupPacket } from './wire.js';

t.setTimeout(120_000);

t.test('connection strings with several hosts are read as libpq reads them', async (t) => {
  const cases: [string, string[], string][] = [
    ['postgres://u@h/db', ['postgres://u@h/db'], 'any'],
    ['postgres://u@h:5/db?sslmode=disable', ['postgres://u@h:5/db?sslmode=disable'], 'any'],
    [
      'postgres://u:p%40w@h1:5432,h2:5433/db?target_session_attrs=read-write&sslmode=require',
      [
        'postgres://u:p%40w@h1:5432/db?sslmode=require',
        'postgres://u:p%40w@h2:5433/db?sslmode=require',
      ],
      'read-write',
    ],
    ['postgresql://h1,h2', ['postgresql://h1:5432/', 'postgresql://h2:5432/'], 'read-write'],
    [
      'postgres://u@[::1]:1,[fe80::2]/d?target_session_attrs=standby',
      ['postgres://u@[::1]:1/d', 'postgres://u@[fe80::2]:5432/d'],
      'standby',
    ],
    [
      'postgres://u@/d?host=/run/a,/run/b&port=1,2&target_session_attrs=primary',
      ['postgres://u@localhost:1/d?host=%2Frun%2Fa', 'postgres://u@localhost:2/d?host=%2Frun%2Fb'],
      'primary',
    ],
    [
      'postgres:///d?host=a,::1,/run/c&port=7',
      ['postgres://a:7/d', 'postgres://[::1]:7/d', 'postgres://localhost:7/d?host=%2Frun%2Fc'],
      'read-write',
    ],
    [
      'postgres://u@%2Frun%2Fa:7,b/d',
      ['postgres://u@localhost:7/d?host=%2Frun%2Fa', 'postgres://u@b:5432/d'],
      'read-write',
    ],
  ];
  for (const [text, urls, attrs] of cases) t.same(parseTarget(text), { urls, attrs }, text);
  for (const wrong of [
    'h1,h2',
    'mysql://h/d',
    'postgres://h1,h2/d?target_session_attrs=master',
    'postgres://h1,h2/d?port=1,2,3',
    'postgres://h1:99999,h2/d',
    'postgres://h1:1:2,h2/d',
  ]) {
    t.throws(() => parseTarget(wrong), TargetError, wrong);
  }
  t.equal(describeHost('postgres://u:secret@h1:1/d'), 'h1:1');
  t.equal(describeHost('postgres://u@localhost:1/d?host=%2Frun%2Fa'), '/run/a:1');
});

const primary: Known = { up: true, standby: false, readOnly: false };
const frozen: Known = { up: true, standby: false, readOnly: true };
const standby: Known = { up: true, standby: true, readOnly: true };
const down: Known = { up: false, why: 'refused' };

t.test('the hosts to use are those that suit, and never one of two primaries', async (t) => {
  const order = (...args: Parameters<typeof choose>) => choose(...args).order;
  t.same(order([standby, primary], 'read-write', null), [1]);
  t.same(order([frozen, standby], 'read-write', null), []);
  t.same(order([frozen, standby], 'primary', null), [0]);
  t.same(order([frozen, primary], 'read-write', null), [1], 'a frozen one is no second primary');
  t.same(order([primary, standby, standby], 'standby', null), [1, 2]);
  t.same(order([primary, standby, standby], 'standby', 2), [2, 1], 'stays where it is');
  t.same(order([primary, standby, down], 'prefer-standby', 0), [1, 0]);
  t.same(order([primary, down], 'prefer-standby', null), [0]);
  t.same(order([primary, frozen, standby], 'read-only', null), [1, 2]);
  t.same(choose([primary, primary], 'read-write', null), { order: [], split: [0, 1] });
  t.same(choose([primary, primary, standby], 'read-write', 1), { order: [1], split: [0, 1] });
  const kinds = [primary, frozen, standby, down];
  let tried = 0;
  for (const attrs of ATTRS) {
    for (let i = 0; i < 64; i++) {
      const known = [kinds[i & 3]!, kinds[(i >> 2) & 3]!, kinds[(i >> 4) & 3]!];
      for (const present of [null, 0, 1, 2]) {
        const { order, split } = choose(known, attrs, present);
        const good = [0, 1, 2].filter((at) => suits(known[at]!, attrs));
        const writes = attrs === 'read-write' || attrs === 'primary';
        const expected = writes && good.length > 1 ? good.filter((at) => at === present) : good;
        const same = [...order].sort().join() === expected.join();
        const told = writes && good.length > 1 ? split.join() === good.join() : split.length === 0;
        if (!same || !told) t.fail(JSON.stringify({ attrs, known, present, order, split }));
        tried++;
      }
    }
  }
  t.equal(tried, 6 * 64 * 4);
});

t.test('a StartupMessage is led to another database, all else as it was', async (t) => {
  const words = (packet: Buffer) => packet.toString('latin1', 4);
  const made = withDatabase(
    startupPacket({ user: 'u', database: 'shop', '_pq_.x': '1' }, PROTOCOL_3_2),
    'läden',
  );
  const wanted = startupPacket({ user: 'u', database: 'läden', '_pq_.x': '1' }, PROTOCOL_3_2);
  t.same(made, wanted);
  const none = withDatabase(startupPacket({ user: 'shop' }), 'd');
  t.same(none, startupPacket({ user: 'shop', database: 'd' }));
  t.equal(none.readInt32BE(0), none.length);
  const twice = Buffer.from('\0\0\0\0\0\x03\0\0database\0a\0user\0u\0database\0b\0\0', 'latin1');
  t.equal(
    words(withDatabase(twice, 'c')),
    '\0\x03\0\0database\0c\0user\0u\0database\0c\0\0',
    'the server takes the last one',
  );
  t.equal(sameDatabase('shop', 'shop'), true);
  t.equal(sameDatabase('shop2', 'shop'), false);
  t.equal(sameDatabase(undefined, 'shop'), false);
  t.equal(sameDatabase(`${'x'.repeat(63)}tail`, 'x'.repeat(63)), true, 'older servers cut it');
});

/** Two servers, and a proxy that leads to both: `alpha` and `beta` are names of its own. */
async function twoTargets(t: Parameters<typeof front>[0]) {
  const [one, two] = await Promise.all([
    Cluster.create({ major: 14 }),
    Cluster.create({ major: 18 }),
  ]);
  t.teardown(() => Promise.all([one.destroy(), two.destroy()]));
  const [first, second] = [await one.client(), await two.client()];
  t.teardown(() => Promise.all([first.end(), second.end()]));
  await first.query('CREATE DATABASE real');
  const target = (name: string, database: string, { port }: Cluster) => ({
    name,
    database,
    cluster: String(port),
    upstream: { host: '127.0.0.1', port },
  });
  const b = await front(t, one, undefined, {
    cluster: String(one.port),
    targets: [target('alpha', 'real', one), target('beta', 'postgres', two)],
  });
  return { b, one, two, second };
}

/** Logs in and asks where it is. */
async function whereIs(b: Bench, database: string): Promise<string> {
  const client = await RawClient.login(b.port, { database });
  client.send(
    Q(`SELECT current_database() || ' ' || current_setting('server_version_num')::int / 10000`),
  );
  const told = brief(await client.ready());
  client.destroy();
  return /D:(.*?) C/.exec(told)![1]!;
}

t.test('clients are led by the database they ask for, and rules stay in theirs', async (t) => {
  const { b, second } = await twoTargets(t);
  t.equal(await whereIs(b, 'alpha'), 'real 14');
  t.equal(await whereIs(b, 'beta'), 'postgres 18');
  t.equal(await whereIs(b, 'postgres'), 'postgres 14', 'any other name');
  await second.query('CREATE ROLE beta LOGIN');
  const byUser = await RawClient.open(b.port);
  byUser.send(startupPacket({ user: 'beta', database: '' }));
  t.match(brief(await byUser.ready()), /Z:I/, "the user's name, where no database is asked for");
  byUser.destroy();

  await second.query('CREATE TABLE users (id int, a text)');
  const { rows } = await second.query("SELECT 'users'::regclass::oid::int AS oid");
  const rule = (held: boolean, epoch: number) => ({
    epoch,
    tables: [tableRule(rows[0].oid, 'users', 'id', { held, version: 1 })],
  });
  const beta = await RawClient.login(b.port, { database: 'beta' });
  await b.proxy.apply(rule(false, 1), 'beta');
  const text = 'SELECT /*old*/ FROM users';
  beta.send(Q(text));
  t.equal(brief(await beta.ready()), 'T C:SELECT 0 Z:I', 'rewritten');
  for (const database of ['alpha', 'postgres', 'real']) {
    const other = await RawClient.login(b.port, { database });
    other.send(Q('CREATE TABLE IF NOT EXISTS users (id int, a text)'), Q(text));
    const told = brief((await other.ready(2)).filter(({ type }) => type !== 'T'));
    t.equal(told, 'C:CREATE TABLE Z:I C:SELECT 0 Z:I', `${database} has no rules`);
    other.destroy();
  }
  t.equal(await b.metric('pgtandem_statements_total', { outcome: 'rewritten' }), 1);
  t.equal(await b.metric('pgtandem_epoch', { database: 'beta' }), 1);

  await b.proxy.apply(rule(true, 2), 'beta');
  beta.send(Q('SELECT 1 FROM users'));
  await until('it is held', () => b.proxy.stats().held === 1);
  const alpha = await RawClient.login(b.port, { database: 'alpha' });
  alpha.send(Q('SELECT 1 FROM users'));
  t.equal(brief(await alpha.ready()), 'T C:SELECT 0 Z:I', 'held in one, not in the other');
  b.proxy.fence(true, 'alpha');
  b.proxy.closeTouching('gone', 'alpha');
  await b.proxy.apply(rule(false, 3), 'beta');
  t.equal(brief(await beta.ready()), 'T C:SELECT 0 Z:I', 'let go; a fence of another is nothing');
  t.throws(() => b.proxy.realm('gamma'), { message: 'There is no target "gamma".' });
  beta.destroy();
  alpha.destroy();
});

t.test("another target's own database by its own name has its rules", async (t) => {
  const { b, one } = await twoTargets(t);
  const control = await one.client('real');
  t.teardown(() => control.end());
  await control.query('CREATE TABLE users (id int, a text)');
  const { rows } = await control.query("SELECT 'users'::regclass::oid::int AS oid");
  await b.proxy.apply({ epoch: 1, tables: [tableRule(rows[0].oid, 'users', 'id')] }, 'alpha');
  const direct = await RawClient.login(b.port, { database: 'real' });
  direct.send(Q('SELECT /*old*/ a FROM users'));
  t.match(brief(await direct.ready()), /T C:SELECT 0 Z:I/);
  t.equal(await b.metric('pgtandem_statements_total', { outcome: 'rewritten' }), 1);
  direct.destroy();
});

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: a standby is refused before the client is ready`, async (t) => {
    const first = await Cluster.create({ major });
    t.teardown(() => first.destroy());
    const second = await first.standby('s');
    t.teardown(() => second.destroy());
    const at = ({ port }: Cluster) => ({ host: '127.0.0.1', port });
    let doubts = 0;
    const b = await front(
      t,
      second,
      { connectTimeoutMs: 3_000 },
      {
        standby: false,
        doubt: () => void doubts++,
      },
    );
    const refused = await RawClient.open(b.port);
    refused.send(startupPacket({ user: 'postgres' }));
    const told = await refused.end();
    t.match(brief(told), /E:57P03$/, 'and neither a key nor ReadyForQuery');
    t.notMatch(brief(told), /[KZ]/);
    t.match(error(told.at(-1)!).message, /hot standby/);
    const waiting = RawClient.login(b.port);
    await until('it is asked where the primary is', () => doubts === 1);
    b.proxy.realm(null).settle(at(first));
    const client = await waiting;
    client.send(Q('SELECT pg_is_in_recovery()'));
    t.match(brief(await client.ready()), /D:f/, 'a client that waited is led there');
    client.destroy();
    await until('all are gone', () => b.proxy.stats().connections === 0);

    const reports = await front(t, second, {}, { standby: true, doubt: () => undefined });
    const reader = await RawClient.login(reports.port);
    reader.send(Q('SELECT pg_is_in_recovery()'));
    t.match(brief(await reader.ready()), /D:t/, 'where a standby is wanted');
    reader.destroy();
    const wrong = await front(t, first, {}, { standby: true, doubt: () => undefined });
    const misled = await RawClient.open(wrong.port);
    misled.send(startupPacket({ user: 'postgres' }));
    t.match(brief(await misled.end()), /E:57P03$/);
  });
}

t.test('while the server is looked for, clients wait; but not for ever', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const gone = { port: await freePort() } as Cluster;
  let doubts = 0;
  const b = await front(t, gone, { connectTimeoutMs: 600 }, { doubt: () => void doubts++ });
  const lost = await RawClient.open(b.port);
  lost.send(startupPacket({ user: 'postgres' }));
  const [refusal] = await lost.end();
  t.match(error(refusal!), { code: '08006', message: /ECONNREFUSED/ });
  t.equal(doubts, 1, 'asked once');
  const waiting = RawClient.login(b.port);
  await until('it waits', () => b.proxy.realm(null).upstream === null);
  b.proxy.realm(null).settle({ host: '127.0.0.1', port: cluster.port });
  (await waiting).destroy();
});

t.test('at a server of another history everything begins anew', async (t) => {
  const [one, two] = await Promise.all([Cluster.create(), Cluster.create()]);
  t.teardown(() => Promise.all([one.destroy(), two.destroy()]));
  const b = await front(t, one, {}, { doubt: () => undefined });
  const realm = b.proxy.realm(null);
  await b.proxy.apply({ epoch: 7, tables: [] });
  const [idle, busy] = [await RawClient.login(b.port), await RawClient.login(b.port)];
  busy.send(Q('SELECT pg_sleep(60)'));
  const control = await one.client();
  t.teardown(() => control.end());
  const sleeping = `SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'
    AND state = 'active'`;
  await until('it runs', async () => (await control.query(sleeping)).rowCount === 1);
  realm.begin({ host: '127.0.0.1', port: two.port }, { epoch: 3, tables: [] });
  t.equal(brief(await idle.end()), 'E:57P01');
  t.match(brief(await busy.end()), /E:57P01$/);
  await until('nothing of it runs on', async () => (await control.query(sleeping)).rowCount === 0);
  t.equal(await b.metric('pgtandem_epoch'), 3, 'a lower epoch is in force');
  await b.proxy.apply({ epoch: 4, tables: [] });
  const client = await RawClient.login(b.port);
  client.send(Q('SHOW port'));
  t.match(brief(await client.ready()), new RegExp(`D:${two.port}`));
  client.destroy();
});
