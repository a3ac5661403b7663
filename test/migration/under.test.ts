import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { readColumns } from '../../db/catalog.js';
import { columnRule } from '../../migration/columns.js';

for (const major of [14, 18]) {
  t.test(`what is under a domain is known to the rules, PostgreSQL ${major}`, async (t) => {
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db = await cluster.client();
    t.teardown(() => db.end());
    await db.query(`CREATE SCHEMA s;
      CREATE DOMAIN s.code AS varchar(5) CHECK (VALUE <> 'x');
      CREATE DOMAIN s.inner AS s.code;
      CREATE DOMAIN s.list AS varchar(7)[];
      CREATE DOMAIN s.lists AS s.code[];
      CREATE TYPE s.pair AS (a int, b s.code);
      CREATE DOMAIN s.couple AS s.pair;
      CREATE TYPE s.mood AS ENUM ('a');
      CREATE TABLE s.t (id int, plain varchar(5), code s.code, inner_code s.inner, codes s.inner[],
        list s.list, lists s.lists, list_of_lists s.list[], pair s.pair, couple s.couple, mood s.mood,
        vector oidvector, numbers int[])`);
    await db.query("SET search_path = ''");
    const { rows } = await db.query("SELECT 's.t'::regclass::oid::int AS oid");
    const columns = (await readColumns(db, rows[0].oid)).map(columnRule);
    const under = Object.fromEntries(columns.map((column) => [column.name, column.under]));
    t.same(under, {
      ...{ id: undefined, plain: undefined, pair: undefined, mood: undefined },
      ...{ vector: undefined, numbers: undefined },
      code: 'character varying(5)',
      inner_code: 'character varying(5)',
      codes: 'character varying(5)[]',
      list: 'character varying(7)[]',
      lists: 's.code[]',
      list_of_lists: 'character varying(7)[][]',
      couple: 's.pair',
    });
    t.ok(columns.every((column) => !('under' in column) || column.under !== undefined));
  });
}
