/**
 * A step of a migration that fails for what may pass by itself, on a real server. What was broken to see this test
 * fail: each failure counts as the first one; a pause forgets nothing; what was told of it is not taken back.
 */
import { EventEmitter, once } from 'node:events';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { describeMigration } from '../../cli/print.js';
import { snapshot } from '../../cli/watch.js';
import type { Log } from '../../migration/context.js';
import type { Failing } from '../../migration/failures.js';
import { type Migration, setPaused } from '../../migration/store.js';
import { until } from '../backfill/setup.js';
import { untilMigration } from './drive.js';
import { Plane } from './plane.js';

/** Has every change of a migration's phase fail, with an error that passes. */
const FAILING = `
  CREATE FUNCTION public.not_now() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'not now' USING ERRCODE = 'serialization_failure'; END $$;
  CREATE TRIGGER not_now BEFORE UPDATE OF phase ON pgtandem.migration
    FOR EACH ROW EXECUTE FUNCTION public.not_now()`;

/** Waits until the coordinator has read the migrations as they are now. */
async function untilLooked(plane: Plane): Promise<void> {
  const [{ now }] = (await plane.query('SELECT clock_timestamp()::text AS now')) as [
    { now: string },
  ];
  await until('the coordinator looked', async () => {
    const looks = await plane.query(
      `SELECT FROM pg_stat_activity WHERE application_name = 'pgtandem coordinator'
         AND state = 'idle' AND query LIKE '%FROM pgtandem.migration ORDER BY id'
         AND query_start > $1::timestamptz`,
      [now],
    );
    return looks.length > 0;
  });
}

t.test(
  'a step that fails is tried again more and more slowly, and at once after a pause',
  async (t) => {
    const cluster = await Cluster.create();
    t.teardown(() => cluster.destroy());
    const told = new EventEmitter();
    const waits: number[] = [];
    const log: Log = {
      info: (fields) => {
        if (!('againMs' in fields)) return;
        waits.push(Number(fields.againMs));
        told.emit(`${waits.length}`);
      },
      warn: () => undefined,
      error: () => undefined,
    };
    const plane = await Plane.open(cluster, 'postgres', log);
    t.teardown(() => plane.close());
    await plane.query('CREATE TABLE public.t (id int PRIMARY KEY, n int)');
    await plane.query(FAILING);
    const second = once(told, '2');
    const { id } = await plane.start('m', 'ALTER TABLE t ALTER COLUMN n TYPE bigint');
    await second;
    t.same(waits, [1_000, 2_000], 'twice as long after the second failure');
    const times = ({ progress }: Migration) => (progress.failing as Failing | null)?.times;
    const failing = await untilMigration(plane.url, 'm', (now) => times(now) === 2);
    t.equal(snapshot(failing).throttled, 'fails: not now', 'the progress view');
    const status = describeMigration(failing, []);
    t.match(status, /^ {2}fails {5}planned: not now\n {12}2 times in a row, the last time at 20/m);
    t.match(status, /Z; tried again 2s after that$/m);

    const third = once(told, '3');
    await setPaused(plane.control, id, 'by hand');
    await untilLooked(plane);
    await setPaused(plane.control, id, null);
    await third;
    t.equal(waits[2], 1_000, 'whoever resumes it begins anew');

    t.match(
      await plane.metrics.expose(),
      'pgtandem_step_failures_total{migration="m",phase="planned"} 3',
    );

    await plane.query('DROP TRIGGER not_now ON pgtandem.migration');
    const { phase } = await plane.reach('m', 'ready');
    t.equal(phase.name, 'ready', 'it goes on by itself when the reason is gone');
    const going = await untilMigration(plane.url, 'm', (now) => times(now) === undefined);
    t.notMatch(describeMigration(going, []), /fails/, 'and the status says so');
  },
);
