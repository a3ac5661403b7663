import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { until } from '../backfill/setup.js';
import { Plane } from './plane.js';

/**
 * An autovacuum that is at work on the table all the time, as on a large table it is. It steps aside
 * for who has waited for deadlock_timeout, and DDL of ours may hold up the application for a third of
 * that, so each step has it gone before.
 *
 * What was broken on purpose, and where it showed: `awaitVacuum` not called for an ordinary table in
 * context.ts (it stays `expanding`), and in swap.ts (it stays `cutting-over`).
 */
t.test('an autovacuum steps aside for every step of a migration', async (t) => {
  const cluster = await Cluster.create({
    settings: { autovacuum: 'on', autovacuum_naptime: '1s', log_lock_waits: 'on' },
  });
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  // So slow that none would end within the test.
  await plane.query(`CREATE TABLE orders (id int PRIMARY KEY, amount int, pad text DEFAULT
      repeat('x', 500)) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
      autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
      autovacuum_analyze_threshold = 1000000000);
    INSERT INTO orders SELECT i, i FROM generate_series(1, 20000) i;
    UPDATE orders SET amount = amount + 1`);
  const atWork = () =>
    until('an autovacuum is at work on the table', async () => {
      const rows = await plane.query(
        `SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE l.granted
         AND a.backend_type = 'autovacuum worker' AND l.relation = 'orders'::regclass`,
      );
      return rows.length > 0;
    });
  const cancelled = () => cluster.output.match(/canceling autovacuum task/g)?.length ?? 0;
  await atWork();
  await plane.start('busy', 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint', {
    levels: { autovacuum: 'off' },
  });
  await plane.reach('busy', 'ready');
  const expanding = cancelled();
  t.ok(expanding >= 1, 'it was at work when the columns were added');
  await plane.query('UPDATE orders SET amount = amount + 1 WHERE id % 2 = 0');
  await atWork();
  await plane.ask('busy', 'cutover', 'soaking');
  const swapping = cancelled();
  t.ok(swapping > expanding, 'and when the cutover was taken');
  await atWork();
  await plane.ask('busy', 'complete', 'completed');
  t.ok(cancelled() > swapping, 'and when the old column was dropped');
});
