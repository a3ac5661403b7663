import pg from 'pg';
import t from 'tap';
import { Random } from '../../cli/demo/random.js';
import { Rig } from './rig.js';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env.STATEMENTS ?? 150);

/** A statement, with the values of its parameters. */
interface Statement {
  text: string;
  values: unknown[];
}

/** What a client can see of an answer. */
async function answer(client: pg.Client, statement: Statement, mode: string, moment: string) {
  const { text, values } = mode === 'simple' ? inline(statement) : statement;
  const name = mode === 'named' ? { name: hash(moment + text) } : {};
  try {
    const result = await client.query({ text, ...(values.length > 0 ? { values } : {}), ...name });
    return {
      command: result.command,
      rowCount: result.rowCount,
      fields: result.fields?.map(({ name, dataTypeID }) => [name, dataTypeID]),
      // What has no ORDER BY comes as it lies, and a table that was filled lies differently.
      rows: /ORDER BY/.test(text) ? result.rows : sorted(result.rows),
    };
  } catch (error) {
    const { code, message, position, column, constraint, dataType, severity } =
      error as pg.DatabaseError;
    return { code, message, position, column, constraint, dataType, severity };
  }
}

const sorted = (rows: unknown[]) =>
  [...rows].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

/** The same with its values in the text. */
function inline({ text, values }: Statement): Statement {
  const literal = (value: unknown) =>
    value === null || typeof value === 'number' ? String(value) : `'${String(value)}'`;
  return { text: text.replace(/\$(\d)/g, (_, n) => literal(values[Number(n) - 1])), values: [] };
}

function hash(text: string): string {
  let value = 0;
  for (const char of text) value = (value * 31 + char.charCodeAt(0)) >>> 0;
  return value.toString(36);
}

/** Column names of the moment: a rename changes one. */
interface Names {
  b: string;
}

type Maker = (random: Random, names: Names) => Statement;

const pick = <T>(random: Random, items: readonly T[]): T =>
  items[random.integer(0, items.length - 1)]!;
const int = (random: Random) =>
  pick(random, [0, 1, -5, 42, random.integer(0, 1000), 2147483647, 2147483648, null, 99999999999]);
const word = (random: Random) =>
  pick(random, [
    'Ab',
    'xyz',
    'MiXed',
    '',
    null,
    'longer than twelve',
    'a@B.c',
    `w${random.integer(0, 50)}`,
  ]);
const key = (random: Random) => 1 + random.integer(0, 60);

const MAKERS: Maker[] = [
  (r, { b }) => ({
    text: `INSERT INTO t (a, ${b}, c) VALUES ($1, $2, $3) RETURNING *`,
    values: [int(r), word(r), pick(r, [1.005, 12345.678, -2, null])],
  }),
  (r, { b }) => ({
    text: `INSERT INTO t (${b}) VALUES ($1), ($2) RETURNING id, a, ${b}`,
    values: [word(r), word(r)],
  }),
  (r) => ({ text: 'INSERT INTO t (a) VALUES ($1), (DEFAULT), (3 + 4)', values: [int(r)] }),
  (r) => ({
    text: 'INSERT INTO t VALUES ($1, $2, $3)',
    values: [1000 + r.integer(0, 900), int(r), word(r)],
  }),
  () => ({ text: 'INSERT INTO t DEFAULT VALUES RETURNING *', values: [] }),
  (r, { b }) => ({
    text: `INSERT INTO t AS x (id, a, ${b}) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE
           SET a = excluded.a + x.a, ${b} = excluded.${b} WHERE x.id < 50 RETURNING x.*, x.a + 1`,
    values: [key(r), int(r), word(r)],
  }),
  (r) => ({
    text: 'INSERT INTO t (id, a) VALUES ($1, $2) ON CONFLICT DO NOTHING',
    values: [key(r), int(r)],
  }),
  (r) => ({
    text: 'INSERT INTO t (id, d) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET d = excluded.d',
    values: [key(r), 'd'],
  }),
  (r) => ({ text: 'UPDATE t SET a = $1 WHERE id = $2', values: [int(r), key(r)] }),
  (r) => ({ text: 'UPDATE t SET a = a + $1 WHERE id = $2 RETURNING *', values: [int(r), key(r)] }),
  (r, { b }) => ({
    text: `UPDATE t AS y SET ${b} = upper(y.${b}) /* why */, d = $1 WHERE y.id < $2 RETURNING y.*`,
    values: ['e', key(r)],
  }),
  (r) => ({ text: `UPDATE t SET d = 'only' WHERE id = $1`, values: [key(r)] }),
  (r, { b }) => ({ text: `UPDATE t SET ${b} = $1 WHERE id = $2`, values: [word(r), key(r)] }),
  (r) => ({ text: 'UPDATE t SET a = DEFAULT, c = c * 2 WHERE id = $1', values: [key(r)] }),
  (r, { b }) => ({
    text: `UPDATE t SET (a, ${b}) = ($1, $2) WHERE id = $3 RETURNING a, ${b}`,
    values: [int(r), word(r), key(r)],
  }),
  (r) => ({
    text: 'UPDATE t SET a = o.x -- comment\n FROM other o WHERE o.id = t.id AND t.id = $1 RETURNING t.*, o.x',
    values: [key(r)],
  }),
  (r) => ({ text: 'DELETE FROM t WHERE id = $1 RETURNING *', values: [key(r)] }),
  (r) => ({ text: 'SELECT * FROM t WHERE id < $1 ORDER BY id', values: [key(r)] }),
  (r) => ({
    text: 'SELECT x.*, o.x FROM t x JOIN other o ON o.id = x.id WHERE x.id < $1 ORDER BY x.id',
    values: [key(r)],
  }),
  (r) => ({ text: 'SELECT * FROM t, other o WHERE o.id = t.id AND t.id = $1', values: [key(r)] }),
  () => ({ text: 'SELECT count(*), sum(a), max(length(d)) FROM t', values: [] }),
  (r) => ({
    text: 'WITH w AS (INSERT INTO t (a) VALUES ($1) RETURNING *) SELECT * FROM w',
    values: [int(r)],
  }),
  (r) => ({
    text: 'INSERT INTO t (a, d) SELECT x, $1 FROM other WHERE id < 4',
    values: [`s${r.integer(0, 9)}`],
  }),
  (r) => ({ text: 'INSERT INTO t (a) VALUES ($1::text)', values: [int(r)] }),
  () => ({ text: `UPDATE t SET a = 'not a number' WHERE id = 1`, values: [] }),
  () => ({ text: 'UPDATE t SET nocolumn = 1 WHERE id = 1', values: [] }),
  () => ({ text: 'INSERT INTO t (a) VALUES (1, 2)', values: [] }),
  () => ({ text: 'UPDATE t SET a = a + nofunction(1)', values: [] }),
  (r) => ({
    text: pick(r, ['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'ROLLBACK TO s']),
    values: [],
  }),
];

const SETUP = `
  CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL DEFAULT 3, b varchar(12), c numeric(6,2),
    d text, e int GENERATED ALWAYS AS (length(d)) STORED);
  CREATE INDEX t_a ON t (a);
  CREATE TABLE other (id int PRIMARY KEY, x int);
  INSERT INTO t (a, b, c, d) SELECT i, 'b' || i, i / 7.0, 'd' || i FROM generate_series(1, 60) i;
  INSERT INTO other SELECT i, i * 100 FROM generate_series(1, 60) i`;

const MIGRATIONS: {
  name: string;
  sql: string;
  plain: string;
  wrong: string;
  b: [string, string];
}[] = [
  {
    name: 'int_to_bigint',
    sql: 'ALTER TABLE t ALTER COLUMN a TYPE bigint',
    plain: 'ALTER TABLE t ALTER COLUMN a TYPE bigint',
    wrong: 'a IS DISTINCT FROM _pgtandem_new_a',
    b: ['b', 'b'],
  },
  {
    name: 'using',
    sql: 'ALTER TABLE t ALTER COLUMN b TYPE text USING lower(b)',
    plain: 'ALTER TABLE t ALTER COLUMN b TYPE text USING lower(b)',
    wrong: 'lower(b) IS DISTINCT FROM _pgtandem_new_b',
    b: ['b', 'b'],
  },
  {
    name: 'rename',
    sql: 'ALTER TABLE t RENAME COLUMN b TO bb',
    plain: 'ALTER TABLE t RENAME COLUMN b TO bb',
    wrong: 'b IS DISTINCT FROM bb',
    b: ['b', 'bb'],
  },
];

for (const { name, sql, plain, wrong, b } of MIGRATIONS) {
  t.test(`${name}: through the proxy as on a plain table (SEED=${SEED})`, async (t) => {
    const rig = await Rig.open();
    t.teardown(() => rig.close());
    await rig.query('CREATE DATABASE plain');
    const direct = await rig.cluster.client('plain');
    const proxied = new pg.Client({ connectionString: rig.proxy.url() });
    await proxied.connect();
    const plainly = await rig.cluster.client('plain');
    t.teardown(() => Promise.all([direct.end(), proxied.end(), plainly.end()]));
    // Whether an INSERT that fails has drawn its number goes by its plan: the sixth run of a prepared
    // statement has one in which constants are not computed before, and one prepared again begins anew.
    const align = async () => {
      const text = 'SELECT last_value FROM t_id_seq';
      const both = await Promise.all([plainly, rig.control].map((client) => client.query(text)));
      const [here, there] = both.map(({ rows }) => Number(rows[0].last_value)) as [number, number];
      if (here === there) return;
      for (const client of [plainly, rig.control]) {
        await client.query("SELECT setval('t_id_seq', $1)", [Math.max(here, there)]);
      }
    };
    for (const client of [direct, rig.control]) await client.query(SETUP);
    const random = new Random(SEED);
    const compare = async (moment: string, names: Names) => {
      for (let i = 0; i < COUNT; i++) {
        const statement = pick(random, MAKERS)(random, names);
        const mode = pick(random, ['simple', 'extended', 'named']);
        const expected = await answer(direct, statement, mode, moment);
        const actual = await answer(proxied, statement, mode, moment);
        const what = `${moment} ${mode} ${statement.text} ${JSON.stringify(statement.values)}`;
        // Of two values that do not fit either may be told: the renamed column is the last one.
        const isEither = [actual, expected].every((one) => /^2200[13]$/.test(one.code ?? ''));
        if (!isEither && !t.same(actual, expected, what)) return;
        if (expected.code) await align();
      }
      for (const client of [direct, proxied]) await client.query('ROLLBACK');
      t.same(await table(proxied), await table(direct), `${moment}: the same table`);
    };
    const table = async (client: pg.Client) =>
      (await client.query('SELECT * FROM t ORDER BY id')).rows;

    await compare('no migration', { b: b[0] });
    await rig.start(name, sql);
    await rig.reach(name, 'ready');
    await compare('before cutover', { b: b[0] });
    t.equal(await rig.one(`SELECT count(*)::int FROM t WHERE ${wrong}`), 0);
    await rig.ask(name, 'cutover', 'soaking');
    await direct.query(plain);
    await compare('after cutover', { b: b[1] });
    const guarded = await rig.proxy.metric('pgtandem_guarded_total');
    const repairs = Number((await rig.when(name, () => true)).progress.repairs ?? 0);
    const other = new pg.Client({ connectionString: rig.proxy.url('plain') });
    await other.connect();
    t.same(await table(other), await table(direct), 'another database is not touched');
    await other.query('UPDATE public.t SET d = d; ALTER TABLE t ADD COLUMN mine int');
    await other.end();
    t.comment(`guarded ${guarded}, repaired ${repairs}`);
    t.equal(await rig.proxy.metric('pgtandem_out_of_sync_total'), 0);
  });
}
