import pg from 'pg';
import { SEEDED } from '../phases.js';
import type { Subject } from '../subject.js';
import { check, failure, LARGE, Package, type Steps } from './scenario.js';

/** pg: named and unnamed statements, results in text. */
export async function viaPg(url: string): Promise<Subject> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const names = new Map<string, string>();
  /** A statement that is prepared once, however often it is used. */
  const named = (text: string, values: unknown[]) => {
    const name = names.get(text) ?? `s${names.size}`;
    names.set(text, name);
    return client.query({ name, text, values });
  };
  const amount = async (id: number) => {
    const { rows } = await named('SELECT amount FROM orders WHERE id = $1', [id]);
    return Number(rows[0].amount);
  };
  const columns = (result: pg.QueryResult) => result.fields.map((field) => field.name);

  const steps: Steps = {
    async prepared(s) {
      const insert = `INSERT INTO orders (amount, ${s.column}) VALUES ($1, $2) RETURNING *`;
      const made = await named(insert, [41, s.tag]);
      check(columns(made), s.star);
      s.id = made.rows[0].id;
      await named('UPDATE orders SET amount = amount + $1 WHERE id = $2', [1, s.id]);
      const star = await named('SELECT * FROM orders WHERE id = $1', [s.id]);
      check(columns(star), s.star);
      check(Object.values(star.rows[0]).map(String), [`${s.id}`, '42', s.tag, 'null']);
      check(star.fields[1]!.dataTypeID, s.wide ? 20 : 23);
    },
    async simple(s) {
      const star = await client.query(`SELECT * FROM orders o WHERE o.${s.column} = '${s.tag}'`);
      check(columns(star), s.star);
      const both = await client.query(
        `UPDATE orders SET amount = 43 WHERE id = ${s.id}; TABLE orders LIMIT 1`,
      );
      check(columns((both as unknown as pg.QueryResult[])[1]!), s.star);
      check(await amount(s.id), 43);
    },
    async upsert(s) {
      const insert = `INSERT INTO orders VALUES ($1, 5, 'x')
        ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1`;
      check((await client.query(insert, [s.id])).rowCount, 1);
      check(await amount(s.id), 6);
    },
    async savepoint(s) {
      const insert = `INSERT INTO orders (amount, ${s.column}) VALUES ($1, $2)`;
      await client.query('BEGIN');
      await named('UPDATE orders SET amount = $1 WHERE id = $2', [100, s.id]);
      await client.query('SAVEPOINT s');
      check((await failure(client.query(insert, [1, null]))).code, '23502');
      await client.query('ROLLBACK TO s');
      check(await amount(s.id), 100);
      await client.query('ROLLBACK');
      check(await amount(s.id), 6);
    },
    async position(s) {
      const wrong = `INSERT INTO orders (amount, ${s.column}) VALUES (1, nowhere)`;
      const error = await failure(client.query(wrong));
      check([error.code, error.position], ['42703', `${wrong.indexOf('nowhere') + 1}`]);
    },
    async cursor(s) {
      await client.query('BEGIN');
      await client.query(
        `DECLARE c CURSOR FOR SELECT * FROM orders WHERE ${s.column} = 'seed' ORDER BY id`,
      );
      let count = 0;
      for (let rows = -1; rows !== 0; ) {
        const fetched = await client.query('FETCH 500 FROM c');
        check(columns(fetched), s.star);
        rows = fetched.rows.length;
        count += rows;
      }
      await client.query('COMMIT');
      check(count, SEEDED);
    },
    async large(s) {
      const insert = `INSERT INTO orders (amount, ${s.column}, payload) VALUES (7, $1, $2)
        RETURNING id, payload`;
      const { rows } = await named(insert, [s.tag, LARGE]);
      check(rows[0].payload === LARGE, true);
      await named('DELETE FROM orders WHERE id = $1', [rows[0].id]);
    },
    async wide(s) {
      const update = 'UPDATE orders SET amount = 3000000000 WHERE id = $1 RETURNING amount';
      await client.query('BEGIN');
      check((await named(update, [s.id])).rows[0].amount, '3000000000');
      await client.query('ROLLBACK');
    },
  };
  return new Package(
    'pg',
    steps,
    () => client.query('ROLLBACK'),
    () => client.end(),
  );
}
