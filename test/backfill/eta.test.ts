import t from 'tap';
import { Account } from '../../backfill/account.js';
import { etaErrorOf, type Sample } from '../../bench/backfill/eta.js';

/**
 * What was broken on purpose, and which test failed: the rate of the latter half of the blocks, that of
 * a second at least, the beginning not left out ("quiet runs"); a window of two minutes ("half as
 * fast"); a share of what was left, however little that was ("an error").
 */

/**
 * Milliseconds that each fiftieth of the blocks took, of quiet runs of `npm run bench:backfill`:
 * a million rows with one worker, with two, and three million with one.
 */
const RECORDED = {
  'one worker': `349 237 244 252 237 174 175 165 173 175 126 172 167 153 145 157 154 150 137 146 128
    129 126 103 141 131 141 122 134 108 143 163 142 100 159 129 145 161 113 168 144 139 137 162 148
    166 192 142 160 168`,
  'two workers': `362 252 176 225 172 189 189 155 148 117 144 173 114 105 130 127 152 133 136 115 162
    107 97 133 109 177 98 128 155 121 175 126 182 112 179 135 120 118 197 116 147 169 149 183 206 140
    163 150 140 221`,
  'three million': `873 679 571 567 631 460 432 429 392 428 388 422 388 429 415 404 415 379 340
    446 355 415 395 405 390 402 415 432 483 444 458 430 409 384 389 418 435 411 410 416 391 418 405
    391 489 457 499 379 408 389`,
};

/** What an account tells of a fill of 10,000 blocks, a hundredth of a slice at a time. */
function told(slices: readonly number[]): Sample[] {
  const account = new Account(0);
  const total = 10_000;
  const each = total / slices.length / 100;
  const samples: Sample[] = [];
  let [ms, blocks] = [0, 0];
  account.reach(0, 0, total);
  for (const slice of slices) {
    for (let i = 0; i < 100; i++) {
      ms += slice / 100;
      blocks += each;
      account.spend(ms, 'filling');
      account.reach(blocks, blocks * 60, total);
      const etaSeconds = account.etaSeconds(total - blocks, total);
      samples.push({ ratio: blocks / total, etaSeconds, spent: account.spent() });
    }
  }
  return samples;
}

t.test('quiet runs that were recorded are estimated to within a fifth', async (t) => {
  for (const [name, text] of Object.entries(RECORDED)) {
    const samples = told(text.trim().split(/\s+/).map(Number));
    const { error, ratio, offSeconds } = etaErrorOf(samples)!;
    const where = `${(error * 100).toFixed(1)}% at ${(ratio * 100).toFixed(0)}%`;
    t.comment(`${name}: ${where}, ${offSeconds.toFixed(1)} s`);
    t.ok(error < 0.2, `${name}: ${where}`);
    // By then it has all the time that it needs.
    const later = etaErrorOf(samples.filter((one) => one.ratio > 0.4))!.error;
    t.ok(later < 0.15, `${name}: ${(later * 100).toFixed(1)}% from 40% on`);
  }
});

t.test('a fill that is half as fast from now on is followed within a minute', async (t) => {
  // Ten minutes, and twenty more for the other half.
  const samples = told(Array.from({ length: 60 }, (_, i) => (i < 30 ? 20_000 : 40_000)));
  const left = (sample: Sample) => 1_800 - sample.spent.fillingSeconds;
  const at = (seconds: number) => samples.find(({ spent }) => spent.fillingSeconds >= seconds)!;
  const error = (seconds: number) =>
    Math.abs(at(seconds).etaSeconds! - left(at(seconds))) / left(at(seconds));
  t.ok(error(599) > 0.4, 'nobody foresees it');
  t.ok(error(662) < 0.01, `${(error(662) * 100).toFixed(1)}% off after a minute`);
});

t.test('an error is a share of what was left, and less than half a second is none', async (t) => {
  const spent = (fillingSeconds: number) => ({ ...new Account(0).spent(), fillingSeconds });
  const sample = (ratio: number, seconds: number, etaSeconds: number | null) => ({
    ratio,
    etaSeconds,
    spent: spent(seconds),
  });
  const of = (...samples: Sample[]) => etaErrorOf([...samples, sample(1, 10, 0)]);
  t.same(of(sample(0.5, 5, 6)), { error: 0.2, ratio: 0.5, offSeconds: 1 });
  t.same(of(sample(0.5, 5, 3)), { error: 0.4, ratio: 0.5, offSeconds: -2 });
  t.same(of(sample(0.9, 9, 1.5)), { error: 0.2, ratio: 0.9, offSeconds: 0.5 });
  t.equal(of(sample(0.5, 5, null))!.error, Number.POSITIVE_INFINITY);
  t.equal(of(sample(0.1, 1, 90), sample(0.96, 9.6, 9)), null, 'of its beginning and its end none');
  t.match(of(sample(0.3, 3, 7), sample(0.5, 5, 8), sample(0.7, 7, 3)), { ratio: 0.5 }, 'the worst');
  t.equal(etaErrorOf([]), null);
});
