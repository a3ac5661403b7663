import { spawnSync } from 'node:child_process';
import pg from 'pg';
import postgres from 'postgres';
import t, { type Test } from 'tap';
import { Rig } from './rig.js';

const hasPsql = spawnSync('psql', ['--version']).status === 0;
const COLUMNS = ['id', 'amount', 'note'];

/** What an application does, by one driver; each answer is checked. */
interface Driver {
  name: string;
  /** Statements that were prepared before any migration, used again in every phase. */
  exercise(t: Test, phase: string): Promise<void>;
  end(): Promise<unknown>;
}

async function viaPg(url: string): Promise<Driver> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const named = (name: string, text: string, values: unknown[]) =>
    client.query({ name, text, values });
  return {
    name: 'pg',
    end: () => client.end(),
    async exercise(t, phase) {
      const made = await named(
        'ins',
        'INSERT INTO orders (amount, note) VALUES ($1, $2) RETURNING *',
        [41, phase],
      );
      t.same(
        made.fields.map((field) => field.name),
        COLUMNS,
        `${phase}: RETURNING *`,
      );
      const id = made.rows[0].id;
      await named('up', 'UPDATE orders SET amount = amount + $1 WHERE id = $2', [1, id]);
      const star = await named('star', 'SELECT * FROM orders WHERE id = $1', [id]);
      t.same(
        star.fields.map((field) => field.name),
        COLUMNS,
        `${phase}: named SELECT *`,
      );
      t.equal(Number(star.rows[0].amount), 42);
      const simple = await client.query(`SELECT * FROM orders o WHERE o.note = '${phase}'`);
      t.same(
        simple.fields.map((field) => field.name),
        COLUMNS,
        `${phase}: simple SELECT *`,
      );
      const upsert = await client.query(
        `INSERT INTO orders VALUES ($1, 5, 'x') ON CONFLICT (id) DO UPDATE SET amount = excluded.amount`,
        [id],
      );
      t.equal(upsert.rowCount, 1);
      await client.query('BEGIN');
      await client.query('UPDATE orders SET note = note WHERE id = $1', [id]);
      await t.rejects(client.query('INSERT INTO orders (amount) VALUES (NULL)'), { code: '23502' });
      await client.query('ROLLBACK');
    },
  };
}

async function viaPostgresJs(url: string): Promise<Driver> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  await sql`SELECT 1`;
  return {
    name: 'postgres.js',
    end: () => sql.end(),
    async exercise(t, phase) {
      const made = await Promise.all(
        [1, 2, 3, 4].map(
          (n) => sql`INSERT INTO orders (amount, note) VALUES (${n}, ${phase}) RETURNING *`,
        ),
      );
      for (const result of made) {
        t.same(
          result.columns.map((column) => column.name),
          COLUMNS,
          `${phase}: pipelined RETURNING *`,
        );
      }
      const ids = made.map((result) => result[0]!.id);
      const [stars, , counted] = await Promise.all([
        sql`SELECT * FROM orders WHERE id = ANY(${ids}) ORDER BY amount`,
        sql`UPDATE orders SET amount = amount * 10 WHERE id = ANY(${ids})`,
        sql`SELECT sum(amount)::int AS sum FROM orders WHERE id = ANY(${ids})`,
      ]);
      t.same(
        stars.map((row) => Number(row.amount)),
        [1, 2, 3, 4],
      );
      t.equal(counted[0]!.sum, 100);
      await t.rejects(sql`INSERT INTO orders (amount) VALUES (${null})`, { code: '23502' });
      const inTransaction = await sql.begin((tx) => [
        tx`DELETE FROM orders WHERE id = ${ids[0]!} RETURNING *`,
        tx`SELECT count(*)::int AS n FROM orders WHERE id = ANY(${ids})`,
      ]);
      t.equal(inTransaction[1]![0]!.n, 3);
    },
  };
}

function viaPsql(url: string): Driver {
  return {
    name: 'psql',
    end: async () => undefined,
    async exercise(t, phase) {
      const script = `
        INSERT INTO orders (amount, note) VALUES (7, 'psql ${phase}');
        \\copy orders (amount, note) FROM STDIN
8	copied
\\.
        SELECT * FROM orders WHERE note LIKE 'psql ${phase}%';
        UPDATE orders SET amount = 9 WHERE note = 'copied' RETURNING amount;
        DELETE FROM orders WHERE note = 'copied';`;
      const run = spawnSync('psql', [url, '-X', '-A', '-v', 'ON_ERROR_STOP=1'], {
        input: script,
        encoding: 'utf8',
      });
      t.equal(run.status, 0, `${phase}: ${run.stderr}`);
      t.match(run.stdout, /id\|amount\|note\n\d+\|7\|psql/);
    },
  };
}

t.test(
  'drivers see no difference in any phase, on connections older than the migration',
  async (t) => {
    const rig = await Rig.open();
    t.teardown(() => rig.close());
    await rig.query(`CREATE TABLE orders (id serial PRIMARY KEY, amount int NOT NULL, note text);
    INSERT INTO orders (amount, note) SELECT i, 'seed' FROM generate_series(1, 2000) i`);
    const url = rig.proxy.url();
    const drivers = [
      await viaPg(url),
      await viaPostgresJs(url),
      ...(hasPsql ? [viaPsql(url)] : []),
    ];
    t.teardown(() => Promise.all(drivers.map((driver) => driver.end())));
    const exercise = async (phase: string) => {
      for (const driver of drivers) {
        await t.test(`${driver.name}: ${phase}`, (t) => driver.exercise(t, phase));
      }
    };
    const repaired = async () => (await rig.when('m', () => true)).progress.repairs ?? 0;

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
    await exercise('soaking again');
    t.equal(
      await rig.one(
        'SELECT count(*)::int FROM orders WHERE amount IS DISTINCT FROM _pgtandem_old_amount',
      ),
      0,
    );
    const copies = hasPsql ? 5 : 0;
    t.ok(Number(await repaired()) <= copies, 'only COPY was left to the guard');
    await rig.ask('m', 'complete', 'completed');
    t.equal(await rig.proxy.metric('pgtandem_out_of_sync_total'), 0);
    t.equal(await rig.proxy.metric('pgtandem_errors_total'), 0);
  },
);
