import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { loadModule, scanSync } from 'libpg-query';
import t from 'tap';
import { lex } from '../../sql/lexer.js';
import { toBytes } from '../../sql/tree.js';
import { readGolden } from './golden.js';
import { Random, seedFrom } from './random.js';

/** Token boundaries as PostgreSQL's own scanner sees them; null when it refuses the text. */
function scanned(text: string): [number, number][] | null {
  try {
    return scanSync(text)
      .tokens.filter(({ tokenName }) => !/COMMENT$/.test(tokenName))
      .map(({ start, end }) => [start, end]);
  } catch {
    return null;
  }
}

function lexed(text: string): [number, number][] {
  return lex(toBytes(text)).map(({ start, end }) => [start, end]);
}

const CORPUS = [
  "SELECT 'a''b', E'a\\'b\\\\', E'\\\\', U&'\\0041', b'01', X'1F', N'x', n'y'",
  "SELECT 'a'\n'b' -- c\n 'd' /* no */, 'x' 'y'",
  "SELECT 'a' -- --------------------------------------\n, 'b'",
  "SELECT E'a'\n'b\\'c', 'a'\n\n\t-- x\n-- y\n'b'",
  'SELECT "a""b", U&"d\\0061" UESCAPE \'!\', "é", é, ünï$1, _x, x$y$z',
  "SELECT $$a'b$$, $x$ $$ $y$ $x$, $é$é$é$, $1, $23, a$1$, $1+$2",
  'SELECT 1.5e10, 1e-5, .5, 1., 1..10, 0x1F, 0b101, 0o17, 1_000, 1_0.0_1, 5.e3, 1.e+4',
  'SELECT a+-b, a*-1, a<->b, a @-@ b, a|/-b, a<=b, a<>b, a!=b, a=>b, a>=b, a:=b, a::b, a[1:2], b ? c',
  'SELECT 1--x\n+2, 1/*y*/+2, a*/*z*/b, a-/* /* nested */ */b, a@--c\n1, !=-1, =-1, @-1, ~-1',
  'SELECT a.b.c, (a).b, a . * , *, count(*), a[1]',
  'SELECT a->b, a->>b, a#>>b, a&&b, a||b, a^2, 5%3, |/25, a ~* b, a !~~ b',
  '/* only a comment */',
  '  ',
];

const PIECES = [
  "'a'",
  "'it''s'",
  "E'\\''",
  "e'\\\\'",
  "U&'x'",
  "B'1'",
  '$$x$$',
  '$q$ a $q$',
  '"a""b"',
  'U&"x"',
  'word',
  'é',
  '$1',
  '12',
  '1.5',
  '.5e3',
  '0xFF',
  '+',
  '-',
  '*',
  '/',
  '<',
  '=',
  '>',
  '!',
  '@',
  '#',
  '^',
  '&',
  '|',
  '`',
  '?',
  '%',
  '~',
  '::',
  ':=',
  ':',
  '.',
  '..',
  ',',
  '(',
  ')',
  '[',
  ']',
  ';',
  ' ',
  '\n',
  '\t',
  '--c\n',
  '/*c*/',
  '/* /* */ */',
  '-',
  '+',
  "'",
  'e',
  'x',
  'u&',
  'n',
  '1_0',
];

t.test("the lexer's boundaries are those of PostgreSQL's scanner", async (t) => {
  await loadModule();
  const seed = seedFrom(process.env.SEED);
  const folder = resolve(import.meta.dirname, '..', '..', '..', 'test', 'sql', 'cases');
  const golden = readdirSync(folder).flatMap((name) =>
    readGolden(readFileSync(join(folder, name), 'utf8')).cases.flatMap((one) => [
      one.sent,
      one.expected,
    ]),
  );
  for (const text of [...CORPUS, ...golden]) {
    const expected = scanned(text);
    if (expected) t.same(lexed(text), expected, text);
  }
  const random = new Random(seed);
  const wrong: string[] = [];
  let accepted = 0;
  for (let n = 0; n < 6000; n++) {
    let text = '';
    for (let i = 1 + random.below(12); i > 0; i--) text += random.pick(PIECES);
    const expected = scanned(text);
    if (!expected) continue;
    accepted++;
    if (JSON.stringify(lexed(text)) !== JSON.stringify(expected)) {
      wrong.push(
        `${JSON.stringify(text)}\n${JSON.stringify(expected)}\n${JSON.stringify(lexed(text))}`,
      );
    }
  }
  t.equal(wrong.slice(0, 5).join('\n\n'), '', `seed ${seed}`);
  t.ok(accepted > 1000, `${accepted} texts that the scanner accepts`);
});
