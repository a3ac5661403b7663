import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import t from 'tap';
import { skeletonOf } from '../../sql/literals.js';
import type { Rewrite } from '../../sql/outcome.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { sameRewrite } from '../../sql/template.js';
import { type GoldenFile, readGolden } from './golden.js';

/*
 * What was made of one text is made of all that differ from it in their constants: so nothing may depend
 * on what these are, nor on which of them are alike. Broken, each seen here: ordinals are constants; DISTINCT ON is not
 * looked for; a list does not end where its parenthesis does, or ends with another one; a template is proved with
 * constants that are all alike only, or all different.
 */

await loadParser();

const folder = resolve(import.meta.dirname, '..', '..', '..', 'test', 'sql', 'cases');
const golden = (name: string): GoldenFile =>
  readGolden(readFileSync(resolve(folder, name), 'utf8'));
const skeleton = (text: string) => skeletonOf(Buffer.from(text, 'latin1'));
const resolutionOf = ({ table }: GoldenFile) => new Map([[table.name, table.oid]]);
const rewriterOf = ({ table }: GoldenFile) => makeRewriter({ epoch: 1, tables: [table] });

/** What a rewriter makes of it that has seen nothing else. */
const alone = (file: GoldenFile, text: Buffer): Rewrite => {
  return rewriterOf(file).rewrite(text, resolutionOf(file), true);
};

/** `@` in turn is each number of a column, and some that are of none. */
const ORDINALS = [
  'INSERT INTO orders (id, email) SELECT 1, $1 ORDER BY @',
  "INSERT INTO orders (id, email) SELECT a, 'x' FROM x ORDER /**/ by  (@) DESC LIMIT 5",
  "INSERT INTO orders (id, email, note) SELECT max(a), 'k', 'l' AS label FROM x GROUP BY @, b",
  'INSERT INTO orders (id, email) SELECT Distinct /* a */ On (@) a, $1 FROM x',
  "INSERT INTO orders (id, email) SELECT DISTINCT ON (b, @) a, 'k' FROM x ORDER BY @, a",
  "INSERT INTO orders (id, email) SELECT a, 'k' FROM x GROUP BY x . /**/ limit, x.a, @",
  "INSERT INTO orders (id, email) SELECT a, 'k' FROM x GROUP BY GROUPING SETS ((a), (@, f(@)))",
  "INSERT INTO orders (id, email) (SELECT a, 'k' FROM x ORDER BY b, CASE WHEN a THEN @ END)",
];

t.test('the number of a column is no constant like another', async (t) => {
  const file = golden('query.sql');
  const rewriter = rewriterOf(file);
  for (const text of ORDINALS) {
    for (const ordinal of [1, 7, 8, 1, 2, 3, 9, 4, 2, 11, 12]) {
      const sent = Buffer.from(text.replaceAll('@', String(ordinal)));
      const made = rewriter.rewrite(sent, resolutionOf(file), true);
      t.ok(sameRewrite(made, alone(file, sent)), `${sent}`);
    }
  }
  // What is behind such a list is one again.
  const [one, two] = [5, 6].map((n) => {
    return skeleton(
      `SELECT (SELECT 1 ORDER BY a, ${n}), ${n} FROM orders ORDER BY ${n} LIMIT ${n}`,
    );
  });
  t.same(
    [one, two].map((found) => found!.kinds.length),
    [3, 3],
  );
  t.not(one!.hash, two!.hash);
  t.equal(skeleton('SELECT DISTINCT ON (a, 1) 5 FROM orders')!.kinds.length, 1);
});

t.test('constants that are alike are no reason for constants that are not', async (t) => {
  const file = golden('once.sql');
  for (const pairs of ['5,5 7,7 5,6 8,8', '5,6 6,5 7,7 8,9']) {
    const rewriter = rewriterOf(file);
    for (const pair of pairs.split(' ')) {
      const [first, second] = pair.split(',');
      const sent = Buffer.from(`INSERT INTO orders (id, email)
        VALUES (nextval('s'), substr('a', ${first})), (nextval('s'), substr('a', ${second}))`);
      const made = rewriter.rewrite(sent, resolutionOf(file), true);
      t.ok(sameRewrite(made, alone(file, sent)), `${pairs}: ${pair}`);
    }
  }
});
