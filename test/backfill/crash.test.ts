import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import type { BackfillJob, ThrottleSettings } from '../../backfill/job.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { makeJob, pendingRows, randomFrom, run, until } from './setup.js';

const ROWS = 80_000;

/** Starts a process that fills; kills it `afterMs` after its first chunk. True: it was complete. */
async function fillUntilKilled(
  url: string,
  job: BackfillJob,
  after: { chunks: number; ms: number },
  settings: Partial<ThrottleSettings> = {},
): Promise<boolean> {
  const script = join(import.meta.dirname, 'child.js');
  const args = [script, url, JSON.stringify(job), JSON.stringify(settings)];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  // By chunks, since how long a fill takes depends on the machine; within one by time.
  let chunks = 0;
  let timer: NodeJS.Timeout | undefined;
  child.stdout!.on('data', (lines: Buffer) => {
    chunks += lines.toString('latin1').split('\n').length - 1;
    if (chunks >= after.chunks) timer ??= setTimeout(() => child.kill('SIGKILL'), after.ms);
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
      const after = () => ({ chunks: 1 + Math.floor(random() * 30), ms: random() * 10 });
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

  t.test('with the server goes on at a checkpoint that agrees with the rows', async (t) => {
    const job = await makeJob(cluster, ROWS, { table: 'crashed' });
    let crashed = false;
    await t.rejects(
      run(cluster, job, {}, async ({ blocksDone }) => {
        if (blocksDone < 100 || crashed) return undefined;
        crashed = true;
        await cluster.end('SIGKILL');
        return undefined;
      }),
    );
    await cluster.start();
    const client = await cluster.client();
    t.teardown(() => client.end());
    const { rows } = await client.query(
      `SELECT (SELECT count(*) FROM public.crashed WHERE id_new IS NOT NULL)::int AS filled,
         rows_filled::int AS counted FROM pgtandem.backfill WHERE migration_id = $1`,
      [job.migrationId],
    );
    t.comment(rows[0]);
    t.equal(rows[0].filled, rows[0].counted);
    const { result } = await run(cluster, job);
    t.same(result, { outcome: 'complete', pass: 1, rowsFilled: ROWS });
    t.equal(await pendingRows(client, 'crashed'), 0);
  });
});
