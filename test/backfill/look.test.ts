/**
 * What was broken to see this test fail: any look of the last 250 ms serves, whenever it began. Then
 * many chunks are filled after the observation stood still.
 */
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { Metrics } from '../../metrics/registry.js';
import { makeJob, run } from './setup.js';

t.test('the look at the signals', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const backend = async () => {
    const { rows } = await client.query(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtandem backfill signals'`,
    );
    return rows[0].pid as number;
  };

  t.test('when it stands still no chunk is begun on an old look', async (t) => {
    const job = await makeJob(cluster, 60_000, { table: 'blind' });
    const metrics = new Metrics();
    const chunks = async () => {
      const text = await metrics.registry.metrics();
      return Number(/chunk_seconds_count\{.*\} (\d+)/.exec(text)?.[1] ?? 0);
    };
    let frozen = 0;
    t.teardown(() => frozen && process.kill(frozen, 'SIGCONT'));
    let before = 0;
    const settings = { chunkTargetMs: 5 };
    const { result } = await run(cluster, job, { metrics, settings }, async (progress) => {
      if (progress.throttled?.name === 'stale') return 'stop';
      if (frozen || progress.blocksDone < 50) return undefined;
      // No chunk is under way now. The look for the next one may have been taken already.
      frozen = await backend();
      process.kill(frozen, 'SIGSTOP');
      before = await chunks();
      return undefined;
    });
    t.equal(result.outcome, 'aborted');
    const after = await chunks();
    t.ok(before > 0 && after - before <= 1, `${before} chunks before, ${after} in all`);
  });
});
