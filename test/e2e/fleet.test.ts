import pg from 'pg';
import t from 'tap';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { Rig } from './rig.js';

t.setTimeout(120_000);

/** Counts a row of its own up by one statement after another, and reads it back. */
async function counter(url: string, id: number) {
  const client = new pg.Client({ connectionString: url });
  let gone = false;
  client.on('error', () => {
    gone = true;
  });
  await client.connect();
  let running = true;
  let count = 0;
  let failure: unknown;
  const loop = (async () => {
    while (running && !gone) {
      const { rows } = await client.query({
        name: 'count',
        text: 'UPDATE counters SET n = n + 1 WHERE id = $1 RETURNING *',
        values: [id],
      });
      count++;
      if (Number(rows[0].n) !== count || Object.keys(rows[0]).join() !== 'id,n,note') {
        throw new Error(`${JSON.stringify(rows[0])} is not ${count}`);
      }
    }
  })().catch((error) => {
    failure = error;
  });
  return {
    count: () => count,
    /** Waits until it has gone on by so many. */
    async more(by: number): Promise<void> {
      const until = count + by;
      while (count < until && failure === undefined) await new Promise(setImmediate);
      if (failure !== undefined) throw failure;
    },
    async stop() {
      running = false;
      await loop;
      await client.end().catch(() => undefined);
      return failure;
    },
  };
}

const SETUP = `CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);
  INSERT INTO counters (id) SELECT generate_series(1, 4000)`;
const WRONG = 'SELECT count(*)::int FROM counters WHERE n IS DISTINCT FROM _pgtandem_old_n';

t.test(
  'two proxies: both switch at once, and one takes over when the other is killed',
  async (t) => {
    const rig = await Rig.open();
    t.teardown(() => rig.close());
    await rig.query(SETUP);
    const second = await ProxyProcess.start(rig.cluster.url());
    t.teardown(() => second.end());
    const one = await counter(rig.proxy.url(), 1);
    const two = await counter(second.url(), 2);
    await rig.start('f', 'ALTER TABLE counters ALTER COLUMN n TYPE bigint');
    await rig.reach('f', 'ready');
    await Promise.all([one.more(20), two.more(20)]);
    await rig.ask('f', 'cutover', 'soaking');
    await Promise.all([one.more(20), two.more(20)]);
    t.equal(await rig.one(WRONG), 0);
    t.equal(await one.stop(), undefined);
    await rig.proxy.end('SIGKILL');
    await rig.ask('f', 'revert', 'reverted');
    await two.more(20);
    await rig.ask('f', 'cutover', 'soaking');
    await two.more(20);
    t.equal(await two.stop(), undefined, 'no error was seen through the other');
    t.equal(await rig.one(WRONG), 0);
    t.equal(await rig.one('SELECT n::int FROM counters WHERE id = 1'), one.count());
    t.equal(await rig.one('SELECT n::int FROM counters WHERE id = 2'), two.count());
    const repairs = Number((await rig.when('f', () => true)).progress.repairs ?? 0);
    t.equal(repairs, 0, 'the guard had nothing to do');
  },
);

t.test('a transaction in the way of a cutover: it lets go, and comes back', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(SETUP);
  const busy = await counter(rig.proxy.url(), 1);
  await rig.start('b', 'ALTER TABLE counters ALTER COLUMN n TYPE bigint');
  await rig.reach('b', 'ready');
  const slow = new pg.Client({ connectionString: rig.proxy.url(), application_name: 'slow one' });
  await slow.connect();
  t.teardown(() => slow.end());
  await slow.query('BEGIN; UPDATE counters SET n = 70 WHERE id = 7');
  await rig.ask('b', 'cutover', 'cutting-over');
  const blocked = await rig.when('b', ({ phase }) => 'attempt' in phase && phase.attempt >= 2);
  t.match(blocked.phase, { blocker: /slow one/ }, 'it says who is in the way');
  await busy.more(20);
  await slow.query('UPDATE counters SET n = n + 1 WHERE id = 7');
  await slow.query('SELECT * FROM counters WHERE id = 7');
  await slow.query('COMMIT');
  await rig.reach('b', 'soaking');
  await busy.more(20);
  t.equal(await busy.stop(), undefined, 'no error was seen');
  t.equal(await rig.one('SELECT n::int FROM counters WHERE id = 7'), 71);
  t.equal(await rig.one(WRONG), 0);
  const { longestHoldMs } = await rig.proxy.health();
  t.ok(longestHoldMs > 0, `statements were held, at most for ${Math.round(longestHoldMs)} ms`);
});

t.test('paused, it does nothing; both columns are still written', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(SETUP);
  await rig.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  await rig.start('p', 'ALTER TABLE counters ALTER COLUMN n TYPE bigint');
  await rig.when('p', ({ progress }) => JSON.stringify(progress).includes('standby-lost'));
  await rig.query(`UPDATE pgtandem.migration SET paused = 'by the operator'; NOTIFY pgtandem`);
  await rig.query('DELETE FROM pgtandem.standby');
  const backfill = `SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'pgtandem backfill'`;
  while ((await rig.one(backfill)) !== 0) await rig.query('SELECT pg_sleep(0.05)');
  const busy = await counter(rig.proxy.url(), 1);
  await busy.more(20);
  t.equal(await busy.stop(), undefined);
  t.equal(await rig.one('SELECT n - _pgtandem_new_n::int FROM counters WHERE id = 1'), 0);
  t.equal(await rig.one('SELECT phase->>$$name$$ FROM pgtandem.migration'), 'backfilling');
  await rig.query('UPDATE pgtandem.migration SET paused = NULL; NOTIFY pgtandem');
  await rig.reach('p', 'ready');
});
