import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type pg from 'pg';
import t, { type Test } from 'tap';
import type { BackfillJob, ThrottleSettings } from '../../backfill/job.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { Metrics } from '../../metrics/registry.js';
import { Link } from './link.js';
import { makeJob, pendingRows, randomFrom, run, until } from './setup.js';

/**
 * What was broken on purpose, and which test saw it: a count that is not of the rows, the
 * checkpoint moved to the end of whatever stretch was filled, or with the first part of a stretch,
 * the rows of a stretch counted with its last part alone ("at any instant", each of them).
 */

const ROWS = 80_000;

/** After so many a fill is let come to its end: each costs the start of a process. */
const KILLS = 6;

/** Starts a process that fills; kills it so many stretches and milliseconds later. True: it was complete. */
async function fillUntilKilled(
  url: string,
  job: BackfillJob,
  after: { stretches: number; ms: number },
  settings: Partial<ThrottleSettings> = {},
): Promise<boolean> {
  const script = join(import.meta.dirname, 'child.js');
  const args = [script, url, JSON.stringify(job), JSON.stringify(settings)];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  // By stretches, since how long a fill takes depends on the machine; within one by time.
  let stretches = 0;
  let timer: NodeJS.Timeout | undefined;
  child.stdout!.on('data', (lines: Buffer) => {
    stretches += lines.toString('latin1').split('\n').length - 1;
    if (stretches >= after.stretches) timer ??= setTimeout(() => child.kill('SIGKILL'), after.ms);
  });
  const [code] = await ended;
  clearTimeout(timer);
  if (code !== null && code !== 0) throw new Error(`The child ended with ${code}`);
  return code === 0;
}

t.test('a fill that is killed', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());

  for (const fillWorkers of [1, 3]) {
    const name = `${fillWorkers} at once: at any instant goes on at the checkpoint, no row left out or twice`;
    t.test(name, async (t) => {
      const client = await cluster.client();
      t.teardown(() => client.end());
      const table = `killed${fillWorkers}`;
      const job = await makeJob(cluster, ROWS, { table });
      const seed = Date.now() % 1e9;
      t.comment(`seed ${seed}`);
      const random = randomFrom(seed);
      let kills = 0;
      // Each is up to twice as large as the one before: four of them are a fifth of the table.
      const stretches = () =>
        kills < KILLS ? 1 + Math.floor(random() * 4) : Number.POSITIVE_INFINITY;
      const after = () => ({ stretches: stretches(), ms: random() * 10 });
      while (!(await fillUntilKilled(cluster.url(), job, after(), { fillWorkers }))) {
        kills++;
        await until('its backends are gone', async () => {
          const { rows } = await client.query(
            `SELECT FROM pg_stat_activity WHERE application_name = 'pgtandem backfill'`,
          );
          return rows.length === 0;
        });
        // The rows that are filled are exactly those that the checkpoint counts: nothing is done
        // again. And nothing before it is left out.
        const { rows } = await client.query(
          `SELECT rows_filled::int AS counted, next_block::int AS block,
             (SELECT count(*) FROM public.${table} WHERE id_new IS NOT NULL)::int AS filled,
             (SELECT count(*) FROM public.${table} WHERE id_new IS NULL
                AND ctid < ('(' || next_block || ',0)')::tid)::int AS "leftOut"
           FROM pgtandem.backfill WHERE migration_id = $1`,
          [job.migrationId],
        );
        const { counted, filled, leftOut, block } = rows[0];
        t.equal(filled, counted, `after kill ${kills}: ${filled} rows, block ${block}`);
        t.equal(leftOut, 0);
      }
      t.ok(kills >= 2, `${kills} kills`);
      t.equal(await pendingRows(client, table), 0);
      const { rows } = await client.query(
        'SELECT rows_filled::int AS n FROM pgtandem.backfill WHERE migration_id = $1',
        [job.migrationId],
      );
      t.equal(rows[0].n, ROWS);
    });
  }

  for (const signal of ['SIGKILL', 'SIGQUIT'] as const) {
    const how = signal === 'SIGKILL' ? 'the server' : 'an immediate shutdown of the server';
    t.test(`with ${how} goes on at a checkpoint that agrees with the rows`, async (t) => {
      const job = await makeJob(cluster, ROWS, { table: signal.toLowerCase() });
      await fillUntilEnded(t, cluster, job, signal);
      await cluster.start();
      const client = await cluster.client();
      t.teardown(() => client.end());
      await counted(t, client, job);
      const { result } = await run(cluster, job);
      t.same(result, { outcome: 'complete', pass: 1, rowsFilled: ROWS });
      t.equal(await pendingRows(client, job.table.name), 0);
    });
  }
});

/** Fills until some of it is done, and ends the server then. */
async function fillUntilEnded(
  t: Test,
  cluster: Cluster,
  job: BackfillJob,
  signal: 'SIGKILL' | 'SIGQUIT',
): Promise<void> {
  let ended = false;
  await t.rejects(
    run(cluster, job, { settings: { chunkTargetMs: 10 } }, async ({ blocksDone }) => {
      if (blocksDone < 100 || ended) return undefined;
      ended = true;
      await cluster.end(signal);
      return undefined;
    }),
  );
}

/** The rows that are filled are exactly those that the checkpoint counts. */
async function counted(t: Test, client: pg.Client, job: BackfillJob): Promise<number> {
  const { rows } = await client.query(
    `SELECT (SELECT count(*) FROM public.${job.table.name} WHERE id_new IS NOT NULL)::int AS filled,
       coalesce((SELECT rows_filled FROM pgtandem.backfill WHERE migration_id = $1), 0)::int AS counted`,
    [job.migrationId],
  );
  t.equal(rows[0].filled, rows[0].counted, `${rows[0].filled} rows`);
  return rows[0].filled;
}

t.test('a standby that is promoted has rows and a checkpoint that agree', async (t) => {
  const primary = await Cluster.create();
  t.teardown(() => primary.destroy());
  const standby = await primary.standby('standby1');
  t.teardown(() => standby.destroy());
  const job = await makeJob(primary, ROWS);
  await fillUntilEnded(t, primary, job, 'SIGQUIT');
  const client = await standby.client();
  t.teardown(() => client.end());
  await client.query('SELECT pg_promote()');
  // It is not synchronous: the last chunks may be lost, with the checkpoint or not at all.
  const kept = await counted(t, client, job);
  t.ok(kept > 0 && kept < ROWS, `${kept} rows were replayed`);
  const { result } = await run(standby, job);
  t.match(result, { outcome: 'complete', rowsFilled: ROWS }, 'none left out, none filled twice');
  t.equal(await pendingRows(client), 0);
});

t.test(
  'a connection that is cut at a chunk loses that at most, whatever became of it',
  async (t) => {
    const rows = 20_000;
    const cluster = await Cluster.create();
    t.teardown(() => cluster.destroy());
    const link = await Link.open(cluster.port);
    t.teardown(() => link.close());
    const url = `postgres://postgres@127.0.0.1:${link.port}/postgres`;
    const client = await cluster.client();
    t.teardown(() => client.end());
    const job = await makeJob(cluster, rows);
    const settings = { chunkTargetMs: 2 };
    let before = 0;
    const outcomes = { before: 0, after: 0 };
    let unheard = 0;
    for (let n = 0; ; n++) {
      // Each boundary in turn: the first pass, the look at the plan, the statements that are prepared, and the
      // parts of a stretch, each of which is a transaction by itself.
      const where = n % 2 === 0 ? 'after' : 'before';
      let left = 1 + (n % 31);
      link.cut = (sent) => {
        const ends = ['COMMIT\0', 'PREPARE ', '/* fills '].some((each) => sent.includes(each));
        return ends && --left === 0 ? where : null;
      };
      const metrics = new Metrics();
      const outcome = await run(cluster, job, { url, settings, metrics }).then(
        ({ result }) => result.outcome,
        () => 'lost',
      );
      if (outcome === 'complete') break;
      await until('its backend is gone', async () => {
        const { rows } = await client.query(
          `SELECT FROM pg_stat_activity WHERE application_name = 'pgtandem backfill'`,
        );
        return rows.length === 0;
      });
      const { values } = await metrics.registry
        .getSingleMetric('pgtandem_backfill_rows_total')!
        .get();
      const heard = before + (values[0]?.value ?? 0);
      const filled = await counted(t, client, job);
      if (where === 'before')
        t.equal(filled, heard, 'what was heard of is there, and nothing else');
      else t.ok(filled >= heard, `${filled} rows are there, of ${heard} it was heard`);
      if (filled > heard) unheard++;
      outcomes[where]++;
      before = filled;
    }
    t.ok(outcomes.before > 5 && outcomes.after > 5, JSON.stringify(outcomes));
    t.ok(unheard > 3, `of ${unheard} chunks nobody heard that they were committed`);
    t.equal(await counted(t, client, job), rows);
    t.equal(await pendingRows(client), 0);
  },
);
