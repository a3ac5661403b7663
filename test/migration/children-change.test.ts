import pg from 'pg';
import t from 'tap';
import type { RuleSet } from '../../sql/rules.js';
import { until } from '../e2e/clients.js';
import { ALTER, MEMBERS, SETUP } from './children.js';
import { opened } from './parts.js';

/*
 * What was broken on purpose, and which test failed:
 *
 * | broken                                                      | fails                            |
 * | ----------------------------------------------------------- | -------------------------------- |
 * | the guard's trigger on the table alone                      | the guard keeps                  |
 * | the old column's NOT NULL taken from the table alone        | the guard keeps                  |
 * | a child that the plan does not know is not looked for       | a child that came meanwhile      |
 */

t.test('the guard keeps what is written by any name', async (t) => {
  for (const major of [14, 18]) {
    const { plane, one } = await opened(t, major);
    await plane.query(SETUP);
    // A trigger of one child alone.
    await plane.query(`
      CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.amount := NEW.amount * 2; RETURN NEW; END';
      CREATE TRIGGER doubles BEFORE INSERT OR UPDATE ON chiefs FOR EACH ROW EXECUTE FUNCTION double()`);
    const wrong = (column: string) =>
      one(`SELECT count(*)::int FROM people WHERE ${column} IS DISTINCT FROM amount`);
    // Each time in a session of its own: a function of the user's keeps the types that it has met.
    const write = async (n: number) => {
      const client = new pg.Client({ connectionString: plane.url });
      await client.connect();
      for (const [i, name] of MEMBERS.entries()) {
        await client.query(`INSERT INTO ${name} (id, amount) VALUES (${-10 * n - i}, ${n})`);
        await client.query(`UPDATE ${name} SET name = 'x' WHERE id = ${-10 * n - i}`);
      }
      await client.query('SET session_replication_role = replica');
      await client.query(`INSERT INTO "Guest list" (id, amount) VALUES (${-10 * n - 9}, ${n})`);
      await client.query('RESET session_replication_role');
      await client.query(`UPDATE people SET amount = amount + 1 WHERE id <= ${-10 * n}`);
      await client.query(`UPDATE staff SET amount = amount + 1 WHERE id <= ${-10 * n}`);
      await client.query(`UPDATE audited SET changed = '2020-01-01'`);
      await client.end();
    };
    await plane.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
    await plane.start('m', ALTER);
    await plane.reach('m', 'backfilling');
    await write(1);
    t.equal(await wrong('_pgtandem_new_amount'), 2_500, 'chiefs are filled by the name of audited');
    await plane.query('DELETE FROM pgtandem.standby');
    await plane.reach('m', 'ready');
    await write(2);
    t.equal(await wrong('_pgtandem_new_amount'), 0);
    await plane.ask('m', 'cutover', 'soaking');
    await write(3);
    t.equal(await wrong('_pgtandem_old_amount'), 0);
    t.equal(await one('SELECT amount::int FROM chiefs WHERE id = -32'), 108, 'by its trigger');
    // Guests define the column as NOT NULL themselves; the old one may be NULL all the same.
    await plane.query('INSERT INTO "Guest list" (id, amount) VALUES (-99, 3000000000)');
    t.equal(await one('SELECT _pgtandem_old_amount FROM "Guest list" WHERE id = -99'), null);
    await plane.query('DELETE FROM people WHERE id = -99');
    await plane.ask('m', 'revert', 'reverted');
    await write(4);
    t.equal(await wrong('_pgtandem_new_amount'), 0, 'reverted');
    await plane.ask('m', 'abort', 'aborted');
  }
});

t.test('a child that came meanwhile pauses the migration', async (t) => {
  const { plane, one, resume } = await opened(t);
  await plane.query(SETUP);
  await plane.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  await plane.start('m', ALTER);
  await plane.reach('m', 'backfilling');
  await plane.query('CREATE TABLE late (own int) INHERITS (staff)');
  await t.rejects(
    plane.reach('m', 'ready'),
    /public.late has become a child of public.people since/,
  );
  await plane.query('ALTER TABLE late NO INHERIT staff; DELETE FROM pgtandem.standby');
  await resume();
  await plane.reach('m', 'ready');
  await plane.query(
    'CREATE TABLE later (LIKE people INCLUDING ALL); ALTER TABLE later INHERIT people',
  );
  await t.rejects(plane.ask('m', 'cutover', 'soaking'), /public.later has become a child/);
  t.equal(await one(`SELECT count(*)::int FROM people WHERE _pgtandem_new_amount IS NULL`), 0);
  await plane.query('DROP TABLE late, later');
  await resume();
  await plane.reach('m', 'soaking');
  // From here on a revert proves every row first.
  await plane.query(`CREATE TABLE late () INHERITS (people); INSERT INTO late (id) VALUES (-1)`);
  await t.rejects(plane.ask('m', 'revert', 'reverted'), /public.late has become a child/);
  t.equal(await one('SELECT count(_pgtandem_old_amount)::int FROM late'), 0);
  await plane.ask('m', 'cutover', 'soaking');
  await plane.ask('m', 'complete', 'completed');
  t.equal(await one('SELECT amount::int FROM late'), 7);
});

t.test('a table that had no children is looked after in the same way', async (t) => {
  const { plane } = await opened(t);
  await plane.query(SETUP);
  await plane.query('CREATE TABLE alone AS SELECT * FROM ONLY people');
  await plane.start('m', 'ALTER TABLE alone ALTER COLUMN amount TYPE bigint');
  await plane.reach('m', 'ready');
  await plane.query('CREATE TABLE late () INHERITS (alone)');
  await t.rejects(plane.ask('m', 'cutover', 'soaking'), /public.late has become a child/);
  await plane.ask('m', 'abort', 'aborted');
});

t.test('a child that goes keeps nothing of the migration in the end', async (t) => {
  const { plane, one, resume, known } = await opened(t);
  await plane.query(SETUP);
  await plane.start('m', ALTER);
  await plane.reach('m', 'ready');
  await known('Guest list');
  await plane.query('ALTER TABLE helpers NO INHERIT "Guest list", NO INHERIT staff');
  await t.rejects(
    plane.ask('m', 'cutover', 'soaking'),
    /public.helpers is no child any more, and keeps a column/,
  );
  await plane.query('ALTER TABLE helpers DROP COLUMN _pgtandem_new_amount CASCADE');
  await plane.query('DROP TABLE chiefs');
  await resume();
  await plane.reach('m', 'soaking');
  await plane.query('ALTER TABLE "Guest list" NO INHERIT people');
  await plane.query('INSERT INTO "Guest list" (id, amount) VALUES (-1, 1)');
  await plane.ask('m', 'complete', 'completed');
  t.equal(
    await one(`SELECT string_agg(DISTINCT attrelid::regclass || '.' || attname, ' ')
      FROM pg_attribute JOIN pg_class c ON c.oid = attrelid AND relkind = 'r'
      WHERE attname LIKE '%pgtandem%' AND relnamespace = 'public'::regnamespace`),
    null,
  );
  t.equal(await one(`SELECT count(*)::int FROM pg_trigger WHERE tgname LIKE '%pgtandem%'`), 0);
  await plane.query('INSERT INTO "Guest list" (id, amount) VALUES (-2, 1)');
});

t.test('a column of a child alone, and that of a parent when it is there no more', async (t) => {
  const { plane, one } = await opened(t);
  await plane.query(SETUP);
  await plane.start('m', 'ALTER TABLE staff ALTER COLUMN salary TYPE bigint');
  await t.rejects(plane.start('up', ALTER), /Migration m is under way on public.staff/);
  await plane.reach('m', 'ready');
  await plane.query('INSERT INTO chiefs (salary) VALUES (12)');
  await plane.query('UPDATE people SET amount = 1');
  await plane.ask('m', 'cutover', 'soaking');
  t.equal(await one('SELECT count(*)::int FROM staff WHERE _pgtandem_old_salary <> salary'), 0);
  await plane.ask('m', 'complete', 'completed');
  t.equal(await one(`SELECT pg_typeof(salary)::text FROM chiefs LIMIT 1`), 'bigint');
  // The order that is kept of staff and its children is that of the next migration too.
  const { plan } = await plane.start('up', ALTER);
  const staff = plan.children?.find(({ name }) => name === 'staff');
  t.same(staff?.visible, ['id', 'name', 'amount', 'email', 'total', 'salary', 'dept']);
  await plane.reach('up', 'ready');
  await plane.ask('up', 'cutover', 'soaking');
  await plane.ask('up', 'complete', 'completed');
  const { tables } = (await one('SELECT rule_set FROM pgtandem.rules')) as RuleSet;
  t.same(
    tables.flatMap(({ name, parts }) => [name, ...(parts ?? []).map((part) => part.name)]).sort(),
    ['Guest list', 'chiefs', 'helpers', 'people', 'staff'],
    'each has one rule',
  );
  const people = tables.find(({ name }) => name === 'people');
  t.same(people?.parts?.find(({ name }) => name === 'staff')?.visible, staff?.visible);
});

t.test('a transaction that has written a child alone is waited for', async (t) => {
  const { plane, one } = await opened(t);
  await plane.query(SETUP);
  const writer = new pg.Client({ connectionString: plane.url });
  await writer.connect();
  t.teardown(() => writer.end());
  await writer.query(`BEGIN; UPDATE ONLY helpers SET email = 'x'`);
  await plane.start('m', ALTER);
  await until('it is told who is in the way', async () =>
    /pid \d+ .*UPDATE ONLY helpers/.test(
      String(await one(`SELECT progress->>'waitingFor' FROM pgtandem.migration`)),
    ),
  );
  await writer.query('COMMIT');
  await plane.reach('m', 'ready');
  t.equal(
    await one(
      'SELECT count(*)::int FROM people WHERE _pgtandem_new_amount IS DISTINCT FROM amount',
    ),
    0,
  );
});
