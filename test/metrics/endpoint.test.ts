import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as tcp } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type EndpointOptions, startEndpoint } from '../../metrics/endpoint.js';
import { Metrics } from '../../metrics/registry.js';
import { METRICS, type MetricDefinition } from '../../metrics/table.js';

async function start(t: Test, change: Partial<EndpointOptions> = {}) {
  const metrics = new Metrics();
  const endpoint = await startEndpoint({
    host: '127.0.0.1',
    port: 0,
    metrics,
    health: () => ({ ok: true }),
    ready: () => ({ ok: true }),
    ...change,
  });
  t.teardown(() => endpoint.close());
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${endpoint.port}${path}`, { method });
    return { status: response.status, headers: response.headers, body: await response.text() };
  };
  return { endpoint, metrics, get };
}

t.test('/metrics is the text format of Prometheus', async (t) => {
  const { metrics, get } = await start(t);
  metrics.count('pgtandem_backfill_rows_total', { migration: 'a"b\\c\n' }, 7);
  const { status, headers, body } = await get('/metrics?x=1');
  t.equal(status, 200);
  t.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  t.match(body, 'pgtandem_backfill_rows_total{migration="a\\"b\\\\c\\n"} 7\n');
  for (const name of Object.keys(METRICS)) t.match(body, `# TYPE ${name} `);
});

t.test('a probe answers 200 or 503, with what it knows as JSON', async (t) => {
  const { get } = await start(t, {
    health: async () => ({ ok: false, reason: 'no lease' }),
    ready: () => ({ ok: true, epoch: 3 }),
  });
  const healthz = await get('/healthz');
  t.equal(healthz.status, 503);
  t.same(JSON.parse(healthz.body), { ok: false, reason: 'no lease' });
  const readyz = await get('/readyz');
  t.equal(readyz.status, 200);
  t.same(JSON.parse(readyz.body), { ok: true, epoch: 3 });
});

t.test('a probe that fails is not well', async (t) => {
  const { get } = await start(t, {
    health: () => {
      throw new Error('gone');
    },
    ready: () => Promise.reject(new Error('gone too')),
  });
  t.match(await get('/healthz'), { status: 503, body: /gone/ });
  t.match(await get('/readyz'), { status: 503, body: /gone too/ });
});

t.test('only GET and HEAD, only what there is', async (t) => {
  const { get } = await start(t);
  t.match(await get('/metrics', 'HEAD'), { status: 200, body: /^$/ });
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const { status, headers } = await get('/metrics', method);
    t.equal(status, 405, method);
    t.equal(headers.get('allow'), 'GET, HEAD');
  }
  for (const path of ['/', '/metrics/', '/../metrics/x', '/healthz%00']) {
    t.equal((await get(path)).status, 404, path);
  }
});

t.test('a client that sends slowly or says nothing is let go', async (t) => {
  const { endpoint, get } = await start(t);
  const ended = ['', 'GET /metrics HTTP/1.1\r\nHost: x\r\n'].map(async (text) => {
    const socket = tcp(endpoint.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    socket.write(text);
    await once(socket, 'close');
  });
  t.equal((await get('/healthz')).status, 200, 'others are served meanwhile');
  await Promise.all(ended);
  t.pass('both were closed');
});

t.test('closing ends the connections that are open', async (t) => {
  const { endpoint, get } = await start(t);
  await get('/healthz');
  const socket = tcp(endpoint.port, '127.0.0.1');
  socket.on('error', () => undefined).resume();
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  await endpoint.close();
  await closed;
  await t.rejects(get('/healthz'));
});

t.test('an address that is taken is an error', async (t) => {
  const { endpoint } = await start(t);
  await t.rejects(start(t, { port: endpoint.port }), { code: 'EADDRINUSE' });
});

t.test('promtool, where there is one, finds nothing to say', async (t) => {
  const metrics = new Metrics(true);
  for (const [name, { kind, labels }] of Object.entries<MetricDefinition>(METRICS)) {
    const values = Object.fromEntries(labels.map((label) => [label, 'x']));
    // The names are of the table; that their kinds agree is what the methods' types ask for.
    if (kind === 'counter') metrics.count(name as 'pgtandem_guarded_total', values as never);
    else if (kind === 'gauge') metrics.set(name as 'pgtandem_epoch', values as never, 1);
    else metrics.observe(name as 'pgtandem_hold_seconds', values as never, 1);
  }
  const input = await metrics.registry.metrics();
  const run = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' });
  if (run.error) return t.pass('promtool is not here', { skip: String(run.error) });
  t.equal(run.stdout + run.stderr, '');
  t.equal(run.status, 0);
});

t.test('docs/metrics.md lists every metric as the table has it, and no other', async (t) => {
  const file = join(import.meta.dirname, '..', '..', '..', 'docs', 'metrics.md');
  const documented = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `pgtandem_'))
    .map((line) =>
      line
        .slice(1, -1)
        .split(' | ')
        .map((cell) => cell.trim()),
    );
  const definitions = Object.entries<MetricDefinition>(METRICS);
  t.same(
    documented,
    definitions.map(([name, { kind, labels, help }]) => [
      `\`${name}\``,
      kind,
      labels.map((label) => `\`${label}\``).join(', ') || '-',
      help,
    ]),
  );
});
