import { type Generated, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { SEEDED } from '../phases.js';
import type { Subject } from '../subject.js';
import { check, failure, LARGE, Package, type Steps } from './scenario.js';

interface Orders {
  id: Generated<number>;
  amount: number | string | null;
  note: string | null;
  title: string | null;
  payload: string | null;
}

/** Kysely: a query builder, which names what it selects only where the application does. */
export async function viaKysely(url: string): Promise<Subject> {
  const pool = new pg.Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
  const db = new Kysely<{ orders: Orders }>({ dialect: new PostgresDialect({ pool }) });
  await sql`SELECT 1`.execute(db);
  const note = (s: { column: string }) => s.column as 'note' | 'title';
  const amount = async (id: number) => {
    const row = db.selectFrom('orders').select('amount').where('id', '=', id);
    return Number((await row.executeTakeFirstOrThrow()).amount);
  };

  const steps: Steps = {
    async 'query builder'(s) {
      const insert = db.insertInto('orders').values({ amount: 41, [note(s)]: s.tag });
      const made = await insert.returningAll().executeTakeFirstOrThrow();
      check(Object.keys(made), s.star);
      s.id = made.id;
      const up = db.updateTable('orders').set((eb) => ({ amount: eb('amount', '+', 1) }));
      const { numUpdatedRows } = await up.where('id', '=', s.id).executeTakeFirstOrThrow();
      check(Number(numUpdatedRows), 1);
      const star = db.selectFrom('orders').selectAll('orders').where('orders.id', '=', s.id);
      const row = await star.executeTakeFirstOrThrow();
      check(Object.keys(row), s.star);
      check(Object.values(row).map(String), [`${s.id}`, '42', s.tag, 'null']);
    },
    async join(s) {
      const row = await db
        .with('mine', (cte) => cte.selectFrom('orders').selectAll().where('id', '=', s.id))
        .selectFrom('mine')
        .innerJoin('orders as o', 'o.id', 'mine.id')
        .selectAll('o')
        .executeTakeFirstOrThrow();
      check(Object.keys(row), s.star);
    },
    async upsert(s) {
      const insert = db.insertInto('orders').values({ id: s.id, amount: 5, [note(s)]: s.tag });
      const upsert = insert.onConflict((conflict) =>
        conflict.column('id').doUpdateSet((eb) => ({ amount: eb('excluded.amount', '+', 1) })),
      );
      await upsert.execute();
      check(await amount(s.id), 6);
    },
    async batch(s) {
      const tag = `${s.tag} b`;
      const rows = Array.from({ length: 100 }, (_, n) => ({ amount: n || null, [note(s)]: tag }));
      const made = db.insertInto('orders').values(rows).returning(['id', 'amount']);
      check((await made.execute()).length, 100);
      const sum = db.selectFrom('orders').select((eb) => eb.fn.sum('amount').as('sum'));
      check(Number((await sum.where(note(s), '=', tag).executeTakeFirstOrThrow()).sum), 4950);
    },
    async transaction(s) {
      const undone = db.transaction().execute(async (tx) => {
        await tx.updateTable('orders').set({ amount: 100 }).where('id', '=', s.id).execute();
        await tx
          .insertInto('orders')
          .values({ amount: 1, [note(s)]: null })
          .execute();
      });
      check((await failure(undone)).code, '23502');
      check(await amount(s.id), 6);
      const seeds = db.selectFrom('orders').selectAll().where(note(s), '=', 'seed');
      check((await seeds.orderBy('id').execute()).length, SEEDED);
    },
    async large(s) {
      const insert = db.insertInto('orders').values({ [note(s)]: s.tag, payload: LARGE });
      const row = await insert.returningAll().executeTakeFirstOrThrow();
      check([row.payload === LARGE, row.amount], [true, null]);
      await db.deleteFrom('orders').where('id', '=', row.id).execute();
    },
    async wide(s) {
      const insert = db.insertInto('orders').values({ amount: 3_000_000_000, [note(s)]: s.tag });
      const row = await insert.returning(['id', 'amount']).executeTakeFirstOrThrow();
      check(row.amount, '3000000000');
      await db.deleteFrom('orders').where('id', '=', row.id).execute();
    },
  };
  return new Package(
    'Kysely',
    steps,
    async () => undefined,
    () => db.destroy(),
  );
}
