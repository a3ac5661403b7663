import t, { type Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { Plane } from './plane.js';

/**
 * Partitioned tables: range, list and hash at three levels, a default partition, and one that was
 * attached with its columns at other places. (What was broken to see this fail: see the table below.)
 */

const SETUP = `
  DROP TABLE IF EXISTS events CASCADE;
  CREATE TABLE events (
    id bigserial, region text NOT NULL, at date NOT NULL, amount integer NOT NULL DEFAULT 7,
    email varchar(40), total numeric(8,2)) PARTITION BY RANGE (at);
  CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
    PARTITION BY LIST (region);
  CREATE TABLE events_2024_eu PARTITION OF events_2024 FOR VALUES IN ('eu')
    PARTITION BY HASH (id);
  CREATE TABLE events_2024_eu_0 PARTITION OF events_2024_eu FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE TABLE events_2024_eu_1 PARTITION OF events_2024_eu FOR VALUES WITH (MODULUS 2, REMAINDER 1);
  CREATE TABLE "Events 2024 rest" PARTITION OF events_2024 DEFAULT;
  CREATE TABLE events_2025 (gone int, id bigint NOT NULL DEFAULT nextval('events_id_seq'),
    gone2 int, region text NOT NULL, at date NOT NULL, amount integer NOT NULL DEFAULT 7,
    email varchar(40), gone3 int, total numeric(8,2));
  ALTER TABLE events_2025 DROP COLUMN gone, DROP COLUMN gone2, DROP COLUMN gone3;
  ALTER TABLE events ATTACH PARTITION events_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
  CREATE TABLE events_rest PARTITION OF events DEFAULT;
  COMMENT ON COLUMN events.amount IS 'cents';
  CREATE INDEX events_region ON events (region);
  INSERT INTO events (region, at, amount, email, total)
  SELECT CASE i % 3 WHEN 0 THEN 'us' ELSE 'eu' END, date '2024-01-01' + i / 2, i % 100,
    CASE WHEN i % 10 > 0 THEN 'User' || i || '@Example.com' END, i / 3.0
  FROM generate_series(1, 3000) i`;

/** Everything that a plain ALTER leaves in the catalogs, but for the column's place. */
const CATALOG = `
  WITH tree AS (SELECT relid FROM pg_partition_tree('events'))
  SELECT relid::regclass::text AS of, 'column ' || a.attname AS what,
    concat_ws(' | ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attislocal, a.attinhcount,
      pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)) AS how
  FROM tree JOIN pg_attribute a ON a.attrelid = relid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT relid::regclass::text, 'index', pg_get_indexdef(i.indexrelid)
  FROM tree JOIN pg_index i ON i.indrelid = relid
  UNION ALL SELECT relid::regclass::text, 'constraint ' || contype::text, pg_get_constraintdef(k.oid)
  FROM tree JOIN pg_constraint k ON k.conrelid = relid
  UNION ALL SELECT relid::regclass::text, 'trigger', tgname FROM tree JOIN pg_trigger ON tgrelid = relid
  UNION ALL SELECT '', 'own ' || c.relkind::text, c.relname FROM pg_class c
  WHERE c.relnamespace = 'pgtandem'::regnamespace AND c.relname ~ '_\\d+'
  UNION ALL SELECT '', 'own function', proname FROM pg_proc WHERE pronamespace = 'pgtandem'::regnamespace
  ORDER BY 1, 2, 3`;

const CASES: [string, string][] = [
  ['int to bigint', 'ALTER TABLE events ALTER COLUMN amount TYPE bigint'],
  ['USING', 'ALTER TABLE events ALTER COLUMN email TYPE text USING lower(email)'],
  [
    'three at once',
    `ALTER TABLE events ALTER COLUMN amount TYPE bigint;
     ALTER TABLE events RENAME COLUMN total TO sum;
     ALTER TABLE events ADD COLUMN domain text; -- pgtandem: up(split_part(email, '@', 2))`,
  ],
];

async function open(t: Test, major: number): Promise<Plane> {
  const cluster = await Cluster.create({ major });
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  return plane;
}

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const plane = await open(t, major);
    const catalog = () => plane.query(CATALOG);
    const content = () => plane.query('SELECT to_jsonb(e) AS row FROM events e ORDER BY id');

    for (const [name, sql] of CASES) {
      t.test(`${name}: after complete the catalog equals what a plain ALTER leaves`, async (t) => {
        await plane.query(SETUP);
        const plain = sql.replace(/;[^;]*--.*/, '');
        await plane.query(plain);
        if (plain !== sql)
          await plane.query(`UPDATE events SET domain = split_part(email, '@', 2)`);
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
        await plane.ask(`${name} again`, 'complete', 'completed');
        t.same(await catalog(), wanted.catalog, 'completed: as altered');
        t.same(await content(), wanted.content, 'completed: rows as altered');
      });
    }
  });
}
