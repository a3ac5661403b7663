import pg from 'pg';
import t from 'tap';
import { seedFrom } from '../sql/random.js';
import { Application, KIN, SETUP } from './children.js';
import { until } from './clients.js';
import { Rig } from './rig.js';

/*
 * Each statement goes to a plain database too, and has to be answered in the same way.
 *
 * What was broken on purpose to see it fail: a child's rule made ready as its parent's.
 */

const seed = seedFrom(process.env.SEED);

t.test('a table with children under load, from plan to complete', async (t) => {
  t.comment(`SEED=${seed}`);
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query('CREATE DATABASE plain');
  const plain = new pg.Client({ connectionString: rig.cluster.url('plain') });
  await plain.connect();
  t.teardown(() => plain.end());
  await plain.query(SETUP);
  await rig.query(SETUP);
  const apps = await Promise.all(
    [0, 1].map((n) =>
      Application.open(rig.proxy.url(), rig.cluster.url('plain'), seed + n, [n, 2]),
    ),
  );
  for (const app of apps) app.start();
  t.teardown(() => Promise.allSettled(apps.map((app) => app.stop())));
  const more = async (count = 60) => {
    const goal = apps.map((app) => app.rounds + count);
    await until('the applications go on', () => {
      for (const { failure } of apps) if (failure !== null) throw failure;
      return apps.every((app, i) => app.rounds >= goal[i]!);
    });
  };
  const wrong = (column: string) =>
    rig.one(`SELECT count(*)::int FROM people WHERE ${column} IS DISTINCT FROM amount`);
  const repairs = async () => (await rig.when('m', () => true)).progress.repairs ?? 0;

  await more();
  await rig.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  await rig.start('m', 'ALTER TABLE people ALTER COLUMN amount TYPE bigint');
  await rig.reach('m', 'backfilling');
  t.ok(await wrong('_pgtandem_new_amount'), 'the backfill is held up');
  await more();
  await rig.query('DELETE FROM pgtandem.standby');
  await rig.reach('m', 'ready');
  t.equal(await wrong('_pgtandem_new_amount'), 0);
  await more();
  t.equal(await wrong('_pgtandem_new_amount'), 0);
  t.equal(await repairs(), 0, 'the guard had nothing to do');
  for (const step of ['cutover', 'revert', 'cutover'] as const) {
    await rig.ask('m', step, step === 'cutover' ? 'soaking' : 'reverted');
    await more();
    t.equal(await wrong(`_pgtandem_${step === 'cutover' ? 'old' : 'new'}_amount`), 0, step);
  }
  await rig.ask('m', 'complete', 'completed');
  t.equal(await repairs(), 0, 'nor had it later');
  await more();
  for (const app of apps) await app.stop();
  for (const { name, columns } of KIN) {
    const rows = `SELECT ${columns} FROM ONLY ${name} ORDER BY id, name, amount`;
    const asText = `SELECT x::text AS row FROM (${rows}) x`;
    t.same(await rig.query(asText), (await plain.query(asText)).rows, `rows of ${name}`);
  }
  for (const app of apps) t.comment(JSON.stringify([...app.made]));
});
