import t from 'tap';
import { sampleHash } from '../../sql/bytes.js';
import { KeyedCache } from '../../sql/keyed-cache.js';
import { Random, seedFrom } from './random.js';

/*
 * Broken to see it fail:
 * | what                                            | what failed                                  |
 * | ----------------------------------------------- | -------------------------------------------- |
 * | a hit does not make an entry the newest         | what was not used for the longest time goes  |
 * | a chain is as long as it becomes                | keys of one hash cost so many comparisons    |
 * | an entry that goes stays in its chain           | it does what a list would do                 |
 * | the signature is not compared                   | it does what a list would do                 |
 * | the bytes of what goes are not given back       | it does what a list would do                 |
 */

const SEED = seedFrom(process.env.SEED);
t.comment(`SEED=${SEED}`);
const random = new Random(SEED);

t.test('what was not used for the longest time goes first', async (t) => {
  const cache = new KeyedCache<string, number>(3, 1_000_000, (a, b) => a === b);
  for (const [i, key] of ['a', 'b', 'c'].entries()) cache.set(i, '', key, i, 1);
  t.equal(cache.get(0, '', 'a'), 0);
  cache.set(3, '', 'd', 3, 1);
  t.same(
    [...'abcd'].map((key, i) => cache.get(i, '', key)),
    [0, undefined, 2, 3],
  );
  t.equal(cache.size, 3);
  const small = new KeyedCache<string, number>(100, 4_000, (a, b) => a === b);
  small.set(1, '', 'huge', 1, 900);
  t.equal(small.size, 0, 'one entry may not drive out all the others');
  for (let i = 0; i < 20; i++) small.set(i, '', `${i}`, i, 100);
  t.equal(small.size, 8);
  t.equal(small.bytes, 4_000);
});

t.test('keys of one hash cost so many comparisons, and no more', async (t) => {
  let compared = 0;
  const cache = new KeyedCache<number, number>(1_000, 1_000_000, (a, b) => {
    compared++;
    return a === b;
  });
  for (let i = 0; i < 200; i++) cache.set(7, '', i, i, 1);
  compared = 0;
  t.equal(cache.get(7, '', -1), undefined);
  t.equal(compared, 8);
  t.equal(cache.size, 8);
  t.equal(cache.get(7, '', 199), 199);
  t.equal(cache.has(7, 0), false, 'the one that came first has gone');
});

t.test('it does what a list would do', async (t) => {
  const cache = new KeyedCache<string, number>(20, 1e9, (a, b) => a === b);
  let list: { key: string; signature: string; value: number; bytes: number }[] = [];
  const without = (signature: string, key: string) =>
    list.filter((each) => each.key !== key || each.signature !== signature);
  for (let step = 0; step < 20_000; step++) {
    const key = `${random.below(30)}`;
    const signature = random.pick(['x', 'y']);
    // At most four keys of one hash, under two signatures: no chain is too long.
    const hash = Number(key) % 8;
    const known = list.find((each) => each.key === key && each.signature === signature);
    if (random.below(3) > 0) {
      const value = cache.get(hash, signature, key);
      if (value !== known?.value) t.fail(`SEED=${SEED} step ${step}`);
      if (known) list = [...without(signature, key), known];
    } else {
      const bytes = random.below(100);
      cache.set(hash, signature, key, step, bytes);
      list = [...without(signature, key), { key, signature, value: step, bytes: bytes + 400 }];
      if (list.length > 20) list.shift();
    }
    const total = list.reduce((sum, { bytes }) => sum + bytes, 0);
    if (cache.size !== list.length || cache.bytes !== total) t.fail(`SEED=${SEED} step ${step}`);
  }
  t.equal(cache.size, list.length);
});

t.test(
  'texts that differ in length or in a byte that is looked at have other hashes',
  async (t) => {
    const hash = (text: string) => sampleHash(Buffer.from(text));
    t.not(hash('SELECT 1'), hash('SELECT 2'));
    t.not(hash('SELECT 1'), hash('SELECT 1 '));
    t.not(hash(`a${'x'.repeat(5_000)}`), hash(`b${'x'.repeat(5_000)}`));
    t.equal(hash(`a${'x'.repeat(5_000)}`), hash(`a${'x'.repeat(5_000)}`));
    t.type(hash(''), 'number');
  },
);
