import pg from 'pg';
import t from 'tap';
import { changeSettings } from '../../migration/store.js';
import { Rig } from './rig.js';

/** One application: it names the column by its old name or by its new one, and knows no other. */
async function application(url: string, column: string, key: number) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  let expected = 0;
  let running = true;
  let rounds = 0;
  const loop = (async () => {
    while (running) {
      const value = `${column} ${++expected}`;
      await client.query({
        name: 'put',
        text: `INSERT INTO users (id, ${column}) VALUES ($1, $2)
               ON CONFLICT (id) DO UPDATE SET ${column} = excluded.${column}`,
        values: [key, value],
      });
      const { rows } = await client.query(`SELECT ${column} FROM users WHERE id = ${key}`);
      if (rows[0][column] !== value) throw new Error(`${rows[0][column]} is not ${value}`);
      await client.query({
        name: 'other',
        text: 'UPDATE users SET visits = visits + 1 WHERE id = $1',
        values: [key],
      });
      rounds++;
    }
  })();
  return {
    rounds: () => rounds,
    async stop() {
      running = false;
      await loop;
      await client.end();
      return `${column} ${expected}`;
    },
  };
}

t.test('an old application and a new one run together through a rename', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(`CREATE TABLE users (id int PRIMARY KEY, name text, visits int DEFAULT 0);
    INSERT INTO users SELECT i, 'user ' || i FROM generate_series(10, 3000) i`);
  const url = rig.proxy.url();
  const old = await application(url, 'name', 1);
  await rig.start('r', 'ALTER TABLE users RENAME COLUMN name TO full_name');
  await rig.reach('r', 'ready');
  const fresh = await application(url, 'full_name', 2);
  const star = new pg.Client({ connectionString: url });
  await star.connect();
  t.teardown(() => star.end());
  const columns = async () =>
    (await star.query('SELECT * FROM users LIMIT 0')).fields.map((field) => field.name);
  const more = async () => {
    const [a, b] = [old.rounds() + 20, fresh.rounds() + 20];
    while (old.rounds() < a || fresh.rounds() < b) await star.query('SELECT 1');
  };
  await more();
  t.same(await columns(), ['id', 'name', 'visits']);
  await rig.ask('r', 'cutover', 'soaking');
  await more();
  t.same(await columns(), ['id', 'full_name', 'visits']);
  await rig.ask('r', 'revert', 'reverted');
  await more();
  t.same(await columns(), ['id', 'name', 'visits']);
  await rig.ask('r', 'cutover', 'soaking');
  await more();
  const written = [await old.stop(), await fresh.stop()];
  const both = await rig.query('SELECT id, name, full_name FROM users WHERE id < 10 ORDER BY id');
  t.same(both, [
    { id: 1, name: written[0], full_name: written[0] },
    { id: 2, name: written[1], full_name: written[1] },
  ]);
  t.equal(
    await rig.one('SELECT count(*)::int FROM users WHERE name IS DISTINCT FROM full_name'),
    0,
  );
  t.equal(
    (await rig.when('r', () => true)).progress.repairs ?? 0,
    0,
    'the guard had nothing to do',
  );
  await rig.ask('r', 'complete', 'completed');
  t.same(await columns(), ['id', 'full_name', 'visits'], 'the order stays as it was');
  await rig.query('ALTER TABLE users ADD COLUMN later int');
  await rig.when('r', ({ stage }) => stage.order?.visible.includes('later') ?? false);
  await rig.applied('r');
  const later = await star.query('INSERT INTO users VALUES (7, $1, 1, 2) RETURNING *', ['seven']);
  t.same(later.rows, [{ id: 7, full_name: 'seven', visits: 1, later: 2 }]);
  await star.query('ALTER TABLE users ADD COLUMN last int');
  await rig.when('r', ({ stage }) => stage.order?.visible.includes('last') ?? false);
  await rig.applied('r');

  await rig.start('r2', 'ALTER TABLE users ALTER COLUMN visits TYPE bigint');
  await rig.reach('r2', 'ready');
  t.same(await columns(), ['id', 'full_name', 'visits', 'later', 'last']);
  await rig.ask('r2', 'cutover', 'soaking');
  await rig.ask('r2', 'complete', 'completed');
  t.same(await columns(), ['id', 'full_name', 'visits', 'later', 'last']);
  const { id } = await rig.when('r2', () => true);
  await changeSettings(rig.control, id, { columnOrder: 'physical' });
  await rig.when('r2', ({ stage }) => stage.name === 'none');
  await rig.applied('r2');
  t.same(await columns(), ['id', 'full_name', 'later', 'last', 'visits']);
});
