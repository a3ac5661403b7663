/**
 * Partitions are filled one after another by runs of their own, and what is observed goes on over them.
 *
 * What was broken on purpose, and which test saw it: the catalogs are asked about the first table, a size is
 * of whichever table was asked about ("what is asked of the table"); a run closes what is its
 * caller's ("two runs": it does not end).
 */
import type pg from 'pg';
import t from 'tap';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import { SignalWatch } from '../../backfill/signals/watch.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { openerOf } from '../../db/connect.js';
import { Metrics } from '../../metrics/registry.js';
import { ALTER, SETUP } from '../migration/parts.js';
import { Plane } from '../migration/plane.js';
import { makeJob, pendingRows, run, until } from './setup.js';

const PROXY = '00000000-0000-4000-8000-000000000000';

t.test('signals of one table after another', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const { signal } = new AbortController();
  const metrics = new Metrics();
  const open = openerOf(cluster.url());
  const small = await makeJob(cluster, 1_000, { table: 'small' });
  const large = await makeJob(cluster, 50_000, { table: 'large' });
  const named = (oid: number) => ({ ...small, namedOid: oid });

  t.test('two runs use one, which is their caller’s to close', async (t) => {
    const watch = await SignalWatch.open(open, small, metrics);
    t.teardown(() => watch.close());
    const before = await signalsOf(client);
    t.equal(before.length, 1);
    for (const job of [small, large]) {
      const { result } = await run(cluster, job, { watch, metrics }, async () => {
        t.same(await signalsOf(client), before, job.table.name);
        return undefined;
      });
      t.equal(result.outcome, 'complete');
      t.equal(await pendingRows(client, job.table.name), 0);
    }
    t.same(await signalsOf(client), before, 'it is still there');
  });

  t.test('what is asked of the table is asked of the other one', async (t) => {
    const watch = await SignalWatch.open(open, small, metrics);
    t.teardown(() => watch.close());
    const settings: ThrottleSettings = { ...DEFAULT_THROTTLE, maxTableBytes: 1024 * 1024 };
    const observed = async (name: string) => {
      await watch.refresh(settings, performance.now(), 5_000, signal);
      return watch.signals(settings).find((one) => one.name === name)?.observed ?? null;
    };
    const known = async (what: string) =>
      until(what, async () => (await observed('table-size')) !== null);
    await known('the size of the small one is known');
    const bytes = (await observed('table-size'))!;
    watch.turnTo(large);
    // An answer about the small one is none about this.
    const sizes: number[] = [];
    await until('the size of the large one is known', async () => {
      const size = await observed('table-size');
      if (size !== null) sizes.push(size);
      return size !== null;
    });
    t.ok(bytes < 1024 * 1024 && sizes[0]! > 2 * 1024 * 1024, `${bytes}, ${sizes}`);

    t.equal(await observed('autovacuum'), 0);
    const other = await cluster.client();
    t.teardown(() => other.end());
    // Long enough to be seen: a tenth of a second for each block.
    await other.query('SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1');
    const vacuum = other.query('VACUUM (DISABLE_PAGE_SKIPPING) large').catch(() => undefined);
    await until('its VACUUM is seen', async () => (await observed('autovacuum')) === 1);
    watch.turnTo(small);
    t.equal(await observed('autovacuum'), 0, 'and is none of the small one');
    watch.turnTo(large);
    t.equal(await observed('autovacuum'), 1);
    const { processID } = other as unknown as { processID: number };
    await client.query('SELECT pg_cancel_backend($1)', [processID]);
    await vacuum;
  });

  t.test('the application’s latency is known from the first look at the next one on', async (t) => {
    const oid = 77;
    const settings = { ...DEFAULT_THROTTLE, latencyBaselineMs: 10 };
    let transactions = 0;
    const watch = await SignalWatch.open(open, named(oid), metrics);
    t.teardown(() => watch.close());
    await client.query(
      `INSERT INTO pgtandem.proxy (id, address, version, lease_until, epoch)
       VALUES ($1, '', '', clock_timestamp() + interval '1 hour', 0)`,
      [PROXY],
    );
    const observed = async () => {
      // As a proxy reports them: counts that only grow; 64 is 0.1 ms times 2^8 at most, and all are in it.
      transactions += 1_000;
      await client.query(
        `UPDATE pgtandem.proxy SET latency = $1, latency_at = clock_timestamp() WHERE id = $2`,
        [{ [oid]: { 64: transactions } }, PROXY],
      );
      await watch.refresh(settings, performance.now(), 5_000, signal);
      return watch.signals(settings).find(({ name }) => name === 'latency')!.observed;
    };
    t.equal(await observed(), 0, 'the first report is what was before');
    t.equal(await observed(), 0.01 * 2 ** (63.99 / 8));
    watch.turnTo(large);
    t.equal(await observed(), 0.01 * 2 ** (63.99 / 8), 'what was before is known');
  });
});

t.test('a partitioned table is filled with the signals looked at by one session', async (t) => {
  const cluster = await Cluster.create({ settings: { log_connections: 'on' } });
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  await plane.query(SETUP);
  await plane.start('leaves', ALTER);
  await plane.reach('leaves', 'ready');
  const sessions = (name: string) =>
    cluster.output.match(new RegExp(`authorized: .*application_name=${name}$`, 'gm'))?.length;
  t.equal(sessions('pgtandem backfill'), 5, 'a run for each of the partitions with rows');
  t.equal(sessions('pgtandem backfill signals'), 1);
  t.equal(sessions('pgtandem backfill cancels'), 1);
  const open = `SELECT FROM pg_stat_activity WHERE application_name LIKE 'pgtandem backfill%'`;
  await until('all have ended', async () => (await plane.query(open)).length === 0);
});

/** Backends that look at the signals. */
async function signalsOf(client: pg.Client): Promise<number[]> {
  const { rows } = await client.query(
    `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtandem backfill signals'`,
  );
  return rows.map(({ pid }) => pid as number);
}
