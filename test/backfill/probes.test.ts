import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type pg from 'pg';
import t from 'tap';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import { CriticalError } from '../../backfill/throttle.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { makeJob, pendingRows, run, until } from './setup.js';
import { makeStops } from './stops.js';
import { Watched } from './watched.js';

/**
 * What is asked beside the catalogs, and what the levels do.
 *
 * What was broken on purpose: `observed` 0 in each of query.ts (that test, and those of the levels,
 * which use it), http.ts and wal-rate.ts; `true` in place of pg_cancel_backend in blocking.ts (a
 * chunk that somebody waits for); a rest that is not looked at before its end (the rests grow).
 */

t.test('signals', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const other = await cluster.client();
  t.teardown(() => other.end());
  const pidOf = (session: pg.Client) => (session as unknown as { processID: number }).processID;
  const url = cluster.url();
  const stops = makeStops(cluster, client);

  t.test("the user's own query; what gives no number, fails or hangs stops it too", async (t) => {
    await client.query('CREATE TABLE brake AS SELECT 0 AS v');
    await stops(
      t,
      { query: 'SELECT v FROM brake', queryMax: 5 },
      /^query: the throttle query gives 6 \(limit 5\)$/,
      () => client.query('UPDATE brake SET v = 6'),
      () => client.query('UPDATE brake SET v = 5'),
    );
    for (const [wrong, says] of [
      ['SELECT NULL', /gives NULL, which is no number/],
      ['SELECT 1; SELECT 2', /cannot insert multiple commands/],
      ['DELETE FROM brake RETURNING 0', /read-only transaction/],
      ['SELECT pg_sleep(9)', /(statement timeout|has not been observed yet)/],
    ] as const) {
      await stops(
        t,
        {},
        new RegExp(`^(query: can't be known|stale: query).*${says.source}`),
        async (_, held) => {
          held.query = wrong;
        },
        async (held) => {
          held.query = null;
        },
      );
    }
  });

  t.test('a service that answers something else than 200, or nothing', async (t) => {
    let status = 200;
    const server = createServer((_, response) => response.writeHead(status).end('text'));
    await new Promise<void>((done) => {
      server.listen(0, '127.0.0.1', done);
    });
    t.teardown(() => server.close());
    const service = `http://127.0.0.1:${(server.address() as AddressInfo).port}/check/shop`;
    await stops(
      t,
      { url: `${service}?secret=1` },
      new RegExp(`^http: ${service} answers 429, not 200$`),
      async () => {
        status = 429;
      },
      async () => {
        status = 200;
      },
    );
    await stops(
      t,
      { url: service },
      /^http: can't be known: connect ECONNREFUSED/,
      async () => {
        server.closeAllConnections();
        server.close();
      },
      async (held) => {
        held.url = null;
      },
    );
  });

  t.test('a chunk that somebody waits for is given up', async (t) => {
    const job = await makeJob(cluster, 20_000, { table: 'waited' });
    await client.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END';
      CREATE TRIGGER slow BEFORE UPDATE OF id_new ON waited FOR EACH ROW EXECUTE FUNCTION slow()`);
    // So large a target that no timeout comes first.
    const held = { ...DEFAULT_THROTTLE, chunkTargetMs: 20_000 };
    const watched = new Watched({ url, job }, () => held);
    t.teardown(() => watched.stop());
    await until('the first chunk has filled its first row', async () => {
      const { rows } = await client.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'pgtandem backfill'
         AND wait_event = 'PgSleep' AND query LIKE '/* fills %'`,
      );
      return rows.length > 0;
    });
    const startMs = performance.now();
    // Of the first block, where every part of the chunk has rows.
    await other.query('UPDATE waited SET qty = qty + 1 WHERE id <= 16');
    t.comment(`waited for ${Math.round(performance.now() - startMs)} ms`);
    const pattern = new RegExp(
      `^blocking: pid ${pidOf(other)} waited for the chunk for \\d+\\.\\d s; it was given up$`,
    );
    // It stands still for 50 ms only.
    await until('it was given up', () => watched.texts.some((text) => pattern.test(text)));
    await client.query('DROP TRIGGER slow ON waited');
    held.chunkTargetMs = 50;
    t.equal(await watched.ended, 'complete');
    t.equal(await pendingRows(client, 'waited'), 0);
  });

  t.test('soft: the rests grow, and a long one ends soon after its reason', async (t) => {
    const job = await makeJob(cluster, 20_000, { table: 'slowed' });
    // Each row takes so long that the table outlasts the test, and that rests are to last for seconds.
    await client.query(`CREATE FUNCTION tardy() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(0.004); RETURN NEW; END';
      CREATE TRIGGER tardy BEFORE UPDATE ON slowed FOR EACH ROW EXECUTE FUNCTION tardy();
      CREATE TABLE pedal AS SELECT 9 AS v`);
    const held = {
      ...DEFAULT_THROTTLE,
      chunkTargetMs: 1_000,
      query: 'SELECT v FROM pedal',
      queryMax: 3,
      levels: { query: 'soft' },
    } as ThrottleSettings;
    const watched = new Watched({ url, job }, () => held);
    t.teardown(() => watched.stop());
    const text = 'query: the throttle query gives 9 (limit 3)';
    await until('it is slow, and says why', () => watched.last?.slowed?.text === text);
    t.ok(watched.last!.restFactor > 4);
    const before = watched.last!.rowsFilled;
    await until('it goes on', () => watched.last!.rowsFilled > before);
    const counted = /slowed_seconds_total\{migration="slowed",reason="query"\} \d/;
    await until('the first long rest is counted', async () =>
      counted.test(await watched.metrics.registry.metrics()),
    );
    // In one rest or another: whether this one is seen to be cut depends on where it stood just then.
    const pedal = (v: number) => client.query('UPDATE pedal SET v = $1', [v]);
    await pedal(0);
    let seen = watched.last!;
    const isFalling = async () => {
      const { rowsFilled, restFactor, slowed } = watched.last!;
      if (rowsFilled === seen.rowsFilled && restFactor < seen.restFactor) return true;
      seen = watched.last!;
      if (restFactor > 4) await pedal(0);
      else if (slowed === null) await pedal(9);
      return false;
    };
    await until('the factor falls within one rest', isFalling, 60_000);
    await pedal(0);
    // From the slowest pace it takes ln(512) / (0.35 * 0.8) = 22 s, as it is meant to.
    await until('it is as fast as before', () => watched.last?.slowed === null, 60_000);
    t.equal(await watched.stop(), 'aborted');
    t.notOk(
      watched.texts.some((text) => text.startsWith('query')),
      'it never stood still for it',
    );
  });

  t.test('the WAL written a second is held to a limit by going slower', async (t) => {
    const job = await makeJob(cluster, 300_000, { table: 'rate' });
    const held = { ...DEFAULT_THROTTLE, chunkTargetMs: 5, maxWalRate: 5_000_000 };
    const watched = new Watched({ url, job }, () => held);
    t.teardown(() => watched.stop());
    const texts = new Set<string>();
    await until('it begins slowly, and gets faster', () => {
      const { slowed, restFactor = 512 } = watched.last ?? {};
      if (slowed) texts.add(slowed.text);
      return restFactor < 450;
    });
    t.ok(texts.has('wal-rate: its limit is approached from below'));
    // It stays within a limit that it has come to from below; one that it is beyond it says.
    held.maxWalRate = 50_000;
    const beyond = /^wal-rate: \d+\.\d [kM]B of WAL a second \(limit 48\.8 kB\)$/;
    await until('it says what it is beyond', () => beyond.test(watched.last?.slowed?.text ?? ''));
    // What it is beyond for a moment, since something else was written, is said while it still gets faster.
    let least = watched.last!.restFactor;
    const isSlower = () => {
      const { restFactor } = watched.last!;
      least = Math.min(least, restFactor);
      return restFactor > least;
    };
    await until('and goes slower', isSlower, 60_000);
    t.equal(await watched.stop(), 'aborted');
  });

  t.test('critical ends the run; what is off is not looked at', async (t) => {
    const job = await makeJob(cluster, 5_000, { table: 'ended' });
    const settings = { query: 'SELECT 9', queryMax: 3, levels: { query: 'critical' } } as const;
    await t.rejects(
      run(cluster, job, { settings }),
      new CriticalError({
        name: 'query',
        level: 'critical',
        detail: '',
        text: 'query: the throttle query gives 9 (limit 3)',
      }),
    );
    const { result } = await run(cluster, job, {
      settings: { ...settings, levels: { query: 'off' } },
    });
    t.equal(result.outcome, 'complete');
  });
});
