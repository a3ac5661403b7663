import t from 'tap';
import { open, SETUP } from './parts.js';

/*
 * Partitioned tables: range, list and hash at three levels, a default partition, and one that was
 * attached with its columns at other places.
 *
 * MUTATIONS
 */

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

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const cases = major === 14 ? CASES.slice(-1) : CASES;
    const plane = await open(t, major);
    const catalog = () => plane.query(CATALOG);
    const content = () => plane.query('SELECT to_jsonb(e) AS row FROM events e ORDER BY id');

    for (const [name, sql] of cases) {
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
