import t from 'tap';
import type { BackfillJob } from '../../backfill/job.js';
import type { Progress } from '../../backfill/progress.js';
import { describeProgress } from '../../backfill/words.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { Metrics } from '../../metrics/registry.js';
import { makeJob, pendingRows, run } from './setup.js';

/**
 * The progress of real runs. How far the estimates were off is printed and not asserted, since what
 * else the machine does is not the estimate's fault; account.test.ts asserts it under a clock of its own.
 *
 * What was broken on purpose: `spent` of the run before not taken over, and gauges not cleared (a restart).
 */

/** One row costs some tens of microseconds, so that a run of seconds needs no large table. */
const COSTLY = '"id"::bigint + 0 * length(md5(repeat("id"::text, 4000)))';

interface Seen {
  progress: Progress;
  atMs: number;
}

const errorsOf = (seen: readonly Seen[], endMs: number) =>
  seen
    .filter(({ progress: { ratio } }) => ratio >= 0.2 && ratio <= 0.95)
    .map(({ progress: { etaSeconds }, atMs }) => {
      const left = (endMs - atMs) / 1000;
      return Math.abs(etaSeconds! - left) / left;
    })
    .sort((a, b) => a - b);

t.test('progress', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const costly = async (table: string, rows: number): Promise<BackfillJob> => ({
    ...(await makeJob(cluster, rows, { table })),
    set: [{ column: 'id_new', value: COSTLY }],
  });

  for (const [what, table, settings] of [
    ['a quiet run', 'quiet', {}],
    [
      'a run that stands still a third of the time',
      'still',
      // Of every one and a half seconds the last half.
      {
        query: 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint % 1500 / 500 / 2',
      },
    ],
  ] as const) {
    t.test(`${what}: from 20% on there is an estimate of the end`, async (t) => {
      const job = await costly(table, 60_000);
      const seen: Seen[] = [];
      await run(cluster, job, { settings: { chunkTargetMs: 20, ...settings } }, (progress) => {
        seen.push({ progress, atMs: performance.now() });
        return undefined;
      });
      const endMs = performance.now();
      t.equal(await pendingRows(client, table), 0);
      const told = seen.filter(({ progress: { ratio } }) => ratio >= 0.2);
      const ages = told.filter(({ progress }) => progress.spent.fillingSeconds > 1);
      t.ok(ages.length > 0 && ages.every(({ progress }) => progress.etaSeconds !== null));
      const errors = errorsOf(ages, endMs);
      const at = (share: number) =>
        `${(errors[Math.floor((errors.length - 1) * share)]! * 100).toFixed(0)}%`;
      const { progress } = seen.at(-1)!;
      t.comment(`${what}: ${errors.length} estimates, error: median ${at(0.5)}, highest ${at(1)}`);
      t.comment(describeProgress(progress).join('; '));
      t.match(progress, { etaSeconds: 0, rowsLeft: 0, rowsFilled: 60_000 });
      const sum = Object.values(progress.shares).reduce((a, b) => a + b, 0);
      t.ok(Math.abs(sum - 1) < 1e-9, `the shares make one: ${JSON.stringify(progress.shares)}`);
      t.equal('query' in progress.shares, 'query' in settings);
    });
  }

  t.test(
    'a restart goes on with the account, and the numbers are there while it runs',
    async (t) => {
      const job = await costly('restarted', 40_000);
      const metrics = new Metrics();
      let text = '';
      const first = await run(
        cluster,
        job,
        { metrics, settings: { chunkTargetMs: 20 } },
        async (now) => {
          if (now.ratio < 0.5 || now.etaSeconds === null) return undefined;
          text = await metrics.expose();
          return 'stop';
        },
      );
      t.equal(first.result.outcome, 'aborted');
      const { blocksDone, blocksTotal, rowsFilled, spent } = first.seen.at(-1)!;
      for (const line of [
        `pgtandem_backfill_blocks{migration="restarted",state="done"} ${blocksDone}`,
        `pgtandem_backfill_blocks{migration="restarted",state="left"} ${blocksTotal - blocksDone}`,
        `pgtandem_backfill_rows{migration="restarted",state="done"} ${rowsFilled}`,
        'pgtandem_backfill_time_ratio{migration="restarted",reason="filling"} ',
        'pgtandem_backfill_eta_seconds{migration="restarted"} ',
        'pgtandem_backfill_rows_per_second{migration="restarted"} ',
      ]) {
        t.ok(text.includes(`\n${line}`), line);
      }
      const gone = await metrics.expose();
      t.notMatch(gone, /\npgtandem_backfill_(blocks|rows|time_ratio|eta_seconds|waiting)\{/);
      t.match(gone, /\npgtandem_backfill_progress_ratio\{migration="restarted"\} 0\.[5-9]/);

      const second = await run(cluster, job, { spent: JSON.parse(JSON.stringify(spent)) });
      const [begun] = second.seen;
      t.ok(begun!.spent.fillingSeconds >= spent.fillingSeconds, 'nothing is forgotten');
      t.ok(begun!.etaSeconds !== null && begun!.rowsPerSecond !== null, 'known from the start');
      const { rowsLeft } = begun!;
      const left = 40_000 - begun!.rowsFilled;
      t.ok(rowsLeft! > left * 0.8 && rowsLeft! < left * 1.2, `about ${rowsLeft} of ${left} rows`);
      t.equal(second.result.rowsFilled, 40_000);
      t.equal(await pendingRows(client, 'restarted'), 0);
    },
  );

  t.test('why it waits is a number too', async (t) => {
    const job = await makeJob(cluster, 1_000, { table: 'waits' });
    const metrics = new Metrics();
    const { seen } = await run(
      cluster,
      job,
      { metrics, settings: { query: 'SELECT 1' } },
      async (now) => {
        if (now.throttled?.name !== 'query') return undefined;
        const text = await metrics.expose();
        t.match(text, /\npgtandem_backfill_waiting\{migration="waits",reason="query"\} 1\n/);
        t.notMatch(text, /waiting\{migration="waits",reason="stale"/, 'and only the present one');
        return 'stop';
      },
    );
    t.ok(seen.length > 0);
  });
});
