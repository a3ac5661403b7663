import t from 'tap';
import { catalogOf } from './catalog.js';
import { MEMBERS, SETUP } from './children.js';
import { open } from './parts.js';

/*
 * Children at two levels, below two tables of the tree, with columns in another order, with a column of the
 * table that they define too.
 *
 * What was broken on purpose to see it fail: the new column not defined in children that define the old one.
 */

const CATALOG = catalogOf(
  `SELECT unnest('{${MEMBERS.map((name) => name.replaceAll('"', '\\"')).join()}}'::regclass[]) AS relid`,
);

const CONTENT = MEMBERS.map(
  (name) => `SELECT tableoid::regclass::text AS of, id, to_jsonb(x) AS row FROM ONLY ${name} x`,
).join(' UNION ALL ');

const CASES: [string, string][] = [
  ['int to bigint', 'ALTER TABLE people ALTER COLUMN amount TYPE bigint'],
  ['USING', 'ALTER TABLE people ALTER COLUMN email TYPE text USING lower(email)'],
  [
    'three at once',
    `ALTER TABLE people ALTER COLUMN amount TYPE bigint;
     ALTER TABLE people RENAME COLUMN total TO sum;
     ALTER TABLE people ADD COLUMN domain text; -- pgtandem: up(split_part(email, '@', 2))`,
  ],
];

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const cases = major === 14 ? CASES.slice(-1) : CASES;
    const plane = await open(t, major);
    const catalog = () => plane.query(CATALOG);
    const content = () => plane.query(`SELECT * FROM (${CONTENT}) x ORDER BY id`);

    for (const [name, sql] of cases) {
      t.test(`${name}: after complete the catalog equals what a plain ALTER leaves`, async (t) => {
        await plane.query(SETUP);
        const plain = sql.replace(/;[^;]*--.*/, '');
        await plane.query(plain);
        if (plain !== sql)
          await plane.query(`UPDATE people SET domain = split_part(email, '@', 2)`);
        const wanted = { catalog: await catalog(), content: await content() };
        t.equal(wanted.content.length, 3_100);
        await plane.query(SETUP);
        const before = { catalog: await catalog(), content: await content() };
        await plane.start(name, sql);
        const { progress } = await plane.reach(name, 'ready');
        t.match(progress.backfill, { ratio: 1, rowsFilled: name === 'USING' ? 2_510 : 3_100 });
        t.equal(progress.disproved, undefined, 'in one go');
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
