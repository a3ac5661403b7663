import pg from 'pg';
import t from 'tap';
import { Rig } from './rig.js';

t.setTimeout(120_000);

t.test('a proxy that can not renew its lease gives the table up before others go on', async (t) => {
  const rig = await Rig.open(18, 'control');
  t.teardown(() => rig.close());
  await rig.query(
    'CREATE TABLE orders (id serial PRIMARY KEY, n int); INSERT INTO orders (n) VALUES (1)',
  );
  const url = rig.proxy.url();
  const connect = async () => {
    const client = new pg.Client({ connectionString: url });
    const ended = new Promise<Error>((resolve) => client.on('error', resolve));
    await client.connect();
    return { client, ended };
  };
  const [touching, bystander, waiting] = [await connect(), await connect(), await connect()];
  await rig.start('m', 'ALTER TABLE orders ALTER COLUMN n TYPE bigint');
  await rig.reach('m', 'ready');

  await touching.client.query('BEGIN');
  await touching.client.query('UPDATE orders SET n = 2');
  await rig.query('ALTER ROLE control NOLOGIN');
  const dropped = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'control'`;
  await rig.query(dropped);
  const doubt = async (lease: string) => {
    while ((await rig.proxy.health()).lease !== lease) await rig.query('SELECT pg_sleep(0.05)');
  };
  await doubt('doubt');
  const held = waiting.client.query('SELECT n FROM orders');
  held.catch(() => undefined);
  await doubt('lost');
  t.match(await touching.ended, { code: '57P01' }, 'a transaction on the table is ended');
  await t.rejects(held, { code: '57P01' }, 'and so is a statement that waits');
  t.equal((await bystander.client.query('SELECT 1 AS one')).rows[0].one, 1, 'others are not');
  t.equal(await rig.one('SELECT n FROM orders'), 1, 'it was rolled back');
  const expired = `SELECT bool_and(lease_until < clock_timestamp()) FROM pgtandem.proxy`;
  while (!(await rig.one(expired))) await rig.query('SELECT pg_sleep(0.05)');

  await rig.query('ALTER ROLE control LOGIN');
  await doubt('held');
  await bystander.client.query('UPDATE orders SET n = 3');
  t.equal(
    await rig.one('SELECT _pgtandem_new_n::int FROM orders'),
    3,
    'it is back, with its rules',
  );
  await rig.ask('m', 'cutover', 'soaking');
  await bystander.client.end();
});
