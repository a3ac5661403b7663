/**
 * Several workers on one table, on a real server. What was broken to see these tests fail:
 * - nobody says that the pass is at its end where the last chunks were under way together: nearly all;
 * - workers beyond the setting keep their connections: "become as many";
 * - a chunk does not look at the table's file: "begin again", with rows left out;
 * - a connection that is refused ends the run: "that cannot all connect";
 * - one chunk that waits for a row keeps all from going on: "go on beside a row";
 * - the look before each chunk left out where three workers run: "look at the signals again";
 * - a cancel on the connection that looks at the signals: "give way also";
 * - a connection is not asked which server it leads to: "of another server";
 * - the last progress is not told when a chunk ends while the question is asked: "become as many",
 *   on a busy machine.
 */
import type pg from 'pg';
import t from 'tap';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import type { Progress } from '../../backfill/progress.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { openerOf } from '../../db/connect.js';
import { Metrics } from '../../metrics/registry.js';
import { Link } from './link.js';
import { makeJob, pendingRows, randomFrom, run, until } from './setup.js';
import { filled, Watched } from './watched.js';

/** In the name of those whose work is none of the application's, and no reason to fill alone. */
const UNSEEN = `SET application_name = 'pgtandem test'`;

async function workersOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'pgtandem backfill'`,
  );
  return rows[0].n;
}

/** Chunks that run on the server now. */
async function chunksOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity
     WHERE application_name = 'pgtandem backfill' AND state <> 'idle'`,
  );
  return rows[0].n;
}

/** Chunks that are at a row which takes its time. */
async function sleepersOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity
     WHERE application_name = 'pgtandem backfill'
       AND wait_event = 'PgSleep' AND query LIKE '/* fills %'`,
  );
  return rows[0].n;
}

t.test('three workers on one table', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  await client.query(UNSEEN);

  t.test('fill each row once, no block by two at a time, while others write', async (t) => {
    const rows = 60_000;
    const job = await makeJob(cluster, rows, { table: 'busy' });
    // What each has filled, in which block, by the row's own trigger.
    await client.query(`
      CREATE TABLE public.fills (pid int, xid xid8, block int, id int, at timestamptz);
      CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.fills VALUES (pg_backend_pid(), pg_current_xact_id(),
          (OLD.ctid::text::point)[0], OLD.id, clock_timestamp());
        RETURN NEW; END $$;
      CREATE TRIGGER note BEFORE UPDATE ON public.busy FOR EACH ROW
        WHEN (current_setting('application_name') = 'pgtandem backfill') EXECUTE FUNCTION note()`);
    const seed = Date.now() % 1e9;
    t.comment(`seed ${seed}`);
    const random = randomFrom(seed);
    let stopped = false;
    let writes = 0;
    const write = async (number: number) => {
      const writer = await cluster.client();
      await writer.query(UNSEEN);
      for (let inserted = 0; !stopped; writes++) {
        const id = Math.ceil(random() * rows);
        const fresh = 100_000 * (number + 1) + ++inserted;
        await writer.query('BEGIN');
        // Each moves the row's version; all of them dual-write.
        await writer.query('UPDATE public.busy SET qty = qty + 1, id_new = id WHERE id = $1', [id]);
        await writer.query('INSERT INTO public.busy (id, id_new) VALUES ($1, $1::int)', [fresh]);
        if (random() < 0.2) await writer.query('DELETE FROM public.busy WHERE id = $1', [id]);
        await writer.query(random() < 0.3 ? 'ROLLBACK' : 'COMMIT');
      }
      await writer.end();
    };
    const writers = [0, 1].map(write);
    const settings = { fillWorkers: 3, chunkTargetMs: 20 };
    const { result, seen } = await run(cluster, job, { settings });
    stopped = true;
    await Promise.all(writers);
    t.equal(result.outcome, 'complete');
    t.equal(await pendingRows(client, 'busy'), 0);
    const { rows: found } = await client.query(`
      SELECT count(*)::int AS fills, count(DISTINCT id)::int AS ids,
        count(DISTINCT pid)::int AS pids, count(DISTINCT block)::int AS blocks FROM public.fills`);
    t.comment(found[0]);
    t.equal(found[0].fills, result.rowsFilled, 'as many as are counted');
    t.equal(found[0].ids, result.rowsFilled, 'each once');
    t.equal(found[0].pids, 3, 'by three');
    const { rows: both } = await client.query(`
      SELECT * FROM (SELECT block, xid, max(at) AS until, lead(min(at)) OVER w AS next
        FROM public.fills GROUP BY block, xid WINDOW w AS (PARTITION BY block ORDER BY min(at))) f
      WHERE next < until`);
    t.same(both, [], 'one after another in each block');
    const { rows: stretches } = await client.query(`
      SELECT count(*)::int AS n FROM (SELECT block FROM public.fills
        GROUP BY block HAVING count(DISTINCT xid) > 8) f`);
    t.equal(stretches[0].n, 0, 'no block in more than the eight parts of one stretch');
    t.ok(seen.some(({ workers, workersMax }) => workers === 3 && workersMax === 3));
    t.ok(writes > 50, `${writes} transactions meanwhile`);
  });

  t.test('become as many as they may be while they run, and fewer again', async (t) => {
    const job = await makeJob(cluster, 250_000, { table: 'scaled' });
    const held: ThrottleSettings = { ...DEFAULT_THROTTLE, chunkTargetMs: 5 };
    const watched = new Watched({ url: cluster.url(), job }, () => held);
    t.teardown(() => watched.stop());
    for (const fillWorkers of [1, 3, 2, 1]) {
      held.fillWorkers = fillWorkers;
      const before = watched.last?.blocksDone ?? 0;
      await until(`${fillWorkers} are at work, and get on`, async () => {
        const { workers = 0, workersMax = 0, blocksDone = 0 } = watched.last ?? {};
        if ((await workersOf(client)) !== fillWorkers || blocksDone <= before) return false;
        return workers === fillWorkers && workersMax === fillWorkers;
      });
      const text = await watched.metrics.registry.metrics();
      t.match(text, `pgtandem_backfill_workers{migration="scaled"} ${fillWorkers}\n`);
      t.ok(watched.last!.ratio < 1, `at ${watched.last!.ratio}`);
    }
    held.fillWorkers = 3;
    t.equal(await watched.ended, 'complete');
    t.equal(watched.last!.rowsFilled, 250_000);
    t.equal(await pendingRows(client, 'scaled'), 0);
    t.notMatch(await watched.metrics.registry.metrics(), /backfill_workers\{/);
  });

  t.test('begin again when the table gets another file', async (t) => {
    const job = await makeJob(cluster, 60_000, { table: 'rewritten' });
    let rewritten: Promise<unknown> | null = null;
    const settings = { fillWorkers: 3, chunkTargetMs: 5 };
    const { result, seen } = await run(cluster, job, { settings }, ({ blocksDone }) => {
      // Not waited for: chunks are under way, and wait for its lock.
      if (blocksDone > 150) rewritten ??= client.query('VACUUM FULL public.rewritten');
      return undefined;
    });
    await rewritten;
    t.equal(result.outcome, 'complete');
    t.equal(result.pass, 2);
    t.equal(result.rowsFilled, 60_000, 'what is filled is not filled again');
    t.ok(seen.some(({ pass, blocksDone }) => pass === 2 && blocksDone === 0));
    t.equal(await pendingRows(client, 'rewritten'), 0);
  });

  t.test('all stand still for a hard reason, and go on when it is gone', async (t) => {
    const job = await makeJob(cluster, 120_000, { table: 'stopped' });
    await client.query('CREATE TABLE public.enough (); GRANT SELECT ON public.enough TO public');
    const settings = {
      ...DEFAULT_THROTTLE,
      chunkTargetMs: 5,
      fillWorkers: 3,
      query: 'SELECT count(*) FROM public.enough',
    };
    const watched = new Watched({ url: cluster.url(), job }, () => settings);
    t.teardown(() => watched.stop());
    await until('three are at work', () => watched.last?.workers === 3);
    await client.query('INSERT INTO public.enough DEFAULT VALUES');
    await watched.stopped(/^query: /);
    await until('what was under way is over', async () => (await chunksOf(client)) === 0);
    const [before, seconds] = [await filled(client, job), watched.seconds('query')];
    await until('it has been counted', () => watched.seconds('query') > seconds + 0.3);
    t.equal(await filled(client, job), before, 'not a row meanwhile');
    t.ok(before > 0 && before < 120_000, `${before} rows were filled before`);
    t.equal(watched.last!.workers, 0);
    await client.query('DELETE FROM public.enough');
    t.equal(await watched.ended, 'complete');
    t.equal(watched.last!.rowsFilled, 120_000);
    t.equal(await pendingRows(client, 'stopped'), 0);
  });

  t.test('begin no more than one chunk each after the last look', async (t) => {
    const job = await makeJob(cluster, 120_000, { table: 'blind' });
    const metrics = new Metrics();
    const chunks = async () => {
      const text = await metrics.registry.metrics();
      return Number(/chunk_seconds_count\{.*\} (\d+)/.exec(text)?.[1] ?? 0);
    };
    let frozen = 0;
    t.teardown(() => frozen && process.kill(frozen, 'SIGCONT'));
    let before = 0;
    const settings = { fillWorkers: 3, chunkTargetMs: 5 };
    const steer = async (progress: Progress) => {
      if (progress.throttled?.name === 'stale') return 'stop';
      if (frozen || progress.blocksDone < 200) return undefined;
      const { rows } = await client.query(
        `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtandem backfill signals'`,
      );
      frozen = rows[0].pid;
      process.kill(frozen, 'SIGSTOP');
      before = await chunks();
      return undefined;
    };
    const { result } = await run(cluster, job, { metrics, settings }, steer);
    t.equal(result.outcome, 'aborted');
    const after = await chunks();
    t.ok(before > 0 && after - before <= 6, `${before} chunks before, ${after} in all`);
  });

  t.test('look at the signals again before each gets another chunk', async (t) => {
    const job = await makeJob(cluster, 120_000, { table: 'looked' });
    const link = await Link.open(cluster.port);
    t.teardown(() => link.close());
    let [chunks, looks, inARow, most] = [0, 0, 0, 0];
    link.cut = (sent) => {
      if (sent.includes('/* fills ')) {
        chunks++;
        most = Math.max(most, ++inARow);
      } else if (sent.includes('look ')) {
        looks++;
        inARow = 0;
      }
      return null;
    };
    const url = `postgres://postgres@127.0.0.1:${link.port}/postgres`;
    const { result, seen } = await run(cluster, job, {
      url,
      settings: { fillWorkers: 3, chunkTargetMs: 2 },
    });
    t.equal(result.outcome, 'complete');
    t.ok(seen.some(({ workers }) => workers === 3));
    t.comment(`${chunks} chunks, ${looks} looks, ${most} chunks in a row`);
    t.ok(chunks > 60, `${chunks} chunks`);
    // One for each, and those of the round before where the relay reads a look's connection late.
    t.ok(most <= 6, `${most} without a look`);
  });

  t.test('go on beside a row that is locked for long, and name its holder at last', async (t) => {
    const job = await makeJob(cluster, 60_000, { table: 'locked' });
    const holder = await cluster.client();
    t.teardown(() => holder.end());
    await holder.query(`SET application_name = 'billing'`);
    await holder.query('BEGIN; SELECT FROM public.locked WHERE id = 2500 FOR UPDATE');
    let named = '';
    let beside = 0;
    const settings = { fillWorkers: 2, chunkTargetMs: 10 };
    const { result } = await run(cluster, job, { settings }, async (progress) => {
      if (named || !progress.throttled?.text.includes('billing')) return undefined;
      named = progress.throttled.text;
      beside = progress.rowsFilled;
      const { rows } = await client.query(
        'SELECT next_block::int AS block FROM pgtandem.backfill WHERE migration_id = $1',
        [job.migrationId],
      );
      t.ok(rows[0].block < 40, `the checkpoint stays before it, at ${rows[0].block}`);
      await holder.query('COMMIT');
      return undefined;
    });
    t.match(named, /^lock-wait: blocks? \d+.* given up \d+ times .*55P03\), locked by .*billing/);
    t.ok(beside > 50_000, `${beside} rows were filled beside it`);
    t.equal(result.rowsFilled, 60_000);
    t.equal(await pendingRows(client, 'locked'), 0);
  });

  t.test('all give way to who waits for the table', async (t) => {
    const job = await makeJob(cluster, 20_000, { table: 'wanted' });
    // No chunk ends by itself.
    job.set[0]!.value = `"id"::bigint + 0 * length(pg_sleep(5)::text)`;
    const settings = { ...DEFAULT_THROTTLE, chunkTargetMs: 100_000, fillWorkers: 3 };
    const watched = new Watched({ url: cluster.url(), job }, () => settings);
    t.teardown(() => watched.stop());
    // Not only begun: one that does not hold the table yet would wait behind the LOCK; nor only holding it, as
    // the question for a chunk's plan does too.
    await until('three rows are being filled', async () => (await sleepersOf(client)) === 3);
    await client.query('BEGIN; LOCK TABLE public.wanted IN ACCESS EXCLUSIVE MODE');
    t.ok(true, 'it has got it');
    await client.query('COMMIT');
    await until('all are counted', async () => {
      const text = await watched.metrics.registry.metrics();
      const count = /retries_total\{migration="wanted",sqlstate="57014"\} (\d+)/.exec(text);
      return Number(count?.[1] ?? 0) >= 3;
    });
    t.equal(await watched.stop(), 'aborted');
    await until('nothing is under way', async () => (await workersOf(client)) === 0);
  });

  t.test('give way also while a look at the signals does not come back', async (t) => {
    const job = await makeJob(cluster, 2_000, { table: 'muted' });
    job.set[0]!.value = `"id"::bigint + 0 * length(pg_sleep(5)::text)`;
    const settings = { ...DEFAULT_THROTTLE, chunkTargetMs: 100_000 };
    const watched = new Watched({ url: cluster.url(), job }, () => settings);
    t.teardown(() => watched.stop());
    await until('a row is being filled', async () => (await sleepersOf(client)) === 1);
    const { rows } = await client.query(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtandem backfill signals'`,
    );
    let frozen: number = rows[0].pid;
    process.kill(frozen, 'SIGSTOP');
    t.teardown(() => frozen && process.kill(frozen, 'SIGCONT'));
    await client.query(`SET lock_timeout = '20s'`);
    await client.query('BEGIN; LOCK TABLE public.muted IN ACCESS EXCLUSIVE MODE');
    t.ok(true, 'it has got it');
    await client.query('COMMIT; RESET lock_timeout');
    process.kill(frozen, 'SIGCONT');
    frozen = 0;
    t.equal(await watched.stop(), 'aborted');
  });

  t.test('of another server than the one that is asked for do nothing', async (t) => {
    const job = await makeJob(cluster, 1_000, { table: 'elsewhere' });
    const options = { url: cluster.url(), job, instance: 'another server' };
    await t.rejects(new Watched(options, () => DEFAULT_THROTTLE).ended, { name: 'StrayError' });
    t.equal(await filled(client, job), 0);
    await until('no connection is left', async () => {
      const { rows } = await client.query(
        `SELECT FROM pg_stat_activity WHERE application_name LIKE 'pgtandem backfill%'`,
      );
      return rows.length === 0;
    });
    // Behind one address: the first connection says which server it is.
    const other = await Cluster.create();
    t.teardown(() => other.destroy());
    const link = await Link.open(cluster.port);
    t.teardown(() => link.close());
    const open = openerOf(`postgres://postgres@127.0.0.1:${link.port}/postgres`);
    const first = await open('test');
    t.teardown(() => first.end());
    link.to = other.port;
    await t.rejects(open('test'), { name: 'StrayError' });
  });

  t.test('that cannot all connect fill with those who can', async (t) => {
    const job = await makeJob(cluster, 60_000, { table: 'few' });
    await client.query(`CREATE ROLE filler LOGIN CONNECTION LIMIT 3; GRANT pg_monitor TO filler;
      ALTER TABLE public.few OWNER TO filler; GRANT USAGE ON SCHEMA pgtandem TO filler;
      GRANT ALL ON ALL TABLES IN SCHEMA pgtandem TO filler`);
    const url = cluster.url('postgres', 'filler');
    const { result, seen } = await run(cluster, job, { url, settings: { fillWorkers: 3 } });
    t.same(result, { outcome: 'complete', pass: 1, rowsFilled: 60_000 });
    t.ok(seen.every(({ workers }) => workers <= 1));
    t.match(seen.at(-1)!.notes, [/^One more worker could not connect: .*too many connections/]);
  });
});
