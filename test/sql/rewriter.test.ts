import t from 'tap';
import { Cache } from '../../sql/cache.js';
import { applyDrafts, mapPosition } from '../../sql/edits.js';
import { isAscii, namePattern } from '../../sql/names.js';
import type { Rewrite } from '../../sql/outcome.js';
import { parse, prepareSpare } from '../../sql/parser.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { NO_RULES, type RuleSet, type TableRule } from '../../sql/rules.js';
import { toBytes } from '../../sql/tree.js';
import { readGolden } from './golden.js';

const HEADER = `
-- table: public.orders, guard: repair
-- column: id integer
-- column: note text
-- column: id_new bigint, hidden
-- pair: id_new = (@id)::bigint
`;

function rulesWith(change: Partial<TableRule> = {}): RuleSet {
  return { epoch: 3, tables: [{ ...readGolden(HEADER).table, ...change }] };
}

const HERE = new Map([['orders', 4711]]);
const ELSEWHERE = new Map([['orders', 9]]);

function rewriteOf(text: string | Buffer, rules = rulesWith(), resolution = HERE): Rewrite {
  return makeRewriter(rules).rewrite(Buffer.from(text), resolution, true);
}

await loadParser();

t.test('the prefilter lets no text pass that can name the table', async (t) => {
  const cases: [string, string, boolean][] = [
    ['orders', 'SELECT 1 FROM orders', true],
    ['orders', 'SELECT 1 FROM ORDERS', true],
    ['orders', 'SELECT 1 FROM"orders"', true],
    ['orders', 'SELECT 1 FROM a.orders,b', true],
    ['orders', 'SELECT 1 FROM preorders', false],
    ['orders', 'SELECT 1 FROM orders_old', false],
    ['orders', 'SELECT 1FROM(SELECT 1orders)', true],
    ['orders', 'SELECT 1 FROM U&"\\006frders"', true],
    ['orders', 'SELECT 1 FROM u&"x" UESCAPE \'!\'', true],
    ['orders', 'SELECT 1', false],
    ['a"b', 'SELECT 1 FROM "a""b"', true],
    ['a"b', 'SELECT 1 FROM "ab"', false],
    ['a.b*', 'SELECT 1 FROM "a.b*"', true],
    ['a.b*', 'SELECT 1 FROM "axbb"', false],
    ['größe', 'SELECT 1 FROM größe', true],
    ['größe', 'SELECT 1 FROM grsse', false],
    ['x'.repeat(63), `SELECT 1 FROM ${'x'.repeat(70)}`, true],
    ['$x', 'SELECT 1 FROM "$x"', true],
  ];
  for (const [name, text, may] of cases) {
    t.equal(namePattern([name]).test(toBytes(text)), may, `${name}: ${text}`);
  }
  t.ok(
    namePattern(['größe']).test(Buffer.from('SELECT 1 FROM größe', 'latin1').toString('latin1')),
  );
  t.notOk(
    makeRewriter(NO_RULES).mayTouch(Buffer.from('SELECT U&"x"')),
    'no rules, nothing to touch',
  );
  t.ok(makeRewriter(rulesWith()).mayTouch(Buffer.from('select orders')));
  t.ok(isAscii(rulesWith()));
  t.notOk(isAscii(rulesWith({ name: 'größe' })));
});

t.test('what is sent back is made once for a text and an answer of the search_path', async (t) => {
  const rewriter = makeRewriter(rulesWith());
  const text = 'INSERT INTO orders (id) VALUES (1)';
  const first = rewriter.rewrite(Buffer.from(text), HERE, true);
  t.equal(rewriter.rewrite(Buffer.from(text), HERE, true), first);
  t.same(first.touches, [4711]);
  t.same(first.found, { suspect: false, ends: false }, 'what it leads to is known with it');
  const ending = rewriter.rewrite(Buffer.from('COMMIT; TABLE orders'), HERE, true);
  t.same(ending.found, { suspect: true, ends: true });
  const other = rewriter.rewrite(Buffer.from(text), ELSEWHERE, true);
  t.match(other, { outcome: 'unchanged', touches: [] });
  t.equal(rewriter.rewrite(Buffer.from(text), new Map([['orders', 77]]), true), other);
  t.same(rewriter.names, ['orders']);
  const opaque = rewriter.rewrite(Buffer.from(text), HERE, false);
  t.match(opaque, { outcome: 'guarded', reason: 'encoding', touches: [4711] });
});

t.test(
  'the cache drops what was not used for the longest time, by entries and by bytes',
  async (t) => {
    const cache = new Cache<number>(3, 1_000_000);
    for (const [i, key] of ['a', 'b', 'c'].entries()) cache.set(key, i, 10);
    cache.get('a');
    cache.set('d', 3, 10);
    t.same(
      ['a', 'b', 'c', 'd'].map((key) => cache.get(key)),
      [0, undefined, 2, 3],
    );
    const small = new Cache<number>(100, 4_000);
    for (let i = 0; i < 20; i++) small.set(`k${i}`, i, 500);
    t.ok(small.bytes <= 4_000 && small.size === 4);
    small.set('huge', 1, 2_000);
    t.equal(small.get('huge'), undefined, 'one text does not drive out the others');
    small.set('k19', 5, 500);
    t.equal(small.size, 4);
  },
);

t.test(
  'texts that are not understood are left to the guard, and touch what they name',
  async (t) => {
    t.match(rewriteOf('UPDATE orders SET'), {
      outcome: 'guarded',
      reason: 'syntax',
      touches: [4711],
    });
    t.match(rewriteOf('UPDATE orders SET id = 1\0'), { outcome: 'guarded', reason: 'syntax' });
    const small = makeRewriter(rulesWith(), { maxParseBytes: 30 });
    const long = small.rewrite(Buffer.from('UPDATE orders SET id = 1 + 1 + 1'), HERE, true);
    t.match(long, { outcome: 'guarded', reason: 'size', touches: [4711] });
    t.match(rewriteOf('UPDATE orders SET id = 1 WHERE', rulesWith({ guard: 'none' })), {
      outcome: 'refused',
      refusal: { hint: /PostgreSQL 18/ },
    });
  },
);

t.test('a text that kills the parser costs one instance and no other text', async (t) => {
  const rewriter = makeRewriter(rulesWith());
  const sum = Array(12_000).fill('1').join('+');
  for (let i = 0; i < 4; i++) {
    const text = Buffer.from(`UPDATE orders SET id = ${sum} + ${i}`);
    t.match(rewriter.rewrite(text, HERE, true), { outcome: 'guarded', reason: 'depth' });
    await prepareSpare();
    t.match(rewriteOf('UPDATE orders SET id = 1'), { outcome: 'rewritten' });
  }
  const one = Buffer.from(`UPDATE orders SET id = ${sum}`);
  const two = Buffer.from(`UPDATE orders SET id = 1+${sum}`);
  rewriter.rewrite(one, HERE, true);
  const again = rewriter.rewrite(two, HERE, true);
  t.equal(again.outcome, 'guarded', 'even before a spare stands ready');
  await prepareSpare();
  const nested = `UPDATE orders SET id = ${'('.repeat(900)}1${')'.repeat(900)}`;
  t.match(rewriteOf(nested), { outcome: 'rewritten' }, 'parentheses alone do no harm');
  const deep = `UPDATE orders SET id = ${Array(1_200).fill('1').join('+')}`;
  t.match(rewriteOf(deep), { outcome: 'guarded', reason: 'depth' });
  t.throws(() => parse(`SELECT ${sum}`), { message: 'the statement is nested too deeply' });
  await prepareSpare();
  t.throws(() => parse('SELECT FROM WHERE'), { message: /syntax error/, position: 13 });
});

t.test('positions of errors are those in the text of the client', async (t) => {
  const plain = "INSERT INTO orders (note, id) VALUES ('é€𝄞', 1 + 'x') RETURNING nothing, *";
  const original = Buffer.from(plain);
  const result = rewriteOf(plain);
  const sent = [...result.text.toString()];
  const at = (part: string, from = 0) => sent.join('').indexOf(part, from) - 1;
  const place = (text: Buffer, rewrite: Rewrite, position: number) =>
    mapPosition(text, rewrite, position, true);
  t.equal(place(original, result, 3), 3);
  const first = at("'x'") + 1;
  const second = at("'x'", first + 3) + 1;
  const expected = [...plain].join('').indexOf("'x'");
  t.ok(second > first && first > 0);
  t.equal(place(original, result, first), expected);
  t.equal(place(original, result, second), expected, 'the copy is where it was copied from');
  t.equal(place(original, result, at('::bigint')), [...plain].join('').indexOf('1 +'));
  t.equal(place(original, result, at('nothing') + 1), plain.indexOf('nothing'));
  t.equal(place(original, result, at('"public"') + 1), plain.indexOf('*'));
  t.equal(place(original, result, 10_000), plain.length, 'beyond the end');
  const latin = Buffer.from("INSERT INTO orders (note, id) VALUES ('é', 5)", 'latin1');
  const mapped = rewriteOf(latin);
  const copy = mapped.text.toString('latin1').lastIndexOf('5');
  t.equal(mapPosition(latin, mapped, copy + 1, false), latin.toString('latin1').indexOf('5') + 1);
  const bytes = (text: string) => Buffer.from(text).toString('latin1');
  t.equal(
    mapPosition(original, result, bytes(sent.join('')).indexOf("'x'") + 1, false),
    bytes(plain).indexOf("'x'") + 1,
    'LATIN1 that would be UTF-8 too',
  );
});

t.test('edits at one place keep their order, and may not overlap', async (t) => {
  const piece = (start: number, end: number, text: string) => ({ start, end, text, copies: [] });
  const { text, edits } = applyDrafts('abcdef', [
    piece(4, 4, 'X'),
    piece(1, 2, 'Y'),
    piece(4, 4, 'Z'),
  ]);
  t.equal(text, 'aYcdXZef');
  t.same(
    edits.map((edit) => edit.start),
    [1, 4, 4],
  );
  t.throws(() => applyDrafts('abcdef', [piece(1, 3, ''), piece(2, 4, '')]));
});

t.test('the message of a refusal says the table, the migration and the remedy', async (t) => {
  const refused = rewriteOf('DROP TABLE orders');
  t.match(refused, {
    outcome: 'refused',
    refusal: { message: /"public.orders".*change of id_new/, hint: /pgtandem revert/ },
  });
  t.equal(refused.text.toString(), 'DROP TABLE orders');
});

t.test('rules that are no SQL are refused when the rewriter is made', async (t) => {
  const pair = readGolden(HEADER).table.pairs[0]!;
  const broken = { ...pair, forward: { texts: ['lower(', ''], columns: ['id'] } };
  t.throws(() => makeRewriter(rulesWith({ pairs: [broken] })), { message: /syntax error/ });
});

t.test('an edit that does not parse to what was meant is not sent', async (t) => {
  const pair = readGolden(HEADER).table.pairs[0]!;
  const forward = { texts: ['(', ')::bigint -- swallows what follows'], columns: ['id'] };
  const rules = rulesWith({ pairs: [{ ...pair, forward }] });
  const text = 'INSERT INTO orders (id) VALUES (1 + 1) RETURNING id';
  t.match(rewriteOf(text, rules), { outcome: 'guarded', reason: 'unverified', edits: [] });
  t.equal(rewriteOf(text, rules).text.toString(), text);
  // Here the text still parses, but to something else.
  const update = 'UPDATE orders SET id = 1 WHERE id = 2';
  t.match(rewriteOf(update, rules), { outcome: 'guarded', reason: 'unverified' });
  const bare = rulesWith({ pairs: [{ ...pair, forward }], guard: 'none' });
  t.match(rewriteOf(update, bare), { outcome: 'refused', reason: 'unverified' });
  const moved = rulesWith({ pairs: [{ ...pair, forward }], visible: ['note', 'id'] });
  t.match(rewriteOf('INSERT INTO orders VALUES (1)', moved), {
    outcome: 'refused',
    refusal: { hint: /Name the columns/ },
  });
});
