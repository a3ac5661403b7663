import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { Rig } from './rig.js';

const MAIN = resolve(import.meta.dirname, '..', '..', 'cli', 'main.js');

interface Run {
  code: number | null;
  out: string;
  err: string;
}

/** Runs a command; `during` is called with what it has printed so far, each time it prints. */
function pgtandem(args: string[], env = {}, during: (out: string) => void = () => undefined) {
  return new Promise<Run>((done) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
      during(out);
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.on('close', (code) => done({ code, out, err }));
  });
}

t.test('help is for newcomers, and a wrong option is exit code 2', async (t) => {
  const help = await pgtandem(['--help']);
  t.equal(help.code, 0);
  for (const word of ['demo', 'proxy', 'plan', 'start', 'status', 'cutover', 'revert', 'explain']) {
    t.match(help.out, new RegExp(`\\b${word}\\b`));
  }
  t.match(help.out, /A first migration/);
  for (const args of [
    ['start', '--nonsense'],
    ['nothing'],
    ['start', '-e', 'x', '--soak', 'soon'],
  ]) {
    const wrong = await pgtandem(args, { PGTANDEM_DATABASE: 'postgres://x' });
    t.equal(wrong.code, 2, args.join(' '));
    t.match(wrong.err, /error: /);
  }
});

t.test('a server that is not there is an error that says where', async (t) => {
  for (const args of [['status'], ['plan', '-e', 'ALTER TABLE a RENAME b TO c']]) {
    const run = await pgtandem([...args, '--database', 'postgres://nobody@127.0.0.1:1/none']);
    t.equal(run.code, 3);
    t.match(run.err, /Can't connect to 127.0.0.1:1\/none: .*\n {2}hint: /);
  }
  const proxy = await pgtandem(['proxy', '--upstream', 'postgres://nobody@127.0.0.1:1/none']);
  t.equal(proxy.code, 3);
  t.match(proxy.err, /Can't connect/);
});

t.test('a migration by the command line', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await rig.query(`CREATE TABLE orders (id serial PRIMARY KEY, amount int, note text);
    INSERT INTO orders (amount, note) SELECT i, i::text FROM generate_series(1, 500) i;
    UPDATE orders SET note = 'not a number' WHERE id = 7; CREATE TABLE drafts (LIKE orders)`);
  const env = { PGTANDEM_DATABASE: rig.cluster.url() };
  const run = (...args: string[]) => pgtandem(args, env);
  const file = join(t.testdir(), 'amount.sql');
  writeFileSync(file, '-- wider\nALTER TABLE orders ALTER COLUMN amount TYPE bigint;\n');

  const wrong = join(t.testdirName, 'wrong.sql');
  writeFileSync(wrong, 'ALTER TABLE orders\n  ALTER COLUMN amount TYPO bigint;\n');
  const refused = await run('start', wrong);
  t.equal(refused.code, 3);
  t.match(refused.err, /wrong\.sql:2: It does not parse/);
  t.equal((await run('start', join(t.testdirName, 'none.sql'))).code, 3);
  t.equal((await run('status', 'nothing')).code, 3);

  const plan = await run('plan', file);
  t.equal(plan.code, 0, plan.err);
  t.match(plan.out, /Migration amount of public\.orders[\s\S]*integer -> bigint[\s\S]*warning: /);
  const asked = JSON.parse((await run('plan', file, '--json')).out);
  t.equal(asked.plan.changes[0].shadow.after, 'amount');

  const explained = await run('explain', 'UPDATE orders SET amount = 1', '--migration', file);
  t.equal(explained.code, 0, explained.err);
  t.match(explained.out, /update: rewritten[\s\S]*_pgtandem_new_amount/);
  // A proxy asks how many columns the other table has, and so does this.
  const copied = await run(
    'explain',
    'INSERT INTO orders SELECT * FROM drafts',
    '--migration',
    file,
  );
  t.match(copied.out, /insert: rewritten[\s\S]*_pgtandem_new_amount/, copied.err);

  const auto = ['--cutover', 'auto', '--soak', '500ms', '--wait', 'completed'];
  const done = await run('start', file, ...auto);
  t.equal(done.code, 0, done.err);
  t.match(done.out, /completed/);
  t.equal(await rig.one(`SELECT pg_typeof(amount)::text FROM orders LIMIT 1`), 'bigint');
  const status = JSON.parse((await run('status', 'amount', '--json')).out);
  t.equal(status.phase.name, 'completed');
  t.equal(status.history.at(-1).to, 'completed');

  const bad = 'ALTER TABLE orders ALTER COLUMN note TYPE int USING note::int';
  const stuck = await run('start', '-e', bad, '--name', 'bad', ...auto);
  t.equal(stuck.code, 4, 'it will not get there by itself');
  t.match(stuck.err, /paused: .*invalid input syntax for type integer: "not a number"/);
  t.match((await run('status', 'bad')).out, /paused .*\n.*pgtandem resume bad/);
  await rig.query(`UPDATE orders SET note = '7' WHERE id = 7`);
  t.equal((await run('resume', 'bad')).code, 0);
  await rig.reach('bad', 'completed');
  t.equal((await run('abort', 'bad')).code, 3);

  await rig.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  const rename = ['start', '-e', 'ALTER TABLE orders RENAME note TO n', '--name', 'r'];
  let killed: Promise<void> | undefined;
  const lost = await pgtandem([...rename, ...auto], env, (out) => {
    if (out.includes('backfilling')) killed ??= rig.cluster.end('SIGQUIT');
  });
  await killed;
  t.equal(lost.code, 3);
  t.match(lost.err, /The connection to the database was lost/);
  await rig.cluster.start();
});
