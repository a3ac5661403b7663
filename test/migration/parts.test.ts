import t from 'tap';
import { catalogOf } from './catalog.js';
import { open, SETUP } from './parts.js';

/*
 * Partitioned tables: range, list and hash at three levels, a default partition, and one that was
 * attached with its columns at other places.
 *
 * What was broken on purpose to see it fail: the parts of indexes keep their names in the swap.
 */

const CATALOG = catalogOf(`SELECT relid FROM pg_partition_tree('events')`);

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
