import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect } from '../../db/connect.js';
import { Rig } from './rig.js';

const missing = spawnSync('pgbouncer', ['--version']).status !== 0;
const skip = missing
  ? 'PgBouncer is not installed'
  : !process.env.LONG && 'long: set LONG=1 to run it';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** PgBouncer before an address; its connection string. */
async function pooled(
  t: { teardown(fn: () => unknown): void },
  address: string,
  mode: 'transaction' | 'session',
): Promise<string> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'pgtandem-pgbouncer-'));
  chmodSync(folder, 0o755);
  const file = join(folder, 'pgbouncer.ini');
  const [host, behind] = address.split(':');
  writeFileSync(
    file,
    `[databases]
postgres = user=postgres host=${host} port=${behind} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 3
`,
  );
  const asRoot = userInfo().uid === 0;
  const child: ChildProcess = spawn('pgbouncer', [...(asRoot ? ['-u', 'nobody'] : []), file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(async () => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true });
  });
  for await (const line of child.stderr!) if (String(line).includes('process up')) break;
  child.stderr!.resume();
  return `postgres://postgres@127.0.0.1:${port}/postgres`;
}

t.test('before the proxy, in transaction mode, in every phase', { skip }, async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(`CREATE TABLE orders (id serial PRIMARY KEY, amount int NOT NULL, note text);
    INSERT INTO orders (amount, note) SELECT i, 'seed' FROM generate_series(1, 2000) i`);
  const url = await pooled(t, rig.proxy.address, 'transaction');
  const pool = new pg.Pool({ connectionString: url, max: 8 });
  t.teardown(() => pool.end());
  const exercise = async (phase: string) => {
    const work = async (n: number) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        const made = await client.query(
          'INSERT INTO orders (amount, note) VALUES ($1, $2) RETURNING *',
          [n, phase],
        );
        await client.query('UPDATE orders SET amount = amount + 1 WHERE id = $1', [
          made.rows[0].id,
        ]);
        await client.query('COMMIT');
        const star = await client.query('SELECT * FROM orders WHERE id = $1', [made.rows[0].id]);
        t.same(
          star.fields.map((field) => field.name),
          ['id', 'amount', 'note'],
        );
        t.equal(Number(star.rows[0].amount), n + 1, phase);
      } finally {
        client.release();
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, n) => work(n)));
    const slow = new pg.Client({ connectionString: url });
    await slow.connect();
    const running = slow.query('SELECT pg_sleep(30)').then(
      () => 'done',
      (error) => error.code,
    );
    const seen = `SELECT count(*)::int FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'
      AND state = 'active'`;
    while ((await rig.one(seen)) === 0) await new Promise((resolve) => setImmediate(resolve));
    const canceller = new pg.Client({ connectionString: url }) as unknown as {
      cancel(client: pg.Client, query: unknown): void;
    };
    canceller.cancel(slow, (slow as unknown as { _activeQuery: unknown })._activeQuery);
    t.equal(await running, '57014', `${phase}: cancelled`);
    await slow.end();
  };
  await exercise('no migration');
  await rig.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  await rig.start('m', 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint');
  await rig.when('m', ({ progress }) => JSON.stringify(progress).includes('standby-lost'));
  await exercise('backfilling');
  await rig.query('DELETE FROM pgtandem.standby');
  await rig.reach('m', 'ready');
  await exercise('ready');
  await rig.ask('m', 'cutover', 'soaking');
  await exercise('soaking');
  await rig.ask('m', 'revert', 'reverted');
  await exercise('reverted');
  await rig.ask('m', 'cutover', 'soaking');
  await rig.ask('m', 'complete', 'completed');
  await exercise('completed');
  t.equal(await rig.proxy.metric('pgtandem_out_of_sync_total'), 0);
  t.equal(await rig.proxy.metric('pgtandem_result_type_errors_total'), 0);
});

t.test('behind the proxy it is found out and refused', { skip }, async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  for (const mode of ['transaction', 'session'] as const) {
    const url = await pooled(t, `127.0.0.1:${rig.cluster.port}`, mode);
    await t.rejects(connect({ url, role: 'test' }), { name: 'PoolerError' }, mode);
    await t.rejects(ProxyProcess.start(url), /a connection pooler stands between/, mode);
  }
});
