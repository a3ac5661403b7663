import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { columnCalled, widthKey } from '../../sql/names.js';
import type { Rewrite } from '../../sql/outcome.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { type GoldenCase, printGolden, readGolden } from './golden.js';

/** `UPDATE=1` writes what is seen into the files, to be read before it is committed. */
const folder = resolve(import.meta.dirname, '..', '..', '..', 'test', 'sql', 'cases');

function seen(rewrite: Rewrite, { title, sent }: GoldenCase): GoldenCase {
  const { outcome, reason, refusal, text, touches } = rewrite;
  const said = touches.length === 0 ? 'untouched' : outcome;
  const verdict = reason === null ? said : `${said} ${reason}`;
  return { title, sent, verdict, expected: refusal?.message ?? text.toString() };
}

await loadParser();

for (const name of readdirSync(folder).sort()) {
  const file = join(folder, name);
  const { table, relations, header, cases } = readGolden(readFileSync(file, 'utf8'));
  const rewriter = makeRewriter({ epoch: 1, tables: [table] });
  const resolution = new Map([[table.name, table.schema === 'public' ? table.oid : 0]]);
  for (const [relation, width] of relations) {
    const [name = '', column] = relation.split(' column ');
    const asked = column === undefined ? name : columnCalled(name, column);
    resolution.set(widthKey(asked), width);
  }
  t.test(name, async (t) => {
    const results = cases.map((golden) => {
      const rewrite = rewriter.rewrite(Buffer.from(golden.sent), resolution, true);
      return seen(rewrite, golden);
    });
    if (process.env.UPDATE) writeFileSync(file, printGolden(header, results));
    else for (const [i, result] of results.entries()) t.same(result, cases[i], result.title);
    t.ok(cases.length > 0);
  });
}
