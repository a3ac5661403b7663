import postgres from 'postgres';
import { SEEDED } from '../phases.js';
import type { Subject } from '../subject.js';
import { check, failure, LARGE, Package, type Steps } from './scenario.js';

/** postgres.js: statements that are prepared by themselves, and requests in a pipeline. */
export async function viaPostgresJs(url: string): Promise<Subject> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  await sql`SELECT 1`;
  const columns = (result: { columns: readonly { name: string }[] }) =>
    result.columns.map((column) => column.name);
  const amount = async (id: number) => {
    const [row] = await sql`SELECT amount FROM orders WHERE id = ${id}`;
    return Number(row!.amount);
  };

  const steps: Steps = {
    async pipeline(s) {
      const [note, tag] = [sql(s.column), `${s.tag} p`];
      const made = await Promise.all(
        [1, 2, 3, 4].map(
          (n) => sql`INSERT INTO orders (amount, ${note}) VALUES (${n}, ${tag}) RETURNING *`,
        ),
      );
      for (const result of made) check(columns(result).length, s.star.length);
      const ids = made.map((result) => result[0]!.id);
      const [stars, , counted] = await Promise.all([
        sql`SELECT * FROM orders WHERE id = ANY(${ids}) ORDER BY amount`,
        sql`UPDATE orders SET amount = amount * 10 WHERE id = ANY(${ids})`,
        sql`SELECT sum(amount)::int AS sum FROM orders WHERE id = ANY(${ids})`,
      ]);
      check(
        stars.map((row) => Number(row.amount)),
        [1, 2, 3, 4],
      );
      check(counted[0]!.sum, 100);
      s.id = ids[0]!;
    },
    async unnamed(s) {
      // What it has not described before it knows by the present names.
      const star = await sql.unsafe('SELECT * FROM orders WHERE id = $1', [s.id]);
      check(columns(star), s.star);
    },
    async values(s) {
      const rows = [5, null, 7].map((n) => ({ amount: n, [s.column]: `${s.tag} v` }));
      const made = await sql`INSERT INTO orders ${sql(rows)} RETURNING amount`;
      check(
        made.map((row) => row.amount && Number(row.amount)),
        [5, null, 7],
      );
    },
    async upsert(s) {
      await sql`INSERT INTO orders (id, amount, ${sql(s.column)}) VALUES (${s.id}, 5, ${s.tag})
        ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1`;
      check(await amount(s.id), 6);
    },
    async transaction(s) {
      const note = sql(s.column);
      const [gone, left] = await sql.begin((tx) => [
        tx`DELETE FROM orders WHERE id = ${s.id} RETURNING *`,
        tx`SELECT count(*)::int AS n FROM orders WHERE ${note} = ${`${s.tag} p`}`,
      ]);
      check([gone!.length, columns(gone!).length, left![0]!.n], [1, s.star.length, 3]);
      const undone = sql.begin(async (tx) => {
        await tx`UPDATE orders SET amount = 100 WHERE ${note} = 'seed'`;
        await tx.savepoint((sp) => sp`INSERT INTO orders (amount, ${note}) VALUES (1, ${null})`);
      });
      check((await failure(undone)).code, '23502');
      const seeds = sql`SELECT max(amount)::int AS n FROM orders WHERE ${note} = 'seed'`;
      check((await seeds)[0]!.n, SEEDED);
    },
    async cursor(s) {
      let count = 0;
      const seeds = sql`SELECT * FROM orders WHERE ${sql(s.column)} = 'seed' ORDER BY id`;
      await seeds.cursor(500, (rows) => {
        count += rows.length;
      });
      check(count, SEEDED);
    },
    async large(s) {
      const [row] = await sql`INSERT INTO orders (amount, ${sql(s.column)}, payload)
        VALUES (7, ${s.tag}, ${LARGE}) RETURNING id, payload`;
      check(row!.payload === LARGE, true);
      await sql`DELETE FROM orders WHERE id = ${row!.id}`;
    },
    async wide(s) {
      const [row] = await sql`INSERT INTO orders (amount, ${sql(s.column)})
        VALUES (${'3000000000'}, ${s.tag}) RETURNING id, amount`;
      check(row!.amount, '3000000000');
      await sql`DELETE FROM orders WHERE id = ${row!.id}`;
    },
  };
  return new Package(
    'postgres',
    steps,
    async () => undefined,
    () => sql.end(),
  );
}
