import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { combine } from '../../cli/keeper/health.js';
import { Keeper, type KeeperOptions, pauseMs } from '../../cli/keeper/keeper.js';
import { activated } from '../../cli/keeper/listeners.js';
import { places } from '../../cli/options.js';
import {
  combineNumbers,
  expose,
  growing,
  labelled,
  withoutRelay,
} from '../../metrics/aggregate.js';
import { Metrics } from '../../metrics/registry.js';
import { IdleWatch } from '../../proxy/idle.js';
import { until } from '../e2e/clients.js';

const program = fileURLToPath(new URL('./stub-worker.js', import.meta.url));

interface Front {
  keeper: Keeper;
  log: string[];
  metrics: Metrics;
  /** Connects; `line` gives the next line that comes, null at the end. */
  client(): { socket: Socket; line: () => Promise<string | null> };
}

async function front(t: Test, change: Partial<KeeperOptions> = {}, address = ''): Promise<Front> {
  const log: string[] = [];
  const note = (fields: object, message: string) => {
    log.push(`${message} ${JSON.stringify(fields)}`);
  };
  const metrics = new Metrics();
  const keeper = new Keeper({
    workers: 2,
    settings: { targets: [], tls: {}, address, logLevel: 'info', warmUp: true, limits: {} },
    maxConnections: 1_000,
    patienceMs: 5_000,
    metrics,
    log: { info: note, warn: note, error: note },
    program,
    ...change,
  });
  t.teardown(() => keeper.kill());
  const server = createServer({ pauseOnConnect: true }, (socket) => keeper.take(socket, true));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const at = server.address();
  const client = () => {
    const socket = connect(typeof at === 'object' && at ? at.port : 0, '127.0.0.1');
    t.teardown(() => socket.destroy());
    socket.on('error', () => undefined);
    const lines = (async function* () {
      let text = '';
      try {
        for await (const chunk of socket) {
          text += chunk;
          for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
            yield text.slice(0, end);
            text = text.slice(end + 1);
          }
        }
      } catch {
        // A connection that was reset has ended too.
      }
      if (text) yield text;
    })();
    return { socket, line: async () => (await lines.next()).value ?? null };
  };
  return { keeper, log, metrics, client };
}

const pidIn = (line: string | null) => Number(line?.split(' ')[0]);

t.test('a worker asks all others; the first who knows answers', async (t) => {
  const { keeper, client } = await front(t, { workers: 3 });
  await keeper.start();
  const clients = [client(), client(), client()];
  const pids = await Promise.all(clients.map(async ({ line }) => pidIn(await line())));
  t.equal(new Set(pids).size, 3, 'each got one client');
  const [first] = clients;
  const ask = async (what: string) => {
    first!.socket.write(what);
    return first!.line();
  };
  t.equal(await ask(`who has:${pids[2]}`), JSON.stringify({ pid: pids[2] }));
  t.equal(await ask(`who has:${pids[1]}`), JSON.stringify({ pid: pids[1] }));
  t.equal(await ask(`who has:${pids[0]}`), 'null', 'not oneself');
  t.equal(await ask('who has:nobody'), 'null');
  t.equal(await ask('broken:x'), 'null');
  t.equal(await ask('nothing:x'), 'null');
  process.kill(pids[1]!, 'SIGSTOP');
  t.equal(await ask(`who has:${pids[2]}`), JSON.stringify({ pid: pids[2] }), 'one is silent');
  t.equal(await ask('who has:nobody'), 'null', 'and is not waited for without end');
  process.kill(pids[1]!, 'SIGCONT');
});

t.test('clients that come while no worker is ready wait for one', async (t) => {
  const { keeper, client } = await front(t, { workers: 1 });
  const early = client();
  await once(early.socket, 'connect');
  await keeper.start();
  const pid = pidIn(await early.line());
  t.ok(pid > 0);
  early.socket.write('crash');
  t.equal(await early.line(), null, 'it goes with its worker');
  const next = client();
  const other = pidIn(await next.line());
  t.ok(other > 0 && other !== pid, 'and the next one gets another');
  const impatient = await front(t, { patienceMs: 100 });
  t.match(await impatient.client().line(), /57P03/);
});

t.test('the limit: beyond it a client is told to be refused, far beyond it is', async (t) => {
  const { keeper, client, metrics } = await front(t, { maxConnections: 2 });
  await keeper.start();
  const lines: (string | null)[] = [];
  for (let i = 0; i < 3; i++) lines.push(await client().line());
  const seats = lines.map((line) => JSON.parse(line!.slice(line!.indexOf(' '))));
  t.same(
    seats.map(({ full }) => full),
    [false, false, true],
  );
  t.ok(seats.every(({ announced }) => announced));
  const many = Array.from({ length: 199 }, client);
  await Promise.all(many.map(({ line }) => line()));
  t.match(await client().line(), /53300.*sorry, too many clients already/);
  const counted = (await metrics.numbers()).find(({ name }) => name.endsWith('connections_total'));
  t.match(counted?.values, [{ value: 1, labels: { outcome: 'refused' } }]);
  const [one] = many;
  one!.socket.destroy();
  await until('there is room again', async () => {
    const line = await client().line();
    return line?.includes('{') ?? false;
  });
});

t.test('a worker that can not start ends the first start, with its reason', async (t) => {
  const failing = await front(t, {}, 'fail');
  await t.rejects(failing.keeper.start(), { message: 'no such server', code: 3 });
  const dying = await front(t, {}, 'die');
  await t.rejects(dying.keeper.start(), { message: 'it ended with 7', code: 1 });
});

t.test('health is of all workers, and one that fails is replaced', async (t) => {
  const { keeper, client, log } = await front(t);
  await keeper.start();
  t.match(await keeper.health(), { lease: 'held', workers: 2, wanted: 2 });
  for (let i = 0; i < 3; i++) {
    const { socket, line } = client();
    await line();
    socket.write('crash');
    await line();
    await until('it is replaced', async () => (await keeper.health()).workers === 2);
  }
  t.equal(log.filter((entry) => entry.includes('SIGKILL')).length, 3);
  t.equal(await keeper.end(1_000), true);
  t.match(await keeper.health(), { lease: 'lost', workers: 0, wanted: 2 });
});

t.test('pauses grow, and have an end', async (t) => {
  t.same([0, 1, 2, 3, 4, 8, 9, 1_000].map(pauseMs), [0, 0, 100, 200, 400, 6_400, 10_000, 10_000]);
});

t.test('several healths are as good as the worst', async (t) => {
  const one = { lease: 'held', connections: 2, held: 1, longestHoldMs: 7 } as const;
  const other = { lease: 'doubt', connections: 3, held: 0, longestHoldMs: 9 } as const;
  t.same(combine([one, other], 3), {
    ...{ lease: 'doubt', connections: 5, held: 1, longestHoldMs: 9, workers: 2, wanted: 3 },
  });
});

t.test('numbers of several processes become one', async (t) => {
  const [a, b, keeper] = [new Metrics(), new Metrics(), new Metrics()];
  for (const [metrics, n] of [[a, 1] as const, [b, 2] as const]) {
    metrics.count('pgtandem_client_connections_total', { outcome: 'relayed' }, n);
    metrics.set('pgtandem_client_connections', {}, n);
    metrics.set('pgtandem_epoch', { database: 'd' }, 10 + n);
    metrics.set('pgtandem_replica_lag_seconds', { standby: 's' }, n);
    metrics.observe('pgtandem_request_seconds', {}, n / 1_000);
  }
  a.showPhase('m', 'ready');
  keeper.set('pgtandem_workers', { state: 'ready' }, 2);
  // As they are when they have come from another process.
  const wire = async (metrics: Metrics) => JSON.parse(JSON.stringify(await metrics.numbers()));
  const text = await expose([await wire(a), await wire(b), withoutRelay(await keeper.numbers())]);
  for (const line of [
    'pgtandem_client_connections_total{outcome="relayed"} 3',
    'pgtandem_client_connections 3',
    'pgtandem_epoch{database="d"} 11',
    'pgtandem_replica_lag_seconds{standby="s"} 2',
    'pgtandem_request_seconds_count 2',
    'pgtandem_request_seconds_bucket{le="0.001"} 1',
    'pgtandem_migration_phase{migration="m",phase="ready"} 1',
    'pgtandem_workers{state="ready"} 2',
  ]) {
    t.ok(text.split('\n').includes(line), line);
  }
  const retired = await combineNumbers([growing(await wire(a)), growing(await wire(b))]);
  const after = await expose([retired, await wire(b)]);
  t.match(after, /connections_total\{outcome="relayed"\} 5\n/, 'what grew is kept');
  t.match(after, /pgtandem_client_connections 2\n/, 'and nothing else');
  a.forgetPhases();
  t.notMatch(await expose([await wire(a)]), /phase="ready"/);
});

t.test('what a thread beside the relay tells is added to what the relay does', async (t) => {
  const [relay, thread, other] = [new Metrics(), new Metrics(), new Metrics()];
  relay.set('pgtandem_client_connections', {}, 3);
  relay.observe('pgtandem_request_seconds', {}, 0.001);
  relay.count('pgtandem_errors_total', { kind: 'a' }, 1);
  thread.count('pgtandem_errors_total', { kind: 'a' }, 2);
  thread.set('pgtandem_replica_lag_seconds', { standby: 's' }, 7);
  thread.observe('pgtandem_backfill_chunk_seconds', { migration: 'm' }, 0.5);
  const told = labelled(await thread.numbers());
  t.same(
    told.map(({ name }) => name),
    ['pgtandem_errors_total', 'pgtandem_backfill_chunk_seconds', 'pgtandem_replica_lag_seconds'],
    'nothing of what it has not',
  );
  const worker = [...(await relay.numbers()), ...told];
  const lines = (await expose([worker, await other.numbers()])).split('\n');
  for (const line of [
    'pgtandem_client_connections 3',
    'pgtandem_request_seconds_count 1',
    'pgtandem_errors_total{kind="a"} 3',
    'pgtandem_replica_lag_seconds{standby="s"} 7',
    'pgtandem_backfill_chunk_seconds_count{migration="m"} 1',
  ]) {
    t.equal(lines.filter((each) => each === line).length, 1, line);
  }
});

t.test('a session is idle from the look on that first saw it so', async (t) => {
  const watch = new IdleWatch<{ idleMark: number | null }>();
  const [idle, busy, used] = [{ idleMark: 5 }, { idleMark: null }, { idleMark: 1 }];
  const all = [idle, busy, used];
  t.same(watch.look(all, 0, 100), []);
  used.idleMark++;
  t.same(watch.look(all, 99, 100), []);
  t.same(watch.look(all, 100, 100), [idle]);
  t.same(watch.look(all, 199, 100), [idle, used]);
});

t.test('where to listen', async (t) => {
  t.same(places('127.0.0.1:6432,[::1]:1,:2,unix:/run/x'), [
    { kind: 'tcp', host: '127.0.0.1', port: 6432 },
    { kind: 'tcp', host: '::1', port: 1 },
    { kind: 'tcp', host: '0.0.0.0', port: 2 },
    { kind: 'unix', path: '/run/x' },
  ]);
  for (const wrong of ['', 'unix:', 'unix:x', `unix:/${'x'.repeat(100)}`, '::1:5', 'a:70000']) {
    t.throws(() => places(wrong), wrong);
  }
  t.same(activated({ LISTEN_PID: '7', LISTEN_FDS: '2' }, 7), [
    { kind: 'fd', fd: 3 },
    { kind: 'fd', fd: 4 },
  ]);
  t.same(activated({ LISTEN_PID: '8', LISTEN_FDS: '2' }, 7), [], 'of another process');
  t.same(activated({}, 7), []);
});
