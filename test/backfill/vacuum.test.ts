import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { Metrics } from '../../metrics/registry.js';
import { makeJob, pendingRows, run, until } from './setup.js';

t.test('interleaved VACUUM', async (t) => {
  const cluster = await Cluster.create({ settings: { autovacuum: false } });
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const blocks = async (table: string): Promise<number> =>
    (await client.query(`SELECT pg_relation_size($1)::int / 8192 AS n`, [table])).rows[0].n;

  /** Rows of this table cannot stay in their blocks: the column that is filled has an index. */
  const indexed = async (rows: number, table: string) => {
    const job = await makeJob(cluster, rows, { table });
    await client.query(`CREATE INDEX ON public.${table} (id_new)`);
    return job;
  };

  t.test('is not needed where rows find their place in their blocks', async (t) => {
    const job = await makeJob(cluster, 100_000, { table: 'inplace' });
    await client.query('CREATE INDEX ON public.inplace (qty)');
    const before = await blocks('inplace');
    const metrics = new Metrics();
    const { result } = await run(cluster, job, { metrics });
    t.equal(result.rowsFilled, 100_000);
    const after = await blocks('inplace');
    // What a session did is told when it ends, at the latest.
    let stayed = 0;
    await until('the statistics are there', async () => {
      const { rows } = await client.query(
        `SELECT n_tup_upd::int AS updated, n_tup_hot_upd::int AS stayed
         FROM pg_stat_all_tables WHERE relname = 'inplace'`,
      );
      stayed = rows[0].stayed;
      return rows[0].updated === 100_000;
    });
    t.comment(`${before} blocks became ${after}; ${stayed} rows stayed in theirs`);
    t.ok(after < before * 1.3);
    t.ok(stayed > 70_000);
    const done = /vacuums_total\{.*\} (\d+)/.exec(await metrics.registry.metrics());
    t.ok(Number(done?.[1] ?? 0) <= 1, 'one VACUUM at most');
    t.equal(await pendingRows(client, 'inplace'), 0);
  });

  t.test('keeps the table from doubling', async (t) => {
    const job = await indexed(200_000, 'kept');
    const before = await blocks('kept');
    const metrics = new Metrics();
    const { result } = await run(cluster, job, { metrics });
    const after = await blocks('kept');
    t.equal(result.rowsFilled, 200_000);
    t.comment(`${before} blocks became ${after}: ${(after / before).toFixed(2)}`);
    t.ok(after < before * 1.5);
    const text = await metrics.registry.metrics();
    const done = /vacuums_total\{migration="kept",outcome="done"\} (\d+)/.exec(text);
    t.ok(Number(done?.[1]) >= 5, text);
  });

  t.test(
    'without it (the role may not) the table doubles, which shows the difference',
    async (t) => {
      const job = await indexed(100_000, 'grown');
      await client.query(`CREATE ROLE filler LOGIN; GRANT SELECT, UPDATE ON public.grown TO filler;
      GRANT ALL ON ALL TABLES IN SCHEMA pgtandem TO filler; GRANT pg_monitor TO filler`);
      const before = await blocks('grown');
      await run(cluster, job, { url: cluster.url('postgres', 'filler') });
      t.ok((await blocks('grown')) > before * 1.8);
    },
  );

  // From here on a VACUUM takes minutes, as that of a large table does.
  const slow = () =>
    client.query(`ALTER DATABASE postgres SET vacuum_cost_delay = '100ms';
      ALTER DATABASE postgres SET vacuum_cost_limit = 10;
      ALTER DATABASE postgres SET vacuum_cost_page_dirty = 100`);
  const vacuuming = async (): Promise<boolean> =>
    (await client.query('SELECT FROM pg_stat_progress_vacuum')).rows.length > 0;

  t.test('steps aside for a session that wants the table', async (t) => {
    await slow();
    const job = await indexed(100_000, 'wanted');
    const metrics = new Metrics();
    const filling = run(cluster, job, { metrics });
    await until('a VACUUM is under way', vacuuming);
    const ddl = await cluster.client();
    // It would wait for the VACUUM for longer than this test may take.
    await ddl.query('ALTER TABLE public.wanted ADD COLUMN extra integer');
    await ddl.end();
    let wanted = true;
    // Each further VACUUM is ended in the same way, so that the fill ends within the test's time.
    const others = (async () => {
      const other = await cluster.client();
      while (wanted) {
        await other.query('BEGIN; LOCK TABLE public.wanted IN SHARE MODE; COMMIT');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await other.end();
    })();
    const { result } = await filling;
    wanted = false;
    await others;
    t.equal(result.rowsFilled, 100_000);
    t.equal(await pendingRows(client, 'wanted'), 0);
    const text = await metrics.registry.metrics();
    t.match(text, /vacuums_total\{migration="wanted",outcome="cancelled"\} [1-9]/);
  });

  t.test('gives way to a reason to stand still', async (t) => {
    const job = await indexed(100_000, 'stopped');
    const metrics = new Metrics();
    let lost = false;
    await run(cluster, job, { metrics }, async ({ throttled }) => {
      if (!lost && (await vacuuming())) {
        lost = true;
        await client.query(`INSERT INTO pgtandem.standby (name) VALUES ('gone')`);
      }
      return throttled ? 'stop' : undefined;
    });
    await client.query('DELETE FROM pgtandem.standby');
    const text = await metrics.registry.metrics();
    t.match(text, /vacuums_total\{migration="stopped",outcome="cancelled"\} 1/);
    t.match(text, /throttled_seconds_total\{migration="stopped",reason="standby-lost"\} \d/);
  });

  t.test('ends with an abort', async (t) => {
    const job = await indexed(100_000, 'ended');
    const { result } = await run(cluster, job, {}, async () => {
      return (await vacuuming()) ? 'stop' : undefined;
    });
    t.equal(result.outcome, 'aborted');
    await until(
      'no VACUUM is left, long before it would be done',
      async () => !(await vacuuming()),
    );
  });

  t.test('ends when the process that asked for it is killed', async (t) => {
    const job = await indexed(100_000, 'orphaned');
    const script = join(import.meta.dirname, 'child.js');
    const child = spawn(process.execPath, [script, cluster.url(), JSON.stringify(job)]);
    await until('a VACUUM is under way', vacuuming);
    child.kill('SIGKILL');
    await until('no VACUUM is left', async () => !(await vacuuming()), 5_000);
    t.pass('it ended');
  });
});
