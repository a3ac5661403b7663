import type pg from 'pg';
import t from 'tap';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { segmentEnd } from '../../backfill/signals/archiver.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { makeJob } from './setup.js';
import { makeStops } from './stops.js';
import { Watched } from './watched.js';

/**
 * Each signal on a real server: its cause is brought about while a backfill runs, the backfill stands
 * still with the right reason, and goes on by itself when the cause is gone.
 *
 * What was broken on purpose: `observed` 0 in each of slots.ts, archiver.ts, horizon.ts and
 * active.ts; the test of that signal failed.
 */

t.test('the end of a WAL segment is read from the name of its file', async (t) => {
  const segment = 16 * 1024 * 1024;
  t.equal(segmentEnd('000000010000000000000001', segment), 2 * segment);
  t.equal(segmentEnd('0000000200000003000000FF', segment), 4 * 2 ** 32);
  t.equal(segmentEnd('000000010000000000000002.00000028.backup', segment), 3 * segment);
  t.equal(segmentEnd('00000002.history', segment), null);
  t.equal(segmentEnd(null, segment), null);
});

t.test('signals', async (t) => {
  const cluster = await Cluster.create({
    settings: { archive_mode: 'on', archive_command: 'true', max_prepared_transactions: 5 },
  });
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const other = await cluster.client();
  t.teardown(() => other.end());
  const pidOf = (session: pg.Client) => (session as unknown as { processID: number }).processID;
  const cancel = (session: pg.Client) =>
    client.query('SELECT pg_cancel_backend($1)', [pidOf(session)]);

  const stops = makeStops(cluster, client);

  t.test('WAL that a slot retains', async (t) => {
    await stops(
      t,
      { maxSlotBytes: 300_000 },
      /^slot-wal: slot idle retains \d+\.\d (kB|MB) \(limit 293\.0 kB\)$/,
      () => client.query(`SELECT pg_create_physical_replication_slot('idle', true)`),
      () => client.query(`SELECT pg_drop_replication_slot('idle')`),
    );
  });

  t.test('an archive command that fails, and what is not archived yet', async (t) => {
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
    await stops(
      t,
      { maxArchiveBytes: 1_000 },
      /^archiver: 16\.0 MB not archived yet \(limit 1\.0 kB\)$/,
      async () => {
        // The archiver then neither archives nor fails.
        await command('');
        await client.query('SELECT pg_switch_wal()');
      },
      async (held) => {
        held.maxArchiveBytes = null;
        await command('true');
      },
    );
  });

  t.test('an old transaction, and one that is prepared', async (t) => {
    const settings = { maxTransactionMs: 300, levels: { 'old-transaction': 'hard' } } as const;
    await stops(
      t,
      settings,
      /^old-transaction: pid \d+ has kept VACUUM back for \d\.\d s \(limit 0\.3 s\)$/,
      () => other.query('BEGIN; SELECT txid_current()'),
      () => other.query('ROLLBACK'),
    );
    await stops(
      t,
      settings,
      /^old-transaction: prepared transaction left has kept VACUUM back/,
      () => other.query(`BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'left'`),
      () => other.query(`ROLLBACK PREPARED 'left'`),
    );
  });

  t.test('sessions that run a statement', async (t) => {
    let asleep: Promise<unknown> = Promise.resolve();
    const third = await cluster.client();
    t.teardown(() => third.end());
    await stops(
      t,
      { maxActive: 1, levels: { active: 'hard' } },
      /^active: [23] sessions run a statement \(limit 1\)$/,
      async () => {
        const sleep = (session: pg.Client) => session.query('SELECT pg_sleep(600)');
        asleep = Promise.allSettled([sleep(other), sleep(third)]);
      },
      async () => {
        await cancel(other);
        await cancel(third);
        await asleep;
      },
    );
  });

  t.test('a VACUUM of the table', async (t) => {
    let vacuum: Promise<unknown> = Promise.resolve();
    await other.query('SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1');
    await stops(
      t,
      { levels: { autovacuum: 'hard' } },
      new RegExp(`^autovacuum: the table is being vacuumed by pid ${pidOf(other)}$`),
      async (table) => {
        vacuum = other.query(`VACUUM public.${table}`).catch((error) => error);
      },
      async () => {
        await cancel(other);
        t.match(await vacuum, { code: '57014' });
      },
    );
    await other.query('RESET ALL');
  });

  t.test(
    'the size of the WAL and of the table, with limits that are changed meanwhile',
    async (t) => {
      await stops(
        t,
        { maxWalBytes: 1e15 },
        /^wal-size: \d+\.\d MB of WAL on the disk \(limit 1\.0 kB\)$/,
        async (_, held) => {
          held.maxWalBytes = 1_024;
        },
        async (held) => {
          held.maxWalBytes = 1e15;
        },
      );
      await stops(
        t,
        {},
        /^table-size: the table has \d+\.\d MB \(limit 1\.0 kB\)$/,
        async (_, held) => {
          held.maxTableBytes = 1_024;
        },
        async (held) => {
          held.maxTableBytes = null;
        },
      );
    },
  );

  t.test('a role that may not see the sessions is told so', async (t) => {
    const job = await makeJob(cluster, 1_000, { table: 'unseen' });
    await client.query(`CREATE ROLE filler LOGIN; GRANT SELECT, UPDATE ON public.unseen TO filler;
      GRANT ALL ON ALL TABLES IN SCHEMA pgtandem TO filler`);
    const settings = { ...DEFAULT_THROTTLE, maxActive: 50, levels: { active: 'hard' } } as const;
    const watched = new Watched({ url: cluster.url('postgres', 'filler'), job }, () => settings);
    await watched.stopped(/^active: the role may not see what \d+ sessions do: GRANT pg_monitor/);
    await client.query('GRANT pg_monitor TO filler');
    t.equal(await watched.ended, 'complete');
  });
});
