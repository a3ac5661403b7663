import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { alive, guest, hammer, until } from './clients.js';
import { Rig } from './rig.js';

t.setTimeout(120_000);

let rig: Rig;
t.before(async () => {
  rig = await Rig.open();
});
t.teardown(() => rig.close());

async function start(t: Test, ...options: string[]): Promise<ProxyProcess> {
  const proxy = await ProxyProcess.start(rig.cluster.url(), undefined, options);
  t.teardown(() => proxy.end('SIGKILL'));
  return proxy;
}

/** Process ids of a proxy's workers, from what the keeper's children are. */
function workersOf(proxy: ProxyProcess): number[] {
  const path = `/proc/${proxy.pid}/task/${proxy.pid}/children`;
  return readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

const relayed = (proxy: ProxyProcess) =>
  proxy.metric('pgtandem_client_connections_total', { outcome: 'relayed' });

t.test('a worker that is killed takes its own sessions with it, and is replaced', async (t) => {
  const proxy = await start(t, '--workers', '2');
  const [victim, other] = workersOf(proxy);
  const registered = `SELECT address FROM pgtandem.proxy WHERE address ~ $1`;
  for (const pid of [victim, other]) {
    const rows = await rig.query(registered, [`${proxy.address.replace(/\d+$/, '0')}.*pid ${pid}`]);
    t.equal(rows.length, 1, 'each is a proxy to the fleet');
  }
  const guests = await Promise.all(Array.from({ length: 10 }, () => guest(proxy.url())));
  t.equal(await proxy.metric('pgtandem_client_connections'), 10);
  t.equal((await proxy.health()).connections, 10);
  const before = await relayed(proxy);
  t.equal(before, 10);
  const load = hammer(proxy.url(), 4);
  await load.more(20);
  process.kill(victim!, 'SIGKILL');
  await until('half of them are gone', () => guests.filter((each) => each.gone()).length === 5);
  await load.more(50);
  const left = guests.filter((each) => !each.gone());
  t.equal(left.length, 5, 'the others live on');
  for (const { client } of left) {
    t.same((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  }
  await until('there are two again', async () => {
    return (await proxy.metric('pgtandem_workers', { state: 'ready' })) === 2;
  });
  await load.more(50);
  await load.stop();
  t.notOk(
    [...load.failed.keys()].some((what) => what.includes('ECONNREFUSED')),
    'none refused',
  );
  t.ok([...load.failed.values()].reduce((sum, n) => sum + n, 0) <= 8, `${[...load.failed]}`);
  t.equal(await proxy.metric('pgtandem_worker_failures_total'), 1);
  t.ok((await relayed(proxy)) >= before, 'what the dead one counted stays in the sum');
  t.equal(workersOf(proxy).includes(victim!), false);
  for (const { client } of left) await client.end();
});

t.test('a restart: no connection fails, and a transaction goes on within the grace', async (t) => {
  const proxy = await start(t, '--workers', '2', '--grace', '4s');
  const old = workersOf(proxy);
  const idle = await guest(proxy.url());
  const busy = await guest(proxy.url());
  await busy.client.query('CREATE TABLE IF NOT EXISTS r (n int); TRUNCATE r; BEGIN');
  await busy.client.query('INSERT INTO r VALUES (1)');
  const load = hammer(proxy.url(), 6);
  await load.more(100);
  const counted = await relayed(proxy);
  proxy.signal('SIGUSR2');
  await until('the new ones are there', () => workersOf(proxy).some((pid) => !old.includes(pid)));
  t.match(await idle.ended, { code: '57P01' }, 'an idle session is ended');
  await load.more(200);
  t.notOk(busy.gone(), 'a transaction is not');
  await busy.client.query('INSERT INTO r VALUES (2)');
  await busy.client.query('COMMIT');
  await busy.ended;
  t.equal(await rig.one('SELECT sum(n)::int FROM r'), 3);
  await until('the old ones are gone', () => old.every((pid) => !alive(pid)));
  await load.more(100);
  await load.stop();
  t.same([...load.failed], [], `${load.done()} connections, none of them failed`);
  t.equal(workersOf(proxy).length, 2);
  t.ok((await relayed(proxy)) >= counted + 300, 'what the old ones counted is still there');
  t.equal(await proxy.metric('pgtandem_worker_failures_total'), 0);
  proxy.signal('SIGTERM');
  t.equal(await proxy.ended(), 0);
});

t.test('what can not start does not take the place of what runs', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const proxy = await ProxyProcess.start(cluster.url(), undefined, ['--grace', '500ms']);
  t.teardown(() => proxy.end('SIGKILL'));
  const before = workersOf(proxy);
  await cluster.end('SIGQUIT');
  proxy.signal('SIGUSR2');
  await until('it is told', () => proxy.log.some((line) => line.includes('not renewed')));
  // The process that could not start may still be about to end when that is told.
  await until('it is gone', () => workersOf(proxy).length <= before.length);
  t.same(workersOf(proxy), before);
  await cluster.start();
  const load = hammer(proxy.url(), 1);
  await load.more(3);
  await load.stop();
});

t.test('a worker that says nothing is counted, and its counters are kept', async (t) => {
  const proxy = await start(t, '--workers', '2');
  for (let i = 0; i < 4; i++) await (await guest(proxy.url())).client.end();
  await until(
    'all are gone',
    async () => (await proxy.metric('pgtandem_client_connections')) === 0,
  );
  const before = await relayed(proxy);
  t.equal(before, 4);
  const [silent] = workersOf(proxy);
  process.kill(silent!, 'SIGSTOP');
  t.teardown(() => alive(silent!) && process.kill(silent!, 'SIGCONT'));
  t.equal(await relayed(proxy), before);
  t.equal(await proxy.metric('pgtandem_silent_workers'), 1);
  t.equal((await fetch(`${proxy.metricsUrl}/readyz`)).status, 503, 'not ready: one is missing');
  t.equal((await fetch(`${proxy.metricsUrl}/healthz`)).status, 200, 'but alive');
  process.kill(silent!, 'SIGCONT');
  await until('it speaks', async () => (await proxy.metric('pgtandem_silent_workers')) === 0);
  t.equal((await fetch(`${proxy.metricsUrl}/readyz`)).status, 200);
});

t.test('workers end with their keeper, and others can have its port', async (t) => {
  const proxy = await start(t, '--workers', '2');
  const workers = workersOf(proxy);
  const { ended } = await guest(proxy.url());
  await proxy.end('SIGKILL');
  await ended;
  await until('they are gone', () => !workers.some(alive));
  const next = await ProxyProcess.start(rig.cluster.url(), proxy.address);
  t.teardown(() => next.end());
  await (await guest(next.url())).client.end();
});

t.test('a signal to the whole group, as a terminal sends it, drains in order', async (t) => {
  const proxy = await start(t, '--workers', '2');
  const { client, ended } = await guest(proxy.url());
  const asked = client.query('SELECT pg_sleep(0.5), 1 AS one');
  const running = `SELECT count(*)::int FROM pg_stat_activity
    WHERE application_name = 'guest' AND wait_event = 'PgSleep'`;
  await until('it runs', async () => (await rig.one(running)) === 1);
  for (const pid of [...workersOf(proxy), proxy.pid]) process.kill(pid, 'SIGINT');
  t.match((await asked).rows, [{ one: 1 }]);
  t.match(await ended, { code: '57P01' });
  t.equal(await proxy.ended(), 0);
});

t.test('a migration over two workers: no error, nothing lost', async (t) => {
  const proxy = await start(t, '--workers', '2');
  await rig.query(`CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    INSERT INTO counters (id) SELECT generate_series(1, 4)`);
  const guests = await Promise.all([1, 2, 3, 4].map(() => guest(proxy.url())));
  const counts = [0, 0, 0, 0];
  let running = true;
  const loops = guests.map(async ({ client }, i) => {
    while (running) {
      const text = 'UPDATE counters SET n = n + 1 WHERE id = $1 RETURNING *';
      const { rows } = await client.query({ name: 'c', text, values: [i + 1] });
      counts[i]!++;
      if (Number(rows[0].n) !== counts[i] || Object.keys(rows[0]).length !== 2) {
        throw new Error(JSON.stringify(rows));
      }
    }
  });
  await rig.start('w', 'ALTER TABLE counters ALTER COLUMN n TYPE bigint');
  await rig.reach('w', 'ready');
  const shown = await proxy.metric('pgtandem_epoch');
  t.equal(shown, Number(await rig.one('SELECT epoch FROM pgtandem.rules')));
  await rig.ask('w', 'cutover', 'soaking');
  const wrong = 'SELECT count(*)::int FROM counters WHERE n IS DISTINCT FROM _pgtandem_old_n';
  t.equal(await rig.one(wrong), 0);
  await rig.ask('w', 'complete', 'completed');
  running = false;
  await Promise.all(loops);
  const stored = (await rig.query('SELECT n FROM counters ORDER BY id')).map((row) =>
    Number(row.n),
  );
  t.same(stored, counts);
  for (const { client } of guests) await client.end();
});
