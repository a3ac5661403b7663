import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { lex } from '../../sql/lexer.js';
import { type Skeleton, skeletonOf, withOtherConstants } from '../../sql/literals.js';
import type { Rewrite } from '../../sql/outcome.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { sameRewrite } from '../../sql/template.js';
import { Templates } from '../../sql/templates.js';
import { toBytes } from '../../sql/tree.js';
import { type GoldenFile, readGolden } from './golden.js';
import { Random, seedFrom } from './random.js';

/*
 * Broken to see it fail:
 * | what                                                    | what failed                        |
 * | ------------------------------------------------------- | ---------------------------------- |
 * | a place is moved by where a constant begins, not by its end | nothing is proved: nearly every text |
 * | a copy's own place within the edit is not moved          | nothing is proved: nearly every text |
 * | a template is not proved, and one constant is not a copy | a constant that is not copied      |
 * | digits of a word are taken for a number                  | what is taken out are whole tokens |
 * | a parameter's number is taken for a constant             | what is taken out are whole tokens |
 * | a string with a prefix is taken out                      | texts that have no skeleton           |
 */

const SEED = seedFrom(process.env.SEED);
t.comment(`SEED=${SEED}`);
const random = new Random(SEED);
await loadParser();

const folder = resolve(import.meta.dirname, '..', '..', '..', 'test', 'sql', 'cases');
const FILES = readdirSync(folder)
  .sort()
  .map((name) => ({ name, ...readGolden(readFileSync(join(folder, name), 'utf8')) }));

/** What may stand in a string, and looks as if it did not. */
const CONTENTS = ['', 'a', 'orders', '--', '/*', '*/ x', ';', '$$', '"', '$1', '12', 'é', ', ('];

/** The text with constants that have nothing to do with the ones that it had. */
function vary(text: string, { key, spans }: Skeleton): string {
  const kinds = [...key.matchAll(/\0(.)/g)].map((match) => match[1]!);
  let result = '';
  let copied = 0;
  kinds.forEach((kind, i) => {
    const [start, end] = [spans[2 * i]!, spans[2 * i + 1]!];
    result += text.slice(copied, start);
    if (kind === 'i') result += random.below(10 ** (1 + random.below(9)));
    else if (kind === 'd') result += `${random.below(1_000)}.${random.below(1_000)}`;
    else if (kind === 's')
      result += `'${toBytes(random.pick(CONTENTS))}${random.pick(CONTENTS.slice(0, 4))}'`;
    else result += text.slice(start, end);
    copied = end;
  });
  return result + text.slice(copied);
}

function makerOf(file: GoldenFile): (text: string) => Rewrite {
  const { table } = file;
  const resolution = new Map([[table.name, table.schema === 'public' ? table.oid : 0]]);
  // Each text is new to it: it has no template.
  const rewriter = makeRewriter({ epoch: 1, tables: [table] }, { cacheEntries: 1 });
  return (text) => rewriter.rewrite(Buffer.from(text, 'latin1'), resolution, true);
}

let filled = 0;
for (const file of FILES) {
  t.test(`${file.name}: a template makes what the rewriter makes`, async (t) => {
    const make = makerOf(file);
    let compared = 0;
    for (const { sent } of file.cases) {
      const text = toBytes(sent);
      const skeleton = skeletonOf(text);
      if (!skeleton) continue;
      const templates = new Templates();
      for (let sight = 0; sight < 2; sight++) templates.learn('', text, skeleton, make(text), make);
      for (let round = 0; round < 5; round++) {
        const other = vary(text, skeleton);
        const found = skeletonOf(other);
        if (found?.key !== skeleton.key) {
          t.fail(`another skeleton: ${other}`);
          continue;
        }
        compared++;
        const made = templates.fill('', other, found);
        if (!made) continue;
        filled++;
        if (!sameRewrite(made, make(other))) t.same(made, make(other), `SEED=${SEED} ${other}`);
      }
    }
    t.comment(`${compared} texts`);
  });
}

t.test('nearly every text has a template', async (t) => {
  t.comment(`${filled} filled`);
  t.ok(filled > 300);
});

t.test('what is taken out are whole tokens, and the others stay what they are', async (t) => {
  const pieces = `a1 _b2 c$3 é4 "q 5" 6 78 9.5 10.25 .5 1. 1e5 0x1F 1_000 007 $1 $23 'x' '' 'a''b'
    -7 + - * :: [1:2] a.b a.1 --c\n /*d*/ ( ) , = <> 1..2 12abc 999999999 9999999999 0`.split(' ');
  let skeletons = 0;
  for (let round = 0; round < 20_000; round++) {
    const parts = Array.from({ length: 1 + random.below(8) }, () => random.pick(pieces).trim());
    const gaps = () => random.pick([' ', ' ', '\n', '']);
    const text = toBytes(`SELECT ${parts.map((part) => part + gaps()).join('')}\n`);
    const skeleton = skeletonOf(text);
    if (!skeleton) continue;
    skeletons++;
    const other = withOtherConstants(text, skeleton);
    const again = skeletonOf(other.text);
    const kinds = (its: string) => lex(its).map(({ kind }) => kind);
    const same =
      again?.key === skeleton.key &&
      again.spans.join() === other.skeleton.spans.join() &&
      kinds(text).join() === kinds(other.text).join();
    if (!same) t.fail(`SEED=${SEED} ${JSON.stringify([text, other.text])}`);
    const tokens = lex(text);
    for (const [i, kind] of [...skeleton.key.matchAll(/\0(.)/g)]
      .map((match) => match[1]!)
      .entries()) {
      const [start, end] = [skeleton.spans[2 * i]!, skeleton.spans[2 * i + 1]!];
      const token = tokens.find((each) => each.start <= start && each.end >= end);
      const exact = token?.start === start && token.end === end;
      const right =
        kind === 's'
          ? token?.kind === 'string'
          : 'lc'.includes(kind)
            ? !token
            : exact && token.kind === 'number';
      if (!right) t.fail(`SEED=${SEED} ${kind} at ${start} of ${JSON.stringify(text)}`);
    }
  }
  t.ok(skeletons > 5_000, `${skeletons} skeletons`);
});

t.test('texts that have no skeleton', async (t) => {
  const none = [
    'SELECT a FROM orders WHERE b = $1',
    "SELECT E'a'",
    "SELECT date'2020-01-01'",
    "SELECT U&'x'",
    'SELECT U&"x", \'y\'',
    "SELECT 'a\\'",
    'SELECT $$1$$, 2',
    'SELECT $a$1$a$, 2',
    "SELECT 1; SELECT 'x'",
    'SELECT 1 /* /* */ */',
    "DO 'begin delete from orders; end'",
    "SET search_path = 'x'",
    "COPY orders FROM '/x'",
    "SELECT 'open",
  ];
  for (const text of none) t.equal(skeletonOf(text), null, text);
  for (const text of ["SELECT 'x';", 'select 1;\n ', '\nwith a as (select 1) table a']) {
    t.ok(skeletonOf(text), text);
  }
});

t.test('a constant that is not copied, but known to the rewrite, makes no template', async (t) => {
  const text = "INSERT INTO orders (a) VALUES ('one')";
  const skeleton = skeletonOf(text)!;
  const make = (its: string): Rewrite => {
    const value = /'(.*)'/.exec(its)![1]!;
    return {
      ...{ outcome: 'rewritten', touches: [1], reason: null, refusal: null },
      text: Buffer.from(`${its} ${value.length}`),
      edits: [{ start: its.length, end: its.length, length: 2, copies: [] }],
    };
  };
  const templates = new Templates();
  for (let sight = 0; sight < 3; sight++) templates.learn('', text, skeleton, make(text), make);
  t.equal(templates.fill('', text, skeleton), null);
  const honest = (its: string): Rewrite => ({ ...make(its), text: Buffer.from(its), edits: [] });
  const others = new Templates();
  others.learn('', text, skeleton, honest(text), honest);
  t.equal(others.fill('', text, skeleton), null, 'not at first sight');
  others.learn('', text, skeleton, honest(text), honest);
  t.ok(others.fill('', text, skeleton));
  t.equal(others.fill('another meaning', text, skeleton), null);
});
