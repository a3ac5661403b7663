import t from 'tap';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { Link } from './link.js';
import { makeJob, pendingRows, until } from './setup.js';
import { makeStops } from './stops.js';
import { filled, Watched } from './watched.js';

/**
 * A primary with two standbys, one of them behind a link that can be made slow: the one that is in
 * trouble is named, however well the other does, no more is written than a chunk beyond the limit, and
 * it goes on by itself.
 *
 * What was broken on purpose, and which test saw it: the first standby alone counts, the lag in time 0, a
 * standby that is not remembered, or not missed, the mildest reason told ("each in its own trouble"); the lag in bytes 0 or a tenth
 * of what it is ("a slow link"); an attempt to archive that failed is no reason ("archive_command"); who holds the table is
 * not asked ("a session that has the table"); slots retain nothing, or a tenth, or are not asked for ("WAL that a slot retains").
 */

t.test('a primary with two standbys', async (t) => {
  const primary = await Cluster.create({
    settings: { archive_mode: 'on', archive_command: 'true' },
  });
  t.teardown(() => primary.destroy());
  const link = await Link.open(primary.port);
  t.teardown(() => link.close());
  const near = await primary.standby('near');
  t.teardown(() => near.destroy());
  const far = await primary.standby('far', {
    primary_conninfo: `host=127.0.0.1 port=${link.port} user=postgres application_name=far`,
  });
  t.teardown(() => far.destroy());
  const client = await primary.client();
  t.teardown(() => client.end());
  const url = primary.url();
  await until('both stream', async () => {
    const { rows } = await client.query(
      `SELECT FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL`,
    );
    return rows.length === 2;
  });
  const settings = { ...DEFAULT_THROTTLE, chunkTargetMs: 10 };

  t.test(
    'one behind a slow link stops it by bytes, a chunk beyond the limit at most',
    async (t) => {
      const job = await makeJob(primary, 60_000, { table: 'slow_link' });
      await until('both have it', async () => {
        const { rows } = await client.query(
          'SELECT bool_and(replay_lsn >= pg_current_wal_flush_lsn()) AS yes FROM pg_stat_replication',
        );
        return rows[0].yes;
      });
      const limit = 2 * 1024 * 1024;
      link.bytesPerSecond = 200_000;
      const held = { ...settings, maxLagMs: 1e9, maxLagBytes: limit };
      const watched = new Watched({ url, job }, () => held);
      t.teardown(() => watched.stop());
      let highest = 0;
      const far = () => watched.last?.lag.find(({ standby }) => standby === 'far')?.bytes ?? 0;
      await until('it has stopped for it', () => {
        highest = Math.max(highest, far());
        return /^replica-bytes: far \d+\.\d MB behind \(limit 2\.0 MB\)$/.test(
          watched.last?.throttled?.text ?? '',
        );
      });
      await until('a second of it was counted', () => {
        highest = Math.max(highest, far());
        return watched.seconds('replica-bytes') > 1;
      });
      // What one chunk writes: two versions of a block, and an image of each page after a checkpoint.
      const chunk = Math.max(16, watched.largestChunk) * 8192 * 4;
      t.comment(
        `${highest} bytes behind at most, with chunks of up to ${watched.largestChunk} blocks`,
      );
      t.ok(
        highest > limit && highest < limit + chunk,
        `${highest} of ${limit}, a chunk is ${chunk}`,
      );
      t.ok((await filled(client, job)) < 60_000);
      t.notOk(
        watched.texts.some((text) => text.includes(' near ')),
        'the other one is in step',
      );
      link.bytesPerSecond = Number.POSITIVE_INFINITY;
      t.equal(await watched.ended, 'complete', 'it goes on by itself');
      t.equal(await pendingRows(client, 'slow_link'), 0);
    },
  );

  const stops = makeStops(primary, client);

  t.test('WAL that a slot retains stops it, with one chunk more at most', async (t) => {
    // What is told is rounded to a tenth of a MB, and so is the limit.
    const tenth = (1024 * 1024) / 10;
    let limit = 0;
    const first = { bytes: 0, blocks: 0 };
    await stops(
      t,
      { maxSlotBytes: Number.POSITIVE_INFINITY },
      /^slot-wal: slot idle retains \d+\.\d MB \(limit \d+\.\d MB\)$/,
      async (_table, held, { last }) => {
        await client.query(`SELECT pg_create_physical_replication_slot('idle', true)`);
        // At first it retains what was written since the latest checkpoint began, and the fill writes
        // while that goes on: as much as a slow disk lets it, so the limit is put beyond what there is.
        const { rows } = await client.query(
          `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::float8 AS bytes
           FROM pg_replication_slots WHERE slot_name = 'idle'`,
        );
        first.bytes = rows[0].bytes;
        first.blocks = last!.blocksDone;
        limit = (Math.ceil(rows[0].bytes / tenth) + 40) * tenth;
        held.maxSlotBytes = limit;
      },
      () => client.query(`SELECT pg_drop_replication_slot('idle')`),
      async ({ largestChunk, last, texts }) => {
        // As it stopped: what the test itself reads later leaves WAL too (hint bits, pruning).
        const seen = texts.find((text) => text.startsWith('slot-wal'));
        const bytes = Number(/retains ([\d.]+) MB/.exec(seen ?? '')?.[1]) * 1024 * 1024;
        const perBlock = (bytes - first.bytes) / (last!.blocksDone - first.blocks);
        // The one that took it beyond the limit, and the one that had begun when that was seen.
        const two = 2 * largestChunk * perBlock;
        t.comment(`${bytes - limit} bytes beyond, two chunks write ${Math.round(two)}`);
        t.ok(
          bytes > limit - tenth / 2 && bytes < limit + two + tenth / 2,
          `${bytes} of ${limit}, two chunks write ${two}`,
        );
      },
    );
  });

  t.test('archive_command = false stops it', async (t) => {
    const command = async (value: string) => {
      await client.query(`ALTER SYSTEM SET archive_command = '${value}'`);
      await client.query('SELECT pg_reload_conf()');
    };
    await stops(
      t,
      {},
      /^archiver: [0-9A-F]{24} could not be archived \d\.\d s ago, [\d.]+ [kM]B wait$/,
      async () => {
        await command('false');
        await client.query('SELECT pg_switch_wal()');
      },
      () => command('true'),
    );
  });

  t.test('a session that has the table stops it', async (t) => {
    const other = await primary.client();
    t.teardown(() => other.end());
    const { processID } = other as unknown as { processID: number };
    await stops(
      t,
      {},
      new RegExp(`^lock-wait: .*pid ${processID}`),
      (table) => other.query(`BEGIN; LOCK TABLE public.${table} IN SHARE MODE`),
      () => other.query('COMMIT'),
    );
  });

  t.test('each in its own trouble is named, and both have to be well again', async (t) => {
    const job = await makeJob(primary, 100_000, { table: 'both' });
    const watched = new Watched({ url, job }, () => ({ ...settings, maxLagMs: 300 }));
    t.teardown(() => watched.stop());
    await watched.underWay();
    const other = await near.client();
    await other.query('SELECT pg_wal_replay_pause()');
    await watched.stopped(/^replica-lag: near \d+\.\d s behind \(limit 0\.3 s\)$/);
    const before = await filled(client, job);
    await far.end('SIGKILL');
    // The graver one is told.
    await watched.stopped(/^standby-lost: far is not streaming$/);
    await other.query('SELECT pg_wal_replay_resume()');
    await other.end();
    await until('near is in step again', () =>
      Boolean(
        watched.last?.lag.some(({ standby, seconds }) => standby === 'near' && seconds === 0),
      ),
    );
    t.match(watched.last?.throttled, { name: 'standby-lost' }, 'and it still waits for the other');
    t.equal(await filled(client, job), before, 'not a row meanwhile');
    await far.start();
    t.equal(await watched.ended, 'complete');
    t.equal(await pendingRows(client, 'both'), 0);
  });
});
