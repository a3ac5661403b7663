import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import t from 'tap';
import { Cluster, freePort } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect } from '../../db/connect.js';
import { requestMove } from '../../migration/request.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration, untilMigration } from '../migration/drive.js';
import { until } from '../proxy/harness.js';

t.setTimeout(120_000);

const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const ALTER = 'ALTER TABLE things ALTER COLUMN n TYPE bigint';
const WRONG = 'SELECT count(*)::int AS wrong FROM things WHERE n IS DISTINCT FROM _pgtandem_old_n';

t.test('two databases migrate at once through one proxy, neither touches the other', async (t) => {
  const [one, two] = await Promise.all([
    Cluster.create({ major: 14 }),
    Cluster.create({ major: 18 }),
  ]);
  t.teardown(() => Promise.all([one.destroy(), two.destroy()]));
  await loadParser();
  const urls = [one.url(), two.url()];
  // The second one has a control role that is no superuser.
  const admin = await two.client();
  await admin.query(`CREATE ROLE steward LOGIN; GRANT pg_monitor TO steward;
    GRANT CREATE ON DATABASE postgres TO steward; GRANT ALL ON SCHEMA public TO steward`);
  await admin.end();
  urls[1] = two.url('postgres', 'steward');
  const controls = await Promise.all(urls.map((url) => connect({ url, role: 'test' })));
  t.teardown(() => Promise.all(controls.map((control) => control.end())));
  for (const control of controls) {
    await control.query(`CREATE TABLE things (id int PRIMARY KEY, n int NOT NULL);
      INSERT INTO things SELECT i, i FROM generate_series(1, 2000) i`);
  }
  const proxy = await ProxyProcess.start(urls[0]!, undefined, ['--database', `second=${urls[1]}`]);
  t.teardown(() => proxy.end());
  const clients = ['postgres', 'second'].map(
    (name) =>
      new pg.Client({
        connectionString: proxy.url(name, name === 'second' ? 'steward' : 'postgres'),
      }),
  );
  for (const client of clients) client.on('error', () => undefined);
  await Promise.all(clients.map((client) => client.connect()));
  t.teardown(() => Promise.all(clients.map((client) => client.end())));
  const write = async (id: number) => {
    for (const client of clients) {
      const { rows } = await client.query({
        name: 'write',
        text: 'UPDATE things SET n = n + 1 WHERE id = $1 RETURNING *',
        values: [id],
      });
      t.same(Object.keys(rows[0]), ['id', 'n']);
    }
  };
  await write(1);
  const names = ['f', 's'];
  const all = <T>(work: (control: (typeof controls)[0], i: number) => Promise<T>) =>
    Promise.all(controls.map(work));
  await all((control, i) => startMigration(control, names[i]!, ALTER));
  await all((_, i) => untilMigration(urls[i]!, names[i]!, ({ phase }) => phase.name === 'ready'));
  await write(2);
  await requestMove(controls[1]!, 's', 'cutover');
  await untilMigration(urls[1]!, 's', ({ phase }) => phase.name === 'soaking');
  await write(3);
  const stages = await all(
    async (control) => (await control.query('SELECT phase FROM pgtandem.migration')).rows,
  );
  t.match(stages, [[{ phase: { name: 'ready' } }], [{ phase: { name: 'soaking' } }]]);
  await requestMove(controls[0]!, 'f', 'cutover');
  await untilMigration(urls[0]!, 'f', ({ phase }) => phase.name === 'soaking');
  await write(4);
  for (const control of controls) t.equal((await control.query(WRONG)).rows[0].wrong, 0);
  const repairs = await all(
    async (control) => (await control.query('SELECT progress FROM pgtandem.migration')).rows[0],
  );
  for (const { progress } of repairs) t.equal(Number(progress.repairs ?? 0), 0, 'no guard needed');
  const health = await proxy.health();
  t.match(health, {
    lease: 'held',
    databases: [
      { database: 'postgres', lease: 'held' },
      { database: 'second', lease: 'held' },
    ],
  });

  await t.test('when one server is gone the other database goes on', async (t) => {
    await two.end('SIGQUIT');
    await until('its lease is lost', async () => (await proxy.health()).lease === 'lost');
    const { rows } = await clients[0]!.query(
      'UPDATE things SET n = n + 1 WHERE id = 5 RETURNING n',
    );
    t.equal(Number(rows[0].n), 6, 'nothing of it waits');
    await two.start();
    await until('it is back', async () => (await proxy.health()).lease === 'held');
  });
});

t.test('what cannot work is refused at the start, with the reason', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const proxy = (...args: string[]) =>
    spawnSync(process.execPath, [main, 'proxy', '--listen', '127.0.0.1:0', ...args], {
      encoding: 'utf8',
      timeout: 30_000,
    });
  const same = proxy('--upstream', cluster.url(), '--database', `again=${cluster.url()}`);
  t.equal(same.status, 3);
  t.match(same.stderr, /again and the upstream are the same database/);
  const twice = proxy(
    ...['--upstream', cluster.url(), '--database', `a=${cluster.url('template1')}`],
    ...['--database', `a=${cluster.url('template1')}`],
  );
  t.equal(twice.status, 3);
  t.match(twice.stderr, /--database a is given twice/);
  t.equal(proxy('--upstream', cluster.url(), '--database', 'nonsense').status, 2);
  const hosts = `127.0.0.1:${cluster.port},127.0.0.1:${await freePort()}`;
  const none = proxy('--upstream', `postgres://postgres@${hosts}/x?target_session_attrs=standby`);
  t.equal(none.status, 3);
  t.match(none.stderr, /database "x" does not exist/, 'what a server says is told');
  const attrs = proxy('--upstream', `postgres://postgres@${hosts}/x?target_session_attrs=master`);
  t.equal(attrs.status, 3);
  t.match(attrs.stderr, /no target_session_attrs=master/);
});

t.test('a target of standbys leads to one that is up', async (t) => {
  const primary = await Cluster.create();
  t.teardown(() => primary.destroy());
  const standbys = [await primary.standby('s1'), await primary.standby('s2')];
  t.teardown(() => Promise.all(standbys.map((standby) => standby.destroy())));
  const hosts = [primary, ...standbys].map(({ port }) => `127.0.0.1:${port}`).join(',');
  const reports = `postgres://postgres@${hosts}/postgres?target_session_attrs=prefer-standby`;
  const proxy = await ProxyProcess.start(primary.url(), undefined, [
    '--database',
    `reports=${reports}`,
  ]);
  t.teardown(() => proxy.end());
  const port = async () => {
    const client = new pg.Client({ connectionString: proxy.url('reports') });
    client.on('error', () => undefined);
    await client.connect();
    const { rows } = await client.query(`SELECT current_setting('port')::int AS port`);
    await client.end();
    return rows[0].port;
  };
  t.equal(await port(), standbys[0]!.port);
  await standbys[0]!.end('SIGQUIT');
  t.equal(await port(), standbys[1]!.port, 'the client waited for it');
  await standbys[1]!.end('SIGQUIT');
  t.equal(await port(), primary.port, 'none is left');
});
