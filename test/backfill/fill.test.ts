import t from 'tap';
import { runBackfill } from '../../backfill/engine.js';
import { choosePlan } from '../../backfill/fill.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { Session } from '../../backfill/session.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { Metrics } from '../../metrics/registry.js';
import { makeJob, pendingRows, randomFrom, run, until } from './setup.js';

for (const major of [14, 18]) {
  t.test(`on PostgreSQL ${major}`, async (t) => {
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const client = await cluster.client();
    t.teardown(() => client.end());

    t.test('fills every row once, and a second time nothing', async (t) => {
      const job = await makeJob(cluster, 20_000, { table: 'basic' });
      const metrics = new Metrics();
      const { result, seen } = await run(cluster, job, { metrics });
      t.same(result, { outcome: 'complete', pass: 1, rowsFilled: 20_000 });
      t.equal(await pendingRows(client, 'basic'), 0);
      t.match(seen.at(-1), { ratio: 1, etaSeconds: 0, throttled: null, retries: 0, notes: [] });
      const text = await metrics.registry.metrics();
      t.match(text, /pgtandem_backfill_rows_total\{migration="basic"\} 20000\n/);
      t.match(text, /pgtandem_backfill_progress_ratio\{migration="basic"\} 1\n/);

      const again = await run(cluster, job);
      t.same(again.result, result, 'it is complete');
      await client.query('UPDATE pgtandem.backfill SET next_block = 0');
      const third = await run(cluster, job);
      t.equal(third.result.rowsFilled, 20_000, 'filled chunks have nothing left to fill');
    });

    t.test('an empty table is complete at once', async (t) => {
      const job = await makeJob(cluster, 0, { table: 'empty' });
      t.equal((await run(cluster, job)).result.outcome, 'complete');
    });

    t.test('an abort ends it soon, and the next run goes on at the checkpoint', async (t) => {
      const job = await makeJob(cluster, 20_000, { table: 'paused' });
      const first = await run(cluster, job, {}, ({ blocksDone }) =>
        blocksDone > 50 ? 'stop' : undefined,
      );
      const { rows } = await client.query(
        'SELECT next_block::int AS block FROM pgtandem.backfill WHERE migration_id = $1',
        [job.migrationId],
      );
      t.equal(first.result.outcome, 'aborted');
      const left = await pendingRows(client, 'paused');
      t.equal(left, 20_000 - first.result.rowsFilled);
      t.ok(left > 0);
      const second = await run(cluster, job);
      t.ok(rows[0].block > 0 && second.seen[0]!.blocksDone >= rows[0].block, 'at the checkpoint');
      t.same(second.result, { outcome: 'complete', pass: 1, rowsFilled: 20_000 });
      t.equal(await pendingRows(client, 'paused'), 0);
    });

    t.test('a table that gets another file in the midst is begun again', async (t) => {
      const job = await makeJob(cluster, 20_000, { table: 'rewritten' });
      let rewritten = false;
      const { result, seen } = await run(cluster, job, {}, async ({ blocksDone }) => {
        if (blocksDone < 50 || rewritten) return undefined;
        rewritten = true;
        await client.query('VACUUM FULL public.rewritten');
        return undefined;
      });
      t.equal(result.outcome, 'complete');
      t.equal(result.pass, 2);
      t.ok(
        seen.some(({ pass, blocksDone }) => pass === 2 && blocksDone === 0),
        'from block 0',
      );
      t.equal(await pendingRows(client, 'rewritten'), 0);
    });

    t.test('a table that got another file between two runs is begun again', async (t) => {
      const job = await makeJob(cluster, 20_000, { table: 'between' });
      await run(cluster, job, {}, ({ blocksDone }) => (blocksDone > 50 ? 'stop' : undefined));
      await client.query('VACUUM FULL public.between');
      t.match((await run(cluster, job)).result, { outcome: 'complete', pass: 2 });
      t.equal(await pendingRows(client, 'between'), 0);
    });

    t.test('a file that is replaced while a chunk waits for the table is noticed', async (t) => {
      const job = await makeJob(cluster, 20_000, { table: 'raced' });
      const holder = await cluster.client();
      let waited: Promise<void> | null = null;
      const { result } = await run(
        cluster,
        job,
        // The chunk waits for its lock as long as a chunk may take: long enough for the test.
        { settings: { chunkTargetMs: 1_000 } },
        async ({ blocksDone }) => {
          // The next chunk is the last: no later one can notice what this one overlooks.
          if (blocksDone < 100 || waited) return undefined;
          await holder.query('BEGIN; ALTER TABLE public.raced ALTER COLUMN qty TYPE bigint');
          waited = until('a chunk waits', async () => {
            const { rows } = await client.query('SELECT FROM pg_locks WHERE NOT granted');
            return rows.length > 0;
          }).then(async () => void (await holder.query('COMMIT')));
          return undefined;
        },
      );
      await waited;
      await holder.end();
      t.match(result, { outcome: 'complete', pass: 2 });
      t.equal(await pendingRows(client, 'raced'), 0);
    });

    t.test('writers that keep the invariant are neither lost nor kept waiting', async (t) => {
      // The strictest default isolation: the fill must not inherit it.
      await client.query(
        `ALTER DATABASE postgres SET default_transaction_isolation = serializable`,
      );
      const job = await makeJob(cluster, 60_000, { table: 'busy' });
      const seed = Date.now() % 1e9;
      t.comment(`seed ${seed}`);
      const random = randomFrom(seed);
      let stopped = false;
      let writes = 0;
      const write = async (number: number) => {
        const writer = await cluster.client();
        let inserted = 0;
        while (!stopped) {
          const id = Math.ceil(random() * 60_000);
          const fresh = 100_000 * (number + 1) + ++inserted;
          await writer.query('BEGIN ISOLATION LEVEL READ COMMITTED');
          // Each moves the row's version; all of them dual-write.
          await writer.query(
            'UPDATE public.busy SET qty = qty + 1, id_new = id::bigint WHERE id = $1',
            [id],
          );
          await writer.query('INSERT INTO public.busy (id, id_new) VALUES ($1, $1::int)', [fresh]);
          if (random() < 0.5) {
            await writer.query('UPDATE public.busy SET id = $2, id_new = $2::int WHERE id = $1', [
              fresh,
              -fresh,
            ]);
          }
          if (random() < 0.5) {
            // To the other end of the keys or back, past wherever the fill is; now here, now there.
            await writer.query(
              'UPDATE public.busy SET id = 90000000 - id, id_new = 90000000 - id WHERE id = $1',
              [random() < 0.5 ? id : 90_000_000 - id],
            );
          }
          if (random() < 0.1) {
            await writer.query('DELETE FROM public.busy WHERE id = $1', [fresh]);
          }
          await writer.query(random() < 0.3 ? 'ROLLBACK' : 'COMMIT');
          writes++;
        }
        await writer.end();
      };
      const writers = [0, 1, 2].map(write);
      const metrics = new Metrics();
      const { result } = await run(cluster, job, { metrics, settings: { chunkTargetMs: 30 } });
      stopped = true;
      await Promise.all(writers);
      await client.query(`ALTER DATABASE postgres RESET default_transaction_isolation`);
      t.equal(result.outcome, 'complete');
      t.equal(await pendingRows(client, 'busy'), 0);
      t.notMatch(await metrics.registry.metrics(), 'sqlstate="40001"', 'no serialization failure');
      t.ok(writes > 50, `${writes} transactions meanwhile`);
      const { rows } = await client.query(
        'SELECT count(*)::int AS n FROM public.busy WHERE id > 80000000',
      );
      t.ok(rows[0].n > 5, `${rows[0].n} keys at the other end`);
    });

    t.test('a row that is locked for long is waited for, with its holder named', async (t) => {
      const job = await makeJob(cluster, 5_000, { table: 'locked' });
      const holder = await cluster.client();
      await holder.query(`SET application_name = 'billing'`);
      await holder.query('BEGIN');
      await holder.query('SELECT FROM public.locked WHERE id = 2500 FOR UPDATE');
      const { rows } = await holder.query('SELECT pg_backend_pid() AS pid');
      let named = '';
      const metrics = new Metrics();
      const { result, seen } = await run(cluster, job, { metrics }, async ({ throttled }) => {
        if (named || !throttled?.text.includes('billing')) return undefined;
        named = throttled.text;
        await holder.query('COMMIT');
        return undefined;
      });
      await holder.end();
      t.match(
        named,
        /^lock-wait: blocks? \d+.* given up \d+ times in \d\.\d s \(55P03\), locked by /,
      );
      t.match(named, `pid ${rows[0].pid} (billing)`);
      t.equal(result.rowsFilled, 5_000);
      t.equal(await pendingRows(client, 'locked'), 0);
      t.ok(seen.at(-1)!.retries >= 3);
      t.ok(seen.at(-1)!.spent.throttledSeconds['lock-wait']! > 0);
      const text = await metrics.registry.metrics();
      t.match(text, /pgtandem_backfill_retries_total\{migration="locked",sqlstate="55P03"\} \d/);
    });

    t.test('a lock on the table is waited for, with its holder named', async (t) => {
      const job = await makeJob(cluster, 1_000, { table: 'held' });
      const holder = await cluster.client();
      await holder.query(
        `SET application_name = 'reindex'; BEGIN; LOCK TABLE public.held IN SHARE MODE`,
      );
      let named = false;
      const { result } = await run(cluster, job, {}, async ({ throttled }) => {
        if (named || !throttled?.text.includes('(reindex)')) return undefined;
        named = true;
        await holder.query('COMMIT');
        return undefined;
      });
      await holder.end();
      t.ok(named);
      t.equal(result.rowsFilled, 1_000);
    });

    t.test('a lost connection is an error, and the next run goes on', async (t) => {
      const job = await makeJob(cluster, 20_000, { table: 'cut' });
      for (const role of ['backfill', 'backfill signals']) {
        await t.rejects(
          run(cluster, job, {}, async () => {
            await client.query(
              'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1',
              [`pgtandem ${role}`],
            );
            return undefined;
          }),
        );
      }
      const { result } = await run(cluster, job);
      t.same(result, { outcome: 'complete', pass: 1, rowsFilled: 20_000 });
      t.equal(await pendingRows(client, 'cut'), 0);
    });

    t.test('an abort cancels the chunk that is under way', async (t) => {
      const job = await makeJob(cluster, 5_000, { table: 'slow' });
      job.set[0]!.value = `"id"::bigint + 0 * length(pg_sleep(0.5)::text)`;
      const abort = new AbortController();
      const running = run(cluster, job, {
        signal: abort.signal,
        settings: { chunkTargetMs: 60_000 },
      });
      await until('a chunk is under way', async () => {
        const { rows } = await client.query(
          `SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '/* fills %slow%EXECUTE%'
             AND pid <> pg_backend_pid()`,
        );
        return rows.length > 0;
      });
      abort.abort();
      // Not ended, it would sleep for longer than this test may take.
      t.equal((await running).result.outcome, 'aborted');
      t.equal(await pendingRows(client, 'slow'), 5_000);
    });

    t.test('a consumer that breaks off ends it', async (t) => {
      const job = await makeJob(cluster, 5_000, { table: 'broken' });
      const signal = new AbortController().signal;
      const settings = () => DEFAULT_THROTTLE;
      const options = { url: cluster.url(), job, settings, metrics: new Metrics(), signal };
      for await (const { blocksTotal } of runBackfill(options)) {
        t.ok(blocksTotal > 0);
        break;
      }
    });

    t.test('leaves no connection behind', async (t) => {
      const left = async () => {
        const { rows } = await client.query(
          `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name LIKE 'pgtandem%'`,
        );
        return rows[0].n;
      };
      await until('its connections are gone', async () => (await left()) === 0);
      t.equal(await left(), 0);
    });

    t.test('never reads the whole table, whatever its statistics say', async (t) => {
      const rows = 20_000;
      // What a session did is told when it ends, at the latest.
      const scans = async (table: string, updated: number) => {
        let found = { whole: 0, byIndex: 0, updated: 0, inserted: 0 };
        await until('the statistics are there', async () => {
          const { rows: all } = await client.query(
            `SELECT seq_scan::int AS whole, coalesce(idx_scan, 0)::int AS "byIndex",
               n_tup_upd::int AS updated, n_tup_ins::int AS inserted
             FROM pg_stat_all_tables WHERE relname = $1`,
            [table],
          );
          found = all[0];
          return found.updated === updated && found.inserted === rows;
        });
        return { whole: found.whole, byIndex: found.byIndex };
      };
      const insert = (table: string) =>
        `INSERT INTO public.${table} (id) SELECT i FROM generate_series(1, ${rows}) AS i;`;
      const cases = {
        never_analysed: (table: string) => insert(table),
        analysed_when_empty: (table: string) => `ANALYZE public.${table}; ${insert(table)}`,
        analysed_when_filled: (table: string) =>
          `${insert(table)} CREATE INDEX ON public.${table} (id_new);
           UPDATE public.${table} SET id_new = id; ANALYZE public.${table};
           UPDATE public.${table} SET id_new = NULL`,
      };
      for (const [table, sql] of Object.entries(cases)) {
        const job = await makeJob(cluster, 0, { table });
        const own = await cluster.client();
        await own.query(`ALTER TABLE public.${table} SET (autovacuum_enabled = off)`);
        await own.query(sql(table));
        await own.end();
        const updated = table === 'analysed_when_filled' ? 2 * rows : 0;
        const before = await scans(table, updated);
        const { result } = await run(cluster, job);
        t.equal(result.rowsFilled, rows);
        t.same(await scans(table, updated + rows), before, table);
      }
    });

    t.test('reads a range of blocks also when an index seems to serve the predicate', async (t) => {
      const job = await makeJob(cluster, 200_000, { table: 'tempting' });
      job.pending = '("id_new" IS NULL)';
      await client.query('UPDATE public.tempting SET id_new = id WHERE id > 1');
      await client.query('CREATE INDEX ON public.tempting (id_new)');
      await client.query('VACUUM ANALYZE public.tempting');
      const connection = await connect({ url: cluster.url(), role: 'test' });
      const session = await Session.on(connection, job);
      const settings = await choosePlan(session, { lockMs: 100, statementMs: 1_000 });
      const { rows } = await connection.query('SHOW enable_indexscan');
      await connection.end();
      t.equal(settings.enable_indexscan, 'off', 'the settings of last resort');
      t.equal(rows[0].enable_indexscan, 'on', 'and only within the transaction');
      t.equal((await run(cluster, job)).result.rowsFilled, 1);
    });
  });
}
