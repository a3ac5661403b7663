import type pg from 'pg';
import t from 'tap';
import { changeSettings } from '../../migration/store.js';
import { Rig } from './rig.js';
import { connect, pgtandem, seen } from './seen.js';

/*
 * What was broken to see this fail:
 * - The view is left out of Resolver.key: the prepared statement shows the other side's columns.
 *   Left out of the rewriter's key: so does the simple Query.
 * - inView gives the table as it is: the new view is the old one.
 * - usesOf counts what was seen before the migration: an earlier one's stars are taken for its own.
 */

t.test('a session says on which side it is', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(`CREATE TABLE users (id int PRIMARY KEY, name text, n int DEFAULT 0);
    INSERT INTO users VALUES (1, 'a')`);
  const client = await connect(rig, 'changing');
  const options = await connect(rig, 'from its start', '-c pgtandem.view=new');
  t.teardown(() => Promise.all([client.end(), options.end()]));
  // DISCARD ALL has taken it from the server, and the driver does not know.
  let name = 'all';
  const star = async (who = client) => {
    const prepared = await who.query({ name, text: 'SELECT * FROM users LIMIT 0' });
    const simple = await who.query('SELECT * FROM users LIMIT 0');
    const [a, b] = [prepared, simple].map(({ fields }) => fields.map((each) => each.name).join());
    t.equal(a, b, 'prepared or not');
    return a;
  };
  const OLD = 'id,name,n';
  const NEW = 'id,full_name,n';
  t.equal(await star(options), OLD, 'without a migration it makes no difference');
  await rig.start('r', 'ALTER TABLE users RENAME COLUMN name TO full_name');
  await rig.reach('r', 'ready');
  await rig.applied('r');
  t.equal(await star(), OLD);
  t.equal(await star(options), NEW);
  await client.query(`SET pgtandem.view = 'new'`);
  t.equal(await star(), NEW);
  await client.query('RESET pgtandem.view');
  t.equal(await star(), OLD);
  await client.query('BEGIN');
  await client.query(`SET LOCAL pgtandem.view = 'new'`);
  t.equal(await star(), NEW);
  await client.query(`INSERT INTO users VALUES (2, 'b', 7)`);
  await client.query('SAVEPOINT s');
  await client.query(`SET LOCAL pgtandem.view = 'old'`);
  t.equal(await star(), OLD);
  await client.query('ROLLBACK TO s');
  t.equal(await star(), NEW);
  await client.query('COMMIT');
  t.equal(await star(), OLD, 'SET LOCAL ends with the transaction');
  await client.query(`SELECT set_config('pgtandem.view', 'new', false)`);
  t.equal(await star(), NEW);
  await client.query('DISCARD ALL');
  name = 'again';
  t.equal(await star(), OLD);
  await options.query('DISCARD ALL');
  name = 'once more';
  t.equal(await star(options), NEW, 'it goes back to what it was at the start');
  const both = await client.query({ text: `SET pgtandem.view = 'new'; SELECT * FROM users` });
  t.equal((both as unknown as pg.QueryResult[])[1]!.rows.length, 2);
  await client.query('RESET pgtandem.view');
  await client.query(`INSERT INTO users VALUES (3, 'c', 8)`);
  t.same(
    await rig.query('SELECT id, name, full_name, n FROM users ORDER BY id'),
    [
      { id: 1, name: 'a', full_name: 'a', n: 0 },
      { id: 2, name: 'b', full_name: 'b', n: 7 },
      { id: 3, name: 'c', full_name: 'c', n: 8 },
    ],
    'INSERT without a column list fills the columns of its view, and both are written',
  );

  await rig.ask('r', 'cutover', 'soaking');
  await rig.applied('r');
  t.equal(await star(), NEW, 'the default is the new view after it');
  await client.query(`SET pgtandem.view = 'old'`);
  t.equal(await star(), OLD);
  await client.query(`INSERT INTO users VALUES (4, 'd', 9)`);
  const found = await seen(rig, 'users', (all) =>
    all.some(({ statement, named }) => /^insert/.test(statement) && named?.includes('name')),
  );
  const uses = found.filter(({ named }) => named?.includes('name'));
  t.ok(
    uses.some(({ statement }) => statement.startsWith('select *')),
    'a star of the old view names the old column',
  );
  t.equal(await rig.one('SELECT full_name FROM users WHERE id = 4'), 'd');
  await rig.ask('r', 'complete', 'completed');
  t.equal(await star(), NEW, 'there is no old view any more');

  const auto = { cutover: 'auto', unusedForMs: 3_600_000 } as const;
  await rig.start('again', 'ALTER TABLE users RENAME COLUMN full_name TO label', auto);
  const { id } = await rig.when('again', ({ progress }) => typeof progress.used === 'string');
  const status = await pgtandem(rig, 'status', 'again');
  t.match(
    status.out,
    /again: soaking[\s\S]* not yet {3}full_name has been watched for .* only, of 1h/,
  );
  await changeSettings(rig.control, id, { unusedForMs: 1 });
  await rig.reach('again', 'completed');
});
