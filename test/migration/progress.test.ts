import t from 'tap';
import type { Spent } from '../../backfill/account.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { describeList, describeMigration } from '../../cli/print.js';
import { type Migration, readHistory } from '../../migration/store.js';
import { untilMigration } from './drive.js';
import { Plane } from './plane.js';

/**
 * What was broken on purpose: `spent` not handed to the next run.
 */

t.test(
  'a backfill’s progress is told by status and log, and outlives the coordinator',
  async (t) => {
    const cluster = await Cluster.create();
    t.teardown(() => cluster.destroy());
    const lines: string[] = [];
    const note = (_: object, message: string) => lines.push(message);
    const log = { info: note, warn: note, error: note };
    let plane = await Plane.open(cluster, 'postgres', log);
    t.teardown(() => plane.close());
    await plane.query(`CREATE TABLE orders (id serial PRIMARY KEY, amount int);
    INSERT INTO orders (amount) SELECT i FROM generate_series(1, 1000) i`);
    // A standby that is not there holds it back until the test is done.
    await plane.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
    await plane.start('m', 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint');
    const url = cluster.url();
    const spentOf = ({ progress }: { progress: Record<string, unknown> }) =>
      (progress.backfill as { spent?: Spent } | undefined)?.spent;
    const stillFor = (seconds: number) =>
      untilMigration(
        url,
        'm',
        (m) => (spentOf(m)?.throttledSeconds['standby-lost'] ?? 0) > seconds,
      );
    const waiting = await stillFor(1);

    t.match(describeList([waiting]), / 0%, waiting: standby-lost: ghost is not streaming /);
    const status = describeMigration(waiting, await readHistory(plane.control, waiting.id));
    t.match(status, /\n {2}backfill {2}0%: 0 rows done\n/);
    t.match(status, /\n {12}waiting: standby-lost: ghost is not streaming\n/);
    t.match(status, /\n {12}\d\.\d s so far: standby-lost \d+%/);
    t.match(
      lines.join('\n'),
      /^backfill 0%: 0 rows done; waiting: standby-lost: ghost is not streaming/m,
    );

    await plane.close();
    const secondsOf = (migration: Migration) =>
      spentOf(migration)!.throttledSeconds['standby-lost'] ?? 0;
    const before = secondsOf(await untilMigration(url, 'm', () => true));
    plane = await Plane.open(cluster, 'postgres', log);
    const later = await untilMigration(url, 'm', (m) => secondsOf(m) !== before);
    t.ok(secondsOf(later) > before, 'the seconds of the coordinator before are there');

    await plane.query(`DELETE FROM pgtandem.standby WHERE name = 'ghost'`);
    const ready = await plane.reach('m', 'ready');
    t.ok(secondsOf(ready) > before);
    t.match(ready.progress.backfill, {
      ratio: 1,
      rowsFilled: 1000,
      throttled: null,
      etaSeconds: 0,
    });
    const after = describeMigration(ready, []);
    t.match(after, /\n {2}backfill {2}\d+\.\d s so far: standby-lost \d+%/);
    t.match(lines.join('\n'), /^backfill done; \d+\.\d s so far: standby-lost/m);
  },
);
