import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { createTable } from '../../cli/demo/orders.js';
import { BadNetwork, flatOut, fresh, more, ROWS, SEED, until } from './rig.js';

t.comment(`SEED=${SEED}`);
const cluster = await Cluster.create();
t.teardown(() => cluster.destroy());

t.test('a load on a server that is in order sees no error and nothing wrong', async (t) => {
  const { url, sql } = await fresh(t, cluster);
  const load = flatOut(t, url);
  await load.start();
  await more(load, 3_000);
  load.mark('during');
  await more(load, 5_000);
  await load.stop();
  const summary = load.summary();
  t.same(summary.errors, []);
  t.same(summary.wrong, []);
  t.equal(summary.reconnects, 0);
  t.equal(summary.seed, SEED);
  t.match(summary.latency, { before: { count: Number }, during: { count: Number } });
  const { during } = summary.latency;
  t.ok(during!.count >= 5_000 && during!.p50Ms > 0 && during!.p50Ms <= during!.p99Ms);
  t.ok(during!.p99Ms <= during!.maxMs);
  for (const protocol of ['simple', 'unnamed', 'named']) {
    const shapes = Object.keys(summary.shapes).filter((key) => key.endsWith(` ${protocol}`));
    t.ok(shapes.length >= 16, `${shapes.length} shapes by the ${protocol} protocol`);
  }
  t.ok(summary.shapes['script simple']! > 0 && summary.shapes['rollback simple']! > 0);
  const verification = await load.verify(url, { exactColumns: true });
  const { rows } = await sql('SELECT count(*) FROM orders');
  t.same(verification, {
    rowsChecked: Number(rows[0].count),
    lost: 0,
    wrong: 0,
    doubtful: 0,
    samples: [],
  });
});

t.test('a paced load keeps its rate, and a table is never replaced', async (t) => {
  const { url } = await fresh(t, cluster);
  await t.rejects(createTable(url, { rows: 1 }), /there already/);
  const load = flatOut(t, url, { ratePerSecond: 400 });
  const started = performance.now();
  await load.start();
  await t.rejects(load.start(), /starts once/);
  await t.rejects(load.verify(url), /stop it/);
  await more(load, 600);
  await load.stop();
  const rate = (load.summary().statements * 1_000) / (performance.now() - started);
  t.ok(rate < 440, `${rate} statements a second`);
  t.same(load.summary().errors, []);
});

t.test('what is changed behind its back is found, row by row', async (t) => {
  const { url, sql } = await fresh(t, cluster);
  const load = flatOut(t, url);
  await load.stop();
  const clean = await load.verify(url);
  t.match(clean, { rowsChecked: ROWS, lost: 0, wrong: 0 }, 'the two seed formulas agree');
  const acts: [kind: 'lost' | 'wrong', text: string, sample: RegExp][] = [
    ['wrong', 'UPDATE orders SET amount = amount + 1 WHERE id = 17', /row 17: amount is/],
    ['wrong', 'UPDATE orders SET amount = 0 WHERE id = 18', /row 18: amount is 0/],
    ['wrong', `UPDATE orders SET note = '' WHERE id = 21`, /row 21: note is , not null/],
    ['wrong', 'UPDATE orders SET customer = 1 WHERE id = 19', /row 19: customer/],
    ['wrong', 'UPDATE orders SET updated_at = now() WHERE id = 20', /row 20: updated_at/],
    ['wrong', 'INSERT INTO orders (customer) VALUES (1)', /row 2001: nobody/],
    ['wrong', 'INSERT INTO orders (id, customer) VALUES (0, 1)', /row 0: nobody/],
    ['lost', 'DELETE FROM orders WHERE id = 1', /row 1 is not there/],
    ['lost', 'DELETE FROM orders WHERE id = 2000', /row 2000 is not there/],
  ];
  const total = { lost: 0, wrong: 0 };
  for (const [kind, text, sample] of acts) {
    await sql(text);
    total[kind]++;
    const found = await load.verify(url);
    t.match(found, total, text);
    t.ok(
      found.samples.some((line) => sample.test(line) && line.startsWith(kind)),
      found.samples.join('; '),
    );
  }
  await sql('ALTER TABLE orders ADD COLUMN amount_new bigint');
  t.match(await load.verify(url), total, 'a hidden column is no matter unless asked');
  const exact = await load.verify(url, { exactColumns: true });
  t.equal(exact.wrong, total.wrong + 1);
  t.match(exact.samples[0], /columns are \(.*amount_new\)/);
});

t.test('rows that the load has written itself are compared too', async (t) => {
  const { url, sql } = await fresh(t, cluster, 0);
  const load = flatOut(t, url, { rows: 0 });
  await load.start();
  await more(load, 2_000);
  await load.stop();
  t.match(await load.verify(url), { lost: 0, wrong: 0 });
  const changed = await sql(
    `UPDATE orders SET amount = amount - 1 WHERE id IN
       (SELECT id FROM orders WHERE id < 1000000000 ORDER BY random() LIMIT 3)`,
  );
  t.equal(changed.rowCount, 3);
  await sql('DELETE FROM orders WHERE id = (SELECT max(id) FROM orders)');
  t.match(await load.verify(url), { lost: 1, wrong: 3 });
});

const ACTS: [title: string, text: string, complaint: RegExp][] = [
  [
    'a column that appears while it runs is complained of',
    'ALTER TABLE orders ADD COLUMN amount_new bigint',
    /columns are \(id, customer, amount, note, updated_at, amount_new\)/,
  ],
  [
    'a value that is changed while it runs is complained of',
    // Row by row it could deadlock with a transaction of the load.
    'BEGIN; LOCK TABLE orders; UPDATE orders SET amount = amount + 1; COMMIT',
    /amount is \d+, not \d+/,
  ],
  [
    'rows that vanish while it runs are complained of',
    'BEGIN; LOCK TABLE orders; DELETE FROM orders WHERE id <= 1000; COMMIT',
    /command tag says 0 rows, not 1/,
  ],
  [
    'a write that is quietly dropped is complained of',
    `CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
     CREATE TRIGGER drop_it BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION drop_it()`,
    /command tag says 0 rows, not 1/,
  ],
  [
    'a notice that nobody asked for is complained of',
    `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql
       AS 'BEGIN RAISE NOTICE ''hello''; RETURN NEW; END';
     CREATE TRIGGER tell BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell()`,
    /NOTICE: hello/,
  ],
  [
    'a type that is no whole number is complained of',
    'ALTER TABLE orders ALTER amount TYPE numeric',
    /amount is of type 1700/,
  ],
];
for (const [title, text, complaint] of ACTS) {
  t.test(title, async (t) => {
    const { url, sql } = await fresh(t, cluster);
    const load = flatOut(t, url);
    await load.start();
    await more(load, 200);
    t.equal(load.summary().wrongCount, 0);
    load.mark('sabotage');
    await sql(text);
    await until('it is seen', () =>
      load.summary().wrong.some((wrong) => complaint.test(wrong.complaint)),
    );
    await load.stop();
    t.equal(load.summary().wrong[0]?.phase, 'sabotage');
  });
}

t.test('a direct type change costs errors of the kind that a proxy must hide', async (t) => {
  const { url, sql } = await fresh(t, cluster);
  const load = flatOut(t, url);
  await load.start();
  await more(load, 1_500);
  await sql('ALTER TABLE orders ALTER amount TYPE bigint');
  await more(load, 3_000);
  await load.stop();
  const { errors, wrong } = load.summary();
  t.same(wrong, [], 'a bigint where an integer was is right');
  t.match(errors, [{ message: '0A000: cached plan must not change result type' }]);
  t.match(errors[0]!.sample, /orders/);
  t.match(await load.verify(url, { exactColumns: true }), { lost: 0, wrong: 0, doubtful: 0 });
});

t.test('connections that are ended at any time leave no row unexplained', async (t) => {
  const { url, name, sql } = await fresh(t, cluster);
  const load = flatOut(t, url, { applicationName: 'victim' });
  await load.start();
  for (let round = 0; round < 25; round++) {
    await more(load, 40);
    await sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = '${name}' AND application_name = 'victim'`,
    );
  }
  await more(load, 500);
  await load.stop();
  const { errors, wrong, reconnects } = load.summary();
  t.same(wrong, []);
  t.ok(reconnects >= 50, `${reconnects} reconnects`);
  t.ok(
    errors.every(({ message }) => /57P01|terminated|ECONNRESET|EPIPE/.test(message)),
    JSON.stringify(errors),
  );
  t.match(await load.verify(url), { lost: 0, wrong: 0 });
});

t.test('a load outlives a crash of the server, and knows what it was promised', async (t) => {
  const { url } = await fresh(t, cluster);
  const load = flatOut(t, url);
  await load.start();
  await more(load, 1_000);
  await cluster.end('SIGKILL');
  const refused = () =>
    load.summary().errors.find(({ message }) => message.startsWith('ECONNREFUSED'));
  await until('attempts to connect fail', () => (refused()?.count ?? 0) >= 8);
  await cluster.start();
  await more(load, 1_000);
  await load.stop();
  t.same(load.summary().wrong, []);
  t.match(await load.verify(url), { lost: 0, wrong: 0 });
});

t.test('answers that are lost leave no row unexplained', async (t) => {
  const { url } = await fresh(t, cluster);
  const network = await BadNetwork.to(t, url);
  const load = flatOut(t, network.url);
  await load.start();
  // Which answers are lost is chance; it goes on until one was that of such an insert.
  for (let round = 0; round < 25 || load.unknownInserts === 0; round++) {
    await more(load, 40);
    network.loseAnswers();
  }
  await more(load, 200);
  await load.stop();
  t.ok(load.summary().reconnects >= 50);
  t.same(load.summary().wrong, []);
  const found = await load.verify(url);
  t.match(found, { lost: 0, wrong: 0 });
  t.ok(found.doubtful >= load.unknownInserts, 'what is not known is counted');
});

t.test('a statement that outlives its connection does not change a row unseen', async (t) => {
  const { url, sql } = await fresh(t, cluster);
  await sql(
    `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
       AS 'BEGIN PERFORM pg_sleep(0.2) WHERE random() < 0.05; RETURN NEW; END';
     CREATE TRIGGER dawdle BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION dawdle()`,
  );
  const network = await BadNetwork.to(t, url);
  const load = flatOut(t, network.url);
  await load.start();
  for (let round = 0; round < 25; round++) {
    await more(load, 20);
    network.loseClients();
  }
  await more(load, 200);
  await load.stop();
  t.ok(load.summary().reconnects >= 50);
  t.same(load.summary().wrong, []);
  t.match(await load.verify(url), { lost: 0, wrong: 0 });
});

t.test('stop returns while the server is down, and when it does not answer', async (t) => {
  const { url } = await fresh(t, cluster);
  const network = await BadNetwork.to(t, url);
  const load = flatOut(t, network.url);
  await load.start();
  await more(load, 300);
  network.freeze();
  // Answers that were on their way still come; after them every worker waits for one.
  let answered = -1;
  let quiet = 0;
  await until('nothing moves', () => {
    const { statements } = load.summary();
    quiet = statements === answered ? quiet + 1 : 0;
    answered = statements;
    return quiet > 10;
  });
  await load.stop({ withinMs: 200 });
  t.equal(load.summary().errorCount, 4);
  t.same(load.summary().wrong, []);
  const other = flatOut(t, url);
  await other.start();
  await more(other, 100);
  await cluster.end('SIGKILL');
  await other.stop();
  await cluster.start();
  await t.rejects(flatOut(t, 'postgres://postgres@127.0.0.1:1/none').start(), /ECONNREFUSED/);
});
