import t, { type Test } from 'tap';
import { type BackfillJob, DEFAULT_THROTTLE } from '../../backfill/job.js';
import { forgetStandbys } from '../../backfill/lag.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { makeJob, pendingRows, until } from './setup.js';
import { filled, Watched } from './watched.js';

/**
 * What was broken on purpose, and which test saw it: the lag in time 0 or a tenth of what it is, a look that
 * is older than the chunk before ("by time"); the lag in bytes 0 or a tenth, settings that are read once ("by bytes"); a
 * lag that nobody knows taken for none ("begun with replay paused"); a look of any age ("the observation
 * stands still"); a standby that is not remembered, or not missed ("is gone"); nothing forgotten ("until it
 * is forgotten"); walsenders that may not be seen ("may not see"); subscribers left out ("a subscriber"); series
 * that stay in the metrics, what stands still for ever ("by time").
 * Not here but in throttle.test.ts: a receiver that has not said anything yet.
 */

t.test('a primary with a standby', async (t) => {
  const primary = await Cluster.create();
  t.teardown(() => primary.destroy());
  const standby = await primary.standby('standby1');
  t.teardown(() => standby.destroy());
  const client = await primary.client();
  t.teardown(() => client.end());
  const url = primary.url();
  /** Small chunks, so that there are many decisions. */
  const settings = { ...DEFAULT_THROTTLE, chunkTargetMs: 10 };
  const onStandby = async (sql: string) => {
    const other = await standby.client();
    await other.query(sql);
    await other.end();
  };
  const complete = async (t: Test, watched: Watched, job: BackfillJob) => {
    t.equal(await watched.ended, 'complete');
    t.equal(await pendingRows(client, job.table.name), 0);
  };

  t.test('stops while replay is paused, by time, and goes on after it', async (t) => {
    const job = await makeJob(primary, 100_000, { table: 'by_time' });
    const held = { ...settings, maxLagMs: 300 };
    const watched = new Watched({ url, job }, () => held);
    await watched.underWay();
    await onStandby('SELECT pg_wal_replay_pause()');
    await watched.stopped(/^replica-lag: standby1 \d+\.\d s behind \(limit 0\.3 s\)$/);
    const before = await filled(client, job);
    const beforeSeconds = watched.seconds('replica-lag');
    await until('a second has been counted', () => watched.seconds('replica-lag') > 1);
    t.equal(await filled(client, job), before, 'not a row meanwhile');
    t.ok(before > 0 && before < 100_000, `${before} rows in the time that the limit allows`);
    t.ok(watched.seconds('replica-lag') > beforeSeconds);
    t.match(watched.last?.lag, [{ standby: 'standby1', kind: 'physical', streaming: true }]);
    // While it stands still it looks each 600 ms.
    await until('it is told how far', () => watched.last!.lag[0]!.seconds! > 1);
    const told = watched.seconds('replica-lag');
    const text = await watched.metrics.registry.metrics();
    t.match(text, /pgtandem_replica_lag_seconds\{standby="standby1"\} [1-9]/);
    const counted = /throttled_seconds_total\{migration="by_time",reason="replica-lag"\} (\S+)/;
    const seconds = Number(counted.exec(text)?.[1]);
    // It is counted more often than it is told.
    t.ok(seconds >= told && seconds < told + 2, `${seconds} s counted, ${told} s told`);
    held.chunkTargetMs = 100;
    await onStandby('SELECT pg_wal_replay_resume()');
    await complete(t, watched, job);
    const after = await watched.metrics.registry.metrics();
    t.notMatch(after, /pgtandem_replica_lag_seconds\{/, 'a series that nobody updates is gone');
  });

  t.test('stops by bytes, at most a chunk beyond the limit', async (t) => {
    const job = await makeJob(primary, 100_000, { table: 'by_bytes' });
    const limit = 8 * 1024 * 1024;
    const held = { ...settings, maxLagMs: 1e9, maxLagBytes: limit };
    const watched = new Watched({ url, job }, () => held);
    await watched.underWay();
    await onStandby('SELECT pg_wal_replay_pause()');
    await watched.stopped(/^replica-bytes: standby1 \d+\.\d MB behind \(limit 8\.0 MB\)$/);
    const { rows } = await client.query(
      `SELECT (pg_current_wal_insert_lsn() - replay_lsn)::float8 AS bytes FROM pg_stat_replication`,
    );
    const { bytes } = rows[0];
    // What one chunk writes: two versions of a block, and an image of each page after a checkpoint.
    const chunk = watched.largestChunk * 8192 * 4;
    t.comment(`${bytes} bytes with chunks of up to ${watched.largestChunk} blocks`);
    t.ok(bytes > limit && bytes < limit + chunk, `${bytes} of ${limit}, a chunk is ${chunk}`);
    held.maxLagBytes = 1e12;
    held.chunkTargetMs = 100;
    await until('the new limit is known', () => watched.last?.throttled === null);
    t.pass('the limit can be raised while it stands still');
    await onStandby('SELECT pg_wal_replay_resume()');
    await complete(t, watched, job);
  });

  t.test(
    'begun with replay paused, it does not go on as long as nobody knows the lag',
    async (t) => {
      const job = await makeJob(primary, 1_000, { table: 'unknown' });
      await onStandby('SELECT pg_wal_replay_pause()');
      await client.query('CREATE TABLE public.not_replayed ()');
      await until('replay has stopped', async () => {
        const { rows } = await client.query(
          `SELECT sent_lsn = pg_current_wal_flush_lsn() AND replay_lsn < sent_lsn AS yes
         FROM pg_stat_replication`,
        );
        return rows[0].yes;
      });
      const watched = new Watched({ url, job }, () => settings);
      await watched.stopped(
        /^replica-lag: standby1 has not replayed yet what was there at the start/,
      );
      t.equal(await pendingRows(client, 'unknown'), 1_000);
      await onStandby('SELECT pg_wal_replay_resume()');
      await complete(t, watched, job);
    },
  );

  t.test('stops when the observation stands still, and goes on with it', async (t) => {
    const job = await makeJob(primary, 100_000, { table: 'blind' });
    const watched = new Watched({ url, job }, () => settings);
    await watched.underWay();
    const { rows } = await client.query(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtandem backfill signals'`,
    );
    process.kill(rows[0].pid, 'SIGSTOP');
    let frozen = true;
    t.teardown(() => frozen && process.kill(rows[0].pid, 'SIGCONT'));
    await watched.stopped(/^stale: standby-lost observed \d+\.\d s ago \(limit 1\.0 s\)$/);
    const before = await filled(client, job);
    await until('more than a second has been counted', () => watched.seconds('stale') > 1.5);
    t.equal(await filled(client, job), before, 'not a row meanwhile');
    frozen = false;
    process.kill(rows[0].pid, 'SIGCONT');
    await complete(t, watched, job);
  });

  t.test('stops when a standby is gone, and goes on when it is back', async (t) => {
    const job = await makeJob(primary, 100_000, { table: 'lost' });
    const watched = new Watched({ url, job }, () => settings);
    await watched.underWay();
    await standby.end('SIGKILL');
    await watched.stopped(/^standby-lost: standby1 is not streaming$/);
    const before = await filled(client, job);
    await until('it has been counted', () => watched.seconds('standby-lost') > 0.5);
    t.equal(await filled(client, job), before, 'not a row meanwhile');
    t.match(watched.last?.lag, [{ standby: 'standby1', streaming: false, bytes: null }]);
    await standby.start();
    await complete(t, watched, job);
  });

  t.test('a standby that was lost before the start counts, until it is forgotten', async (t) => {
    const job = await makeJob(primary, 1_000, { table: 'forgotten' });
    await standby.end();
    const watched = new Watched({ url, job }, () => settings);
    await watched.stopped(/^standby-lost: standby1 is not streaming$/);
    t.equal(await pendingRows(client, 'forgotten'), 1_000);
    const connection = await connect({ url, role: 'test' });
    t.same(await forgetStandbys(connection), ['standby1']);
    t.same(await forgetStandbys(connection), []);
    await connection.end();
    await complete(t, watched, job);
    await standby.start();
  });

  t.test(
    'a role that may not see the standbys is told the remedy, and goes on with it',
    async (t) => {
      const job = await makeJob(primary, 1_000, { table: 'unseen' });
      await client.query(`CREATE ROLE "Filler" LOGIN; GRANT SELECT, UPDATE ON public.unseen TO "Filler";
      GRANT ALL ON ALL TABLES IN SCHEMA pgtandem TO "Filler"`);
      await until('the standby streams', async () => {
        const { rows } = await client.query(
          `SELECT FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL`,
        );
        return rows.length === 1;
      });
      const watched = new Watched({ url: primary.url('postgres', 'Filler'), job }, () => settings);
      await watched.stopped(/GRANT pg_monitor TO "Filler"$/);
      t.equal(await pendingRows(client, 'unseen'), 1_000);
      await client.query('GRANT pg_monitor TO "Filler"');
      await complete(t, watched, job);
      t.ok(
        watched.texts.every((text) => !/^(stale|replica)/.test(text)),
        watched.texts.join('; '),
      );
    },
  );

  t.test('an abort while it stands still ends it', async (t) => {
    const job = await makeJob(primary, 1_000, { table: 'ended' });
    const watched = new Watched({ url, job }, () => ({ ...settings, maxLagBytes: -1 }));
    await watched.stopped(/^replica-bytes/);
    t.equal(await watched.stop(), 'aborted');
  });

  t.test('a subscriber that does not get on stops it by bytes', async (t) => {
    const job = await makeJob(primary, 60_000, { table: 'published' });
    const subscriber = await Cluster.create();
    t.teardown(() => subscriber.destroy());
    const other = await subscriber.client();
    t.teardown(() => other.end());
    await client.query('CREATE PUBLICATION p FOR TABLE public.published');
    await other.query(
      'CREATE TABLE public.published (id int PRIMARY KEY, id_new bigint, qty int, pad text)',
    );
    await other.query(
      `CREATE SUBSCRIPTION sub CONNECTION '${url}' PUBLICATION p WITH (copy_data = false)`,
    );
    await other.query('BEGIN; LOCK TABLE public.published IN SHARE MODE');
    const limit = 4 * 1024 * 1024;
    const watched = new Watched({ url, job }, () => ({ ...settings, maxLagBytes: limit }));
    await watched.stopped(/^replica-bytes: sub \d\.\d MB behind \(limit 4\.0 MB\)$/);
    await other.query('COMMIT; ALTER SUBSCRIPTION sub DISABLE');
    await complete(t, watched, job);
    await until('its walsender has gone', async () => {
      const { rows } = await client.query(`SELECT FROM pg_replication_slots WHERE active`);
      return rows.length === 0;
    });
    await other.query('DROP SUBSCRIPTION sub');
  });
});
