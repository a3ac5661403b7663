import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { Plane } from './plane.js';

/** Everything that a plain ALTER leaves in the catalogs, but for the column's place. */
const CATALOG = `
  SELECT 'column ' || a.attname AS what,
         concat_ws(' | ', format_type(a.atttypid, a.atttypmod), a.attnotnull,
           pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum),
           pg_get_serial_sequence($1, a.attname), a.attstattarget) AS how
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT 'index', pg_get_indexdef(i.indexrelid) || coalesce(obj_description(i.indexrelid), '')
  FROM pg_index i WHERE i.indrelid = $1::regclass
  UNION ALL SELECT 'constraint ' || conname, contype::text || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE conrelid = $1::regclass
  UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE tgrelid = $1::regclass
  UNION ALL SELECT 'own ' || c.relkind::text, c.relname FROM pg_class c
  WHERE c.relnamespace = 'pgtandem'::regnamespace AND c.relname ~ '_\\d+'
  UNION ALL SELECT 'own function', proname FROM pg_proc WHERE pronamespace = 'pgtandem'::regnamespace
  ORDER BY 1, 2`;

const SETUP = `
  DROP TABLE IF EXISTS orders;
  DROP TYPE IF EXISTS place;
  CREATE TYPE place AS (x integer, y text);
  CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    amount integer NOT NULL DEFAULT 7,
    number serial,
    email varchar(40),
    total numeric(8,2),
    place place NOT NULL DEFAULT '(,)');
  COMMENT ON COLUMN orders.amount IS 'cents';
  ALTER TABLE orders ALTER COLUMN amount SET STATISTICS 250;
  CREATE INDEX orders_amount ON orders (amount DESC) WHERE amount > 3;
  CREATE INDEX orders_email ON orders (lower(email), amount);
  COMMENT ON INDEX orders_amount IS 'of amounts';
  INSERT INTO orders (amount, email, total)
  SELECT i % 100, CASE WHEN i % 10 > 0 THEN 'User' || i || '@Example.com' END, i / 3.0
  FROM generate_series(1, 3000) i`;

const CASES: [string, string][] = [
  ['int to bigint', 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint'],
  ['a serial column', 'ALTER TABLE orders ALTER COLUMN number TYPE bigint'],
  ['USING', 'ALTER TABLE orders ALTER COLUMN email TYPE text USING lower(email)'],
  ['numeric to text', 'ALTER TABLE orders ALTER COLUMN total TYPE text'],
  ['rename', 'ALTER TABLE orders RENAME COLUMN amount TO cents'],
  ['NOT NULL with fields that are NULL', 'ALTER TABLE orders RENAME COLUMN place TO spot'],
  [
    'three at once',
    `ALTER TABLE orders ALTER COLUMN amount TYPE bigint,
       ALTER COLUMN email TYPE varchar(80);
     ALTER TABLE orders RENAME COLUMN total TO sum`,
  ],
];

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const warned: string[] = [];
    // That the table is dropped below while somebody looks at it is the test's own doing.
    const note = (_: object, message: string) => {
      if (/cancel/.test(message)) warned.push(message);
    };
    const log = { info: () => undefined, warn: note, error: note };
    const plane = await Plane.open(cluster, 'postgres', log);
    t.teardown(() => plane.close());
    const catalog = () => plane.query(CATALOG, ['public.orders']);
    const content = (cast = '*') =>
      plane.query(
        `SELECT to_jsonb(o) - 'x' AS row FROM (SELECT ${cast} FROM orders) o ORDER BY id`,
      );

    for (const [name, sql] of CASES) {
      t.test(`${name}: after complete the catalog equals what a plain ALTER leaves`, async (t) => {
        await plane.query(SETUP);
        await plane.query(sql);
        const wanted = { catalog: await catalog(), content: await content() };
        await plane.query(SETUP);
        const before = { catalog: await catalog(), content: await content() };
        await plane.start(name, sql);
        await plane.reach(name, 'ready');
        await plane.ask(name, 'cutover', 'soaking');
        await plane.ask(name, 'revert', 'reverted');
        await plane.ask(name, 'abort', 'aborted');
        t.same(await catalog(), before.catalog, 'aborted: as before');
        t.same(await content(), before.content, 'aborted: rows as before');
        await plane.start(`${name} again`, sql);
        await plane.reach(`${name} again`, 'ready');
        await plane.ask(`${name} again`, 'cutover', 'soaking');
        await plane.ask(`${name} again`, 'revert', 'reverted');
        await plane.ask(`${name} again`, 'cutover', 'soaking');
        await plane.ask(`${name} again`, 'complete', 'completed');
        t.same(await catalog(), wanted.catalog, 'completed: as altered');
        t.same(await content(), wanted.content, 'completed: rows as altered');
        t.same(warned.splice(0), [], 'no step was to be cancelled');
      });
    }
  });
}
