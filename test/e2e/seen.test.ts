import t from 'tap';
import type { Seen } from '../../migration/seen.js';
import { Rig } from './rig.js';
import { connect, countOf, pgtandem, seen } from './seen.js';

/*
 * What was broken to see this fail:
 * - Use.ran does nothing: the statement that was prepared once is not seen any more, and the
 *   column counts as unused while it is run (2nd test).
 * - whyUsed says that nothing was used: `complete` drops what is used (2nd test).
 */

t.test('before there is a migration, plan tells what would become of the statements', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query('CREATE TABLE orders (id int PRIMARY KEY, amount int, note text)');
  const sql = 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint';
  const unknown = await pgtandem(rig, 'plan', '-e', sql);
  t.equal(unknown.code, 0);
  t.match(unknown.out, /Statements: not known.*pgtandem observe '"public"."orders"'/);
  const observed = await pgtandem(rig, 'observe', 'orders');
  t.match(observed, { code: 0, out: 'public.orders is observed.' });
  await rig.applied('');
  const shop = await connect(rig, 'shop');
  const audit = await connect(rig, 'audit');
  t.teardown(() => Promise.all([shop.end(), audit.end()]));
  for (let id = 1; id <= 5; id++) {
    await shop.query(`INSERT INTO orders (id, amount) VALUES (${id}, 3), (${id + 100}, 4)`);
    await shop.query({ name: 'read', text: 'SELECT * FROM orders WHERE id = $1', values: [id] });
  }
  await audit.query('CREATE TEMP TABLE copied (id int, amount int)');
  await audit.query(
    `MERGE INTO orders USING copied c ON c.id = orders.id
     WHEN MATCHED THEN UPDATE SET amount = c.amount -- 'secret'`,
  );
  await audit.query('SELECT secret FROM (VALUES (1)) AS elsewhere (secret)');
  const all = await seen(rig, 'orders', (now) => countOf(now, 'merge') === 1);
  t.equal(countOf(all, 'insert into orders (id, amount) values (0, 0)', 'shop'), 5);
  t.equal(countOf(all, 'select * from orders where id = $1', 'shop'), 5);
  t.notMatch(JSON.stringify(all), /secret/, 'no values, no comments, no other table');
  t.equal(new Set(all.map(({ user }) => user)).size, 1);

  const plan = JSON.parse((await pgtandem(rig, 'plan', '-e', sql, '--json')).out);
  const of = (part: string) =>
    plan.seen.statements.find(({ statement }: Seen) => statement.includes(part));
  t.match(of('insert'), { count: 5, before: { outcome: 'rewritten' }, applications: ['shop'] });
  t.match(of('select *'), { before: { outcome: 'rewritten' }, after: { outcome: 'rewritten' } });
  t.ok(of('merge').before.outcome);
  const text = await pgtandem(rig, 'plan', '-e', sql);
  t.match(text.out, /Statements seen on "public"."orders", observed since .*: \d/);
  t.match(text.out, /insert into orders/);
  const ended = await pgtandem(rig, 'observe', 'orders', '--off');
  t.match(ended, { code: 0, out: 'is not observed any more' });
  t.match(await rig.one('SELECT rule_set FROM pgtandem.rules'), { tables: [] });
  t.match(await pgtandem(rig, 'observe', 'orders', '--off'), { code: 3, out: 'is not observed' });
  t.match(await pgtandem(rig, 'observe', 'nothing'), { code: 3, out: 'There is no table nothing' });
});

t.test('a name that is used is not taken away, by complete or by abort', async (t) => {
  const rig = await Rig.open(14);
  t.teardown(() => rig.close());
  await rig.query('CREATE TABLE users (id int PRIMARY KEY, name text, org int)');
  await rig.query('CREATE TABLE orgs (id int PRIMARY KEY, name text)');
  const old = await connect(rig, 'old app');
  const fresh = await connect(rig, 'new app');
  const bystander = await connect(rig, 'bystander');
  t.teardown(() => Promise.all([old.end(), fresh.end(), bystander.end()]));
  await rig.start('r', 'ALTER TABLE users RENAME COLUMN name TO full_name');
  await rig.reach('r', 'ready');
  await rig.applied('r');
  const byName = { name: 'by-name', text: 'SELECT id FROM users WHERE name = $1', values: ['x'] };
  await old.query(byName);
  await bystander.query('SELECT name FROM orgs WHERE id IN (SELECT org FROM users)');
  await bystander.query('SELECT o.name FROM orgs o JOIN users u ON u.org = o.id');
  await bystander.query('SELECT full_name AS name FROM users ORDER BY name');
  await fresh.query('INSERT INTO users (id, full_name) VALUES (1, $1)', ['x']);
  await seen(rig, 'users', (all) => countOf(all, '', 'bystander') === 3);
  const refused = await pgtandem(rig, 'abort', 'r');
  t.equal(refused.code, 3);
  t.match(refused.out, /can't abort yet: full_name was used .* ago by (bystander|new app)/);
  await rig.ask('r', 'cutover', 'soaking');
  await rig.applied('r');

  await old.query(byName);
  await old.query(byName);
  const last = await seen(rig, 'users', (all) => countOf(all, 'where name =', 'old app') === 3);
  t.same(
    [...new Set(last.filter(({ named }) => named?.includes('name')).map((e) => e.application))],
    ['old app'],
    'who does not name it is not taken for one who does',
  );
  const complete = await pgtandem(rig, 'complete', 'r');
  t.equal(complete.code, 3);
  t.match(
    complete.out,
    /can't complete yet: name was used .* ago by old app as postgres: select id/,
  );
  t.match(complete.out, /--unused-for, or --force/);
  const status = await pgtandem(rig, 'status', 'r');
  t.match(status.out, /name goes away when it is complete; who names it:/);
  t.match(status.out, /old app as postgres .* 3 .* select id from users where name = \$1/);
  const json = JSON.parse((await pgtandem(rig, 'status', 'r', '--json')).out);
  t.match(
    json.named.filter(({ column }: { column: string }) => column === 'name'),
    [{ column: 'name', application: 'old app', user: 'postgres', count: 3 }],
  );
  const metrics = await (await fetch(`${rig.proxy.metricsUrl}/metrics`)).text();
  t.match(
    metrics,
    /pgtandem_column_uses_total\{table="public.users",column="name",application="old app"\} 3/,
  );
  const explain = async (...args: string[]) =>
    JSON.parse((await pgtandem(rig, 'explain', ...args, '--json')).out);
  t.match(await explain('SELECT * FROM users'), [
    {
      outcome: 'rewritten',
      view: 'new',
      migrations: [{ name: 'r', phase: 'soaking' }],
      otherwise: { view: 'old', sent: /"name"/ },
      named: [],
    },
  ]);
  t.match(await explain('SELECT * FROM users', '--view', 'old'), [
    { view: 'old', named: ['name'], otherwise: { view: 'new', sent: /"full_name"/ } },
  ]);
  const text = await pgtandem(rig, 'explain', 'SELECT array_agg(u) FROM users u WHERE name = $1');
  for (const part of [/guarded \(whole-row\)/, /names {6}name/, /remedy {5}Name the columns/]) {
    t.match(text.out, part);
  }
  const watched = await pgtandem(rig, 'complete', 'r', '--unused-for', '1ms');
  t.equal(watched.code, 0, watched.out);
  await rig.reach('r', 'completed');
  t.same(await rig.query('SELECT * FROM users'), [{ id: 1, org: null, full_name: 'x' }]);
});
