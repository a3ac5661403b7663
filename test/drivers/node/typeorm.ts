import { DataSource, EntitySchema } from 'typeorm';
import { SEEDED } from '../phases.js';
import type { Subject } from '../subject.js';
import { check, failure, LARGE, Package, type Scene, type Steps } from './scenario.js';

interface Order {
  id: number;
  amount: number | null;
  note: string | null;
  payload: string | null;
}

/** The application is changed before the column's old name goes; until then nobody restarts it. */
const ENTITIES = new Map(
  ['note', 'title'].map((column) => [
    column,
    new EntitySchema<Order>({
      name: column,
      tableName: 'orders',
      columns: {
        id: { type: 'int', primary: true, generated: 'increment' },
        amount: { type: 'int', nullable: true },
        note: { name: column, type: 'text' },
        payload: { type: 'text', nullable: true },
      },
    }),
  ]),
);

/** TypeORM: entities, which name every column that they know in what they read and write. */
export async function viaTypeOrm(url: string): Promise<Subject> {
  const db = new DataSource({
    type: 'postgres',
    url,
    entities: [...ENTITIES.values()],
    poolSize: 1,
  });
  await db.initialize();
  const orders = (s: Scene) => db.getRepository(ENTITIES.get(s.column)!);
  const amount = async (s: Scene) => Number((await orders(s).findOneByOrFail({ id: s.id })).amount);

  const steps: Steps = {
    async entity(s) {
      const made = await orders(s).save({ amount: 41, note: s.tag });
      s.id = made.id;
      made.amount = 42;
      await orders(s).save(made);
      const found = await orders(s).findOneByOrFail({ id: s.id });
      check({ ...found, amount: Number(found.amount) }, { ...made, amount: 42, payload: null });
      await orders(s).increment({ id: s.id }, 'amount', 1);
      check(await amount(s), 43);
    },
    async 'query builder'(s) {
      const query = orders(s).createQueryBuilder('o').where('o.note = :tag', { tag: s.tag });
      check((await query.getMany()).length, 1);
      check((await query.andWhere('o.amount = :n', { n: 43 }).getCount()) > 0, true);
      const [row] = await db.query('SELECT * FROM orders WHERE id = $1', [s.id]);
      check(Object.keys(row), s.star);
    },
    async upsert(s) {
      // Its own upsert() leaves a generated key out.
      const insert = orders(s).createQueryBuilder().insert();
      await insert
        .into(ENTITIES.get(s.column)!, ['id', 'amount', 'note'])
        .values({ id: s.id, amount: 6, note: s.tag })
        .orUpdate(['amount'], ['id'])
        .execute();
      check(await amount(s), 6);
    },
    async batch(s) {
      const tag = `${s.tag} b`;
      const rows = Array.from({ length: 100 }, (_, n) => ({ amount: n || null, note: tag }));
      check((await orders(s).save(rows)).length, 100);
      const sum = orders(s).createQueryBuilder('o').select('SUM(o.amount)', 'sum');
      check(Number((await sum.where('o.note = :tag', { tag }).getRawOne())?.sum), 4950);
    },
    async transaction(s) {
      const entity = ENTITIES.get(s.column)!;
      const undone = db.transaction(async (tx) => {
        await tx.update(entity, { id: s.id }, { amount: 100 });
        await tx.transaction((nested) => nested.insert(entity, { amount: 1, note: null }));
      });
      check((await failure(undone)).code, '23502');
      check(await amount(s), 6);
      check((await orders(s).findBy({ note: 'seed' })).length, SEEDED);
    },
    async large(s) {
      const made = await orders(s).save({ note: s.tag, payload: LARGE });
      const found = await orders(s).findOneByOrFail({ id: made.id });
      check([found.payload === LARGE, found.amount], [true, null]);
      await orders(s).remove(found);
    },
    async wide(s) {
      const made = await orders(s).save({ amount: 3_000_000_000, note: s.tag });
      check(await amount({ ...s, id: made.id }), 3_000_000_000);
      await orders(s).delete(made.id);
    },
  };
  return new Package(
    'TypeORM',
    steps,
    async () => undefined,
    () => db.destroy(),
  );
}
