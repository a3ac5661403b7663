import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import t from 'tap';
import { throttleOptions } from '../../cli/throttle-options.js';
import { until } from '../backfill/setup.js';
import { Rig } from './rig.js';

const MAIN = resolve(import.meta.dirname, '..', '..', 'cli', 'main.js');

t.test('what a threshold can be', async (t) => {
  const options = throttleOptions();
  const parse = (flag: string, text: string) => {
    const option = options.find(({ long }) => long === flag)!;
    return option.parseArg!(text, undefined as never);
  };
  for (const [flag, text] of [
    ['--max-lag', 'soon'],
    ['--max-lag', 'off'],
    ['--max-wal', '1 TB'],
    ['--max-active', ''],
    ['--fill-workers', '0'],
    ['--fill-workers', '17'],
    ['--fill-workers', '1.5'],
    ['--throttle-max', 'many'],
    ['--throttle-url', 'ftp://host/'],
    ['--throttle-url', 'http://user:secret@host/'],
    ['--level', 'privilege=off'],
    ['--level', 'wal-rate=often'],
    ['--level', 'wal-rate'],
  ] as const) {
    t.throws(() => parse(flag, text), `${flag} ${text}`);
  }
  t.equal(parse('--max-wal', '1GB'), 1024 ** 3);
  t.equal(parse('--throttle-max', '-0.5'), -0.5);
  t.same(parse('--level', 'wal-rate=hard'), { 'wal-rate': 'hard' });
});

t.test('the thresholds are shown and changed while it runs', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(`CREATE TABLE orders (id serial PRIMARY KEY, amount int);
    INSERT INTO orders (amount) SELECT i FROM generate_series(1, 5000) i`);
  const env = { ...process.env, PGTANDEM_DATABASE: rig.cluster.url() };
  const pgtandem = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
      env,
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  const waits = (text: RegExp) =>
    rig.when('m', ({ phase, progress }) => {
      const backfill = progress.backfill as { throttled?: { text: string } | null } | undefined;
      return phase.name === 'backfilling' && text.test(backfill?.throttled?.text ?? '');
    });
  // A standby that is not there holds it back until the test is done.
  await until('our schema is there', async () =>
    Boolean(await rig.one(`SELECT to_regclass('pgtandem.standby')`)),
  );
  await rig.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  const action = 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint';
  t.equal(pgtandem('start', '-e', action, '--name', 'm').code, 0);
  await waits(/^standby-lost: ghost/);
  // Told by the coordinators' thread, by way of the worker and its keeper.
  const waiting = 'pgtandem_backfill_waiting{migration="m",reason="standby-lost"} 1\n';
  await until('the metrics tell it, too', async () => {
    const told = await (await fetch(`${rig.proxy.metricsUrl}/metrics`)).text();
    return told.includes(waiting) && told.includes('phase="backfilling"} 1\n');
  });

  const shown = pgtandem('throttle', 'm');
  t.equal(shown.code, 0, shown.err);
  t.match(
    shown.out,
    /max-lag +1s\n.*max-lag-bytes +64MB\n.*chunk-time +50ms\n.*fill-workers +1\n.*max-slot-wal +4GB/,
  );
  t.match(shown.out, /max-active +off\n/);

  t.equal(pgtandem('throttle', 'm', '--level', 'wal-rate=often').code, 2);

  const query = ['--throttle-query', 'SELECT 7', '--throttle-max', '5'];
  const wal = ['--max-wal', '1GB', '--max-wal-rate', 'off', '--throttle-url', 'off'];
  t.match(JSON.parse(pgtandem('throttle', 'm', ...wal, '--json').out), {
    maxWalBytes: 1024 ** 3,
    maxWalRate: null,
    url: null,
  });
  t.equal(
    JSON.parse(pgtandem('throttle', 'm', '--max-wal', 'off', '--json').out).maxWalBytes,
    null,
  );
  const off = [
    '--level',
    'standby-lost=off',
    '--max-lag',
    '500ms',
    '--fill-workers',
    '3',
    '--json',
  ];
  const changed = JSON.parse(pgtandem('throttle', 'm', ...query, ...off).out);
  t.match(changed, {
    maxLagMs: 500,
    fillWorkers: 3,
    query: 'SELECT 7',
    queryMax: 5,
    maxActive: null,
  });
  await waits(/^query: the throttle query gives 7 \(limit 5\)$/);

  const levels = pgtandem('throttle', 'm', '--level', 'query=critical');
  t.match(levels.out, /level +standby-lost=off\n +level +query=critical\n/);
  const { paused } = await rig.when('m', ({ paused }) => paused !== null);
  t.match(paused, /^backfilling: query: the throttle query gives 7 \(limit 5\)/);

  t.equal(pgtandem('throttle', 'm', '--level', 'query=hard').code, 0);
  t.equal(pgtandem('resume', 'm').code, 0);
  await waits(/^query/);
  await rig.query(
    `UPDATE pgtandem.migration SET settings = settings || '{"queryMax": 7}' WHERE name = 'm'`,
  );
  await rig.reach('m', 'ready');
  t.equal(
    await rig.one('SELECT count(*)::int FROM orders WHERE _pgtandem_new_amount = amount'),
    5000,
  );
});
