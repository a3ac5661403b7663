import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { Plane } from './plane.js';

/*
 * Rows that go from one partition to another while an added column is the application's own already: the
 * user's triggers run twice, for the UPDATE and for the INSERT that it becomes.
 *
 * What was broken on purpose, and how it failed:
 *
 * | broken                                               | fails                                         |
 * | ---------------------------------------------------- | --------------------------------------------- |
 * | no row is known to have moved                        | what is made from what the triggers leave     |
 * | each row that is inserted is one that has moved      | what an INSERT gives stays                    |
 * | the UPDATE's own value is not noted                  | what the UPDATE gives stays                   |
 * | a generated column is of how the row left            | what is made from what the triggers leave     |
 * | how the row left is not forgotten                    | what an INSERT of the same row gives stays    |
 */

for (const major of [14, 18]) {
  t.test(`an added column of a row that moves, PostgreSQL ${major}`, async (t) => {
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const plane = await Plane.open(cluster, 'postgres');
    t.teardown(() => plane.close());
    await plane.query(`CREATE TABLE item (id int NOT NULL, side text NOT NULL, n int,
        twice int GENERATED ALWAYS AS (2 * n) STORED)
        PARTITION BY LIST (side);
      CREATE TABLE item_a PARTITION OF item FOR VALUES IN ('a');
      CREATE TABLE item_b (gone int, id int NOT NULL, side text NOT NULL, gone_too text, n int,
        twice int GENERATED ALWAYS AS (2 * n) STORED);
      ALTER TABLE item_b DROP COLUMN gone, DROP COLUMN gone_too;
      ALTER TABLE item ATTACH PARTITION item_b FOR VALUES IN ('b');
      CREATE FUNCTION bumps() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF NEW.side = 'b' OR TG_OP = 'UPDATE' THEN NEW.n := NEW.n + 1; END IF; RETURN NEW; END$$;
      CREATE TRIGGER bumps BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION bumps();
      INSERT INTO item SELECT i, 'a', i * 10 FROM generate_series(1, 9) i`);
    await plane.start(
      'm',
      'ALTER TABLE item ADD COLUMN large boolean; -- pgtandem: up(coalesce(n, 0) > 101)\n',
    );
    await plane.reach('m', 'ready');
    await plane.ask('m', 'cutover', 'soaking');
    const row = async (id: number) => {
      const [found] = await plane.query(
        `SELECT tableoid::regclass::text AS place, n, large FROM item WHERE id = ${id}`,
      );
      return found;
    };

    await plane.query(`UPDATE item SET side = 'b', n = 100 WHERE id = 1`);
    const moved = { place: 'item_b', n: 102, large: true };
    t.same(await row(1), moved, 'it is made from what the triggers leave, of the INSERT too');
    await plane.query(`UPDATE item SET n = 1 WHERE id = 1`);
    await plane.query(`UPDATE item SET side = 'a', n = 101 WHERE id = 1`);
    t.same(await row(1), { place: 'item_a', n: 102, large: true }, 'and back');

    await plane.query(`UPDATE item SET side = 'b', n = 100, large = NULL WHERE id = 2`);
    t.same(await row(2), { place: 'item_b', n: 102, large: null }, 'what the UPDATE gives stays');

    await plane.query(`INSERT INTO item (id, side, n, large) VALUES (20, 'b', 500, false)`);
    t.same(await row(20), { place: 'item_b', n: 501, large: false }, 'what an INSERT gives stays');
    await plane.query(`BEGIN; UPDATE item SET n = 5 WHERE id = 3;
      INSERT INTO item (id, side, n, large) VALUES (3, 'b', 500, false); COMMIT`);
    const [, second] = await plane.query(`SELECT n, large FROM item WHERE id = 3 ORDER BY side`);
    t.same(second, { n: 501, large: false }, 'also after an UPDATE in the same statement');
    await plane.query(`UPDATE item SET side = 'b', n = 100 WHERE id = 4;
      INSERT INTO item (id, side, n, large) VALUES (21, 'b', 500, false)`);
    t.same(await row(4), moved);
    t.same(
      await row(21),
      { place: 'item_b', n: 501, large: false },
      'and after one that has moved',
    );
    // Between its two triggers the row that moves is as the one that is inserted.
    await plane.query(`UPDATE item SET side = 'b', n = 100 WHERE id = 5;
      INSERT INTO item (id, side, n, large) VALUES (5, 'b', 101, false)`);
    const both = await plane.query('SELECT n, large FROM item WHERE id = 5 ORDER BY large');
    t.same(both, [
      { n: 102, large: false },
      { n: 102, large: true },
    ]);
  });
}
