import { once } from 'node:events';
import pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect, open } from '../../db/connect.js';
import { requestMove } from '../../migration/request.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration, untilMigration } from '../migration/drive.js';
import { until } from '../proxy/harness.js';

t.setTimeout(120_000);

const SETUP = `CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);
  INSERT INTO counters (id) SELECT generate_series(1, 40000)`;
const ALTER = 'ALTER TABLE counters ALTER COLUMN n TYPE bigint';

/** A connection string of several servers. */
function listOf(clusters: readonly Cluster[], attrs = 'read-write'): string {
  const hosts = clusters.map(({ port }) => `127.0.0.1:${port}`).join(',');
  return `postgres://postgres@${hosts}/postgres?target_session_attrs=${attrs}`;
}

/** Counts a row of its own up, connects again when it is cut off, and knows what it should read. */
class Counter {
  count = 0;
  cuts = 0;
  failure: unknown;
  private running = true;
  private readonly loop: Promise<void>;

  constructor(
    private readonly url: string,
    private readonly id: number,
  ) {
    this.loop = this.run().catch((error) => {
      this.failure = error;
    });
  }

  private async run(): Promise<void> {
    while (this.running) {
      const client = new pg.Client({ connectionString: this.url });
      client.on('error', () => undefined);
      try {
        await client.connect();
        await this.resolve(client);
        while (this.running) await this.step(client);
      } catch (error) {
        if (error instanceof RangeError) throw error;
        this.cuts++;
      } finally {
        await client.end().catch(() => undefined);
      }
      // What a pool does: not again in the same moment.
      if (this.running) await once(AbortSignal.timeout(20), 'abort');
    }
  }

  /** Whether the statement that was cut off was done. */
  private async resolve(client: pg.Client): Promise<void> {
    const { rows } = await client.query('SELECT n::int FROM counters WHERE id = $1', [this.id]);
    const n = rows[0].n;
    if (n !== this.count && n !== this.count + 1) {
      throw new RangeError(`row ${this.id} is ${n} after ${this.count} that were acknowledged`);
    }
    this.count = n;
  }

  private async step(client: pg.Client): Promise<void> {
    const { rows } = await client.query({
      name: 'count',
      text: 'UPDATE counters SET n = n + 1 WHERE id = $1 RETURNING *',
      values: [this.id],
    });
    this.count++;
    const shown = Object.keys(rows[0]).join();
    if (Number(rows[0].n) !== this.count || shown !== 'id,n,note') {
      throw new RangeError(`${JSON.stringify(rows[0])} is not ${this.count}`);
    }
  }

  async more(by: number): Promise<void> {
    const goal = this.count + by;
    await until(`${by} more`, () => this.count >= goal || this.failure !== undefined, 20_000);
    if (this.failure !== undefined) throw this.failure;
  }

  async stop(): Promise<unknown> {
    this.running = false;
    await this.loop;
    return this.failure;
  }
}

t.test('a promoted standby is followed: load and migration go on, nothing is lost', async (t) => {
  const primary = await Cluster.create();
  t.teardown(() => primary.destroy());
  const standby = await primary.standby('s1');
  t.teardown(() => standby.destroy());
  const url = listOf([primary, standby]);
  await loadParser();
  const before = await connect({ url, role: 'test' });
  t.teardown(() => before.end().catch(() => undefined));
  await before.query(SETUP);
  // What was acknowledged is on the standby too: then the count must be right to the last one.
  await before.query(`ALTER SYSTEM SET synchronous_standby_names = 's1'`);
  await before.query('SELECT pg_reload_conf()');
  const proxy = await ProxyProcess.start(url);
  t.teardown(() => proxy.end());
  const counters = [1, 2, 3].map((id) => new Counter(proxy.url(), id));
  t.teardown(() => Promise.all(counters.map((counter) => counter.stop())));
  const more = (by: number) => Promise.all(counters.map((counter) => counter.more(by)));
  await more(20);
  await startMigration(before, 'f', ALTER, { chunkTargetMs: 5 });
  const filled = 'SELECT rows_filled::int FROM pgtandem.backfill WHERE rows_filled > 0';
  await until('the backfill has begun', async () => (await before.query(filled)).rowCount === 1);
  await before.query(`INSERT INTO pgtandem.standby (name) VALUES ('s1'), ('ghost')
    ON CONFLICT DO NOTHING`);
  const stands = ({ phase, progress }: { phase: { name: string }; progress: object }) =>
    phase.name === 'backfilling' && JSON.stringify(progress).includes('ghost');
  await untilMigration(url, 'f', stands);
  await more(20);

  await primary.end('SIGQUIT');
  const promoter = await connect({ url: standby.url(), role: 'test' });
  t.teardown(() => promoter.end());
  t.equal((await promoter.query('SELECT pg_promote() AS done')).rows[0].done, true);
  await more(20);
  t.ok(
    counters.every(({ cuts }) => cuts > 0),
    `cut off ${counters.map(({ cuts }) => cuts)} times`,
  );
  const reached = await untilMigration(url, 'f', stands);
  t.equal(reached.phase.name, 'backfilling', 'where it was');
  await promoter.query(`DELETE FROM pgtandem.standby WHERE name = 'ghost'`);
  await untilMigration(url, 'f', ({ phase }) => phase.name === 'ready');
  const wrong = async (column: string) => {
    const sql = `SELECT count(*)::int AS wrong FROM counters WHERE n IS DISTINCT FROM ${column}`;
    return (await promoter.query(sql)).rows[0].wrong;
  };
  t.equal(await wrong('_pgtandem_new_n'), 0, 'every row is in order');
  await requestMove(promoter, 'f', 'cutover');
  await untilMigration(url, 'f', ({ phase }) => phase.name === 'soaking');
  await more(20);
  t.equal(await wrong('_pgtandem_old_n'), 0);

  await t.test(
    'the old primary comes back as it was: it is told of, and not gone over to',
    async (t) => {
      await primary.start();
      const old = await primary.client();
      const sum = 'SELECT sum(n)::int AS sum FROM counters';
      const { rows } = await old.query(sum);
      const told = () => proxy.metric('pgtandem_errors_total', { kind: 'split-brain' });
      await until('both have been seen', async () => (await told()) > 0);
      await more(20);
      const fresh = new Counter(proxy.url(), 4);
      await fresh.more(20);
      t.equal(await fresh.stop(), undefined);
      t.same((await old.query(sum)).rows, rows, 'nothing is written there');
      await old.end();
      await t.rejects(connect({ url: listOf([standby, primary]), role: 'test' }), {
        message: /several hosts say that they are the primary/,
        split: true,
      });
      const again = await open({ url, role: 'test' });
      t.equal(again.url, standby.url(), 'who knows one of them stays there');
      await again.connection.end();
    },
  );
  for (const counter of counters) t.equal(await counter.stop(), undefined);
});
