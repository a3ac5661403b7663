import t from 'tap';
import { crewOf, Pacer, restTimes } from '../../backfill/pace.js';
import { decide, pacedBy, pacedRatio, pressureOf, type Signal } from '../../backfill/throttle.js';
import { randomFrom } from './setup.js';

/**
 * What was broken on purpose, and which test saw it: a GAIN of 3 (the second: it swings), a QUIET
 * of 1 and a MAX_FACTOR of 2,560 (the third), a factorMax that counts for nothing, and one that does not
 * bring down what another signal has slowed further ("some signals"), `soft` or `critical` no matter in
 * decide (the last); DELAY no matter in observe ("what is averaged"), a floor that counts for nothing
 * (the same), `beginSlowly` that begins whenever it is asked ("begins"),
 * a ratio that counts as it is while the fill stands still ("it does not get faster"); a signal with a factor of
 * its own that counts beyond it ("may not slow it").
 */

/** A signal that is in proportion to the fill's speed, plus a floor, averaged and seen late. */
function simulate(floor: number, full: number, seconds: number, noise = () => 0): number[] {
  const pacer = new Pacer();
  const speeds: number[] = [];
  const factors: number[] = [];
  for (let ms = 0; ms < seconds * 1000; ms += 100) {
    const recent = speeds.slice(-12, -2);
    const mean = recent.reduce((sum, each) => sum + each, 0) / Math.max(1, recent.length);
    pacer.observe(ms, floor + full * mean * (1 + noise()));
    // A chunk of 50 ms and its rest of a quarter of it.
    speeds.push(62.5 / (50 + restTimes(12.5, pacer.factor)));
    factors.push(pacer.factor);
  }
  return factors;
}

/** How often it turns from growing to shrinking or back, standing still in between or not. */
function turns(values: number[]): number {
  const steps = values.slice(1).map((value, i) => Math.sign(value - values[i]!));
  const moves = steps.filter((step) => step !== 0);
  return moves.slice(1).filter((move, i) => move !== moves[i]).length;
}

t.test('within its threshold nothing is slowed down', async (t) => {
  t.same(new Set(simulate(0, 0.9, 20)), new Set([1]));
});

t.test(
  'slows down until it is within the threshold, and stays there without swinging',
  async (t) => {
    for (const [floor, full] of [
      [0, 1.3],
      [0, 3],
      [0, 6],
      [0.4, 3],
      [0.6, 1.5],
    ] as const) {
      const factors = simulate(floor, full, 120);
      const last = factors.at(-1)!;
      const ratio = floor + (full * 62.5) / (50 + Math.max(12.5, 12.5 * last));
      t.ok(ratio > 0.75 && ratio <= 1.01, `${floor} + ${full}: ends at ${ratio} of the threshold`);
      t.ok(turns(factors) <= 1, `${floor} + ${full}: turns ${turns(factors)} times`);
    }
  },
);

t.test(
  'noise is not followed, and a signal that stays beyond is met by the slowest pace',
  async (t) => {
    const seed = Date.now() % 1e9;
    t.comment(`seed ${seed}`);
    const random = randomFrom(seed);
    const factors = simulate(0, 3, 120, () => (random() - 0.5) * 0.1).slice(-300);
    const [low, high] = [Math.min(...factors), Math.max(...factors)];
    t.ok(high / low < 1.01, `between ${low} and ${high} in the last 30 s`);
    for (const ratio of [Number.POSITIVE_INFINITY, Number.NaN]) {
      const pacer = new Pacer();
      for (let ms = 0; ms < 60_000; ms += 100) pacer.observe(ms, ratio);
      t.equal(Math.round(pacer.factor), 512);
      t.equal(Math.round(restTimes(2.5, pacer.factor)), 1_280);
      t.equal(
        restTimes(1_000, pacer.factor),
        2_000,
        'never so long that a change is not noticed soon',
      );
      for (let ms = 60_000; ms < 120_000; ms += 100) pacer.observe(ms, 0);
      t.equal(pacer.factor, 1, 'and back');
    }
  },
);

t.test('begins as slowly as can be where there is a limit, and no more than once', async (t) => {
  const pacer = new Pacer();
  pacer.beginSlowly();
  t.equal(Math.round(pacer.factor), 512);
  for (let ms = 0; ms < 60_000; ms += 100) pacer.observe(ms, 0);
  t.equal(pacer.factor, 1);
  pacer.beginSlowly();
  t.equal(pacer.factor, 1, 'a partition begins as fast as the one before it ended');
});

t.test('it does not get faster while it stands still for something else', async (t) => {
  const pacer = new Pacer();
  for (let ms = 0; ms < 5_000; ms += 100) pacer.observe(ms, 3);
  const { factor } = pacer;
  t.ok(factor > 2, `${factor}`);
  const lost: Signal = { name: 'standby-lost', subject: '', observed: 1, threshold: 0, ageMs: 0 };
  const stop = decide([lost]);
  const stale = decide([{ ...lost, ageMs: 9_000 }]);
  // Nothing is filled, so that all is within its limits.
  for (let ms = 5_000; ms < 60_000; ms += 100) pacer.observe(ms, pacedRatio(stop, 0.1));
  t.equal(pacer.factor, factor);
  for (let ms = 60_000; ms < 90_000; ms += 100) pacer.observe(ms, pacedRatio(stale, Number.NaN));
  t.equal(pacer.factor, factor, 'what is not known says nothing either way');
  pacer.observe(90_000, pacedRatio(stop, 3));
  t.equal(pacer.factor, factor, 'nor slower: it is none of the fill’s');
  for (let ms = 90_000; ms < 91_000; ms += 100) pacer.observe(ms, pacedRatio(decide([]), 0.1));
  t.equal(pacer.factor, factor, 'without a look it stands still too');
  for (let ms = 91_000; ms < 92_000; ms += 100) pacer.observe(ms, pacedRatio(null, 0.1));
  t.ok(pacer.factor < factor, 'when it goes on');
});

t.test('what is averaged over a longer time is followed without swinging too', async (t) => {
  // A percentile over five seconds, reported a second later, of which so much is there without a fill.
  for (const full of [0.3, 1, 2]) {
    const pacer = new Pacer();
    pacer.beginSlowly();
    const speeds: number[] = [];
    const ratios: number[] = [];
    for (let ms = 0; ms < 300_000; ms += 100) {
      const recent = speeds.slice(-60, -10);
      const mean = recent.reduce((sum, each) => sum + each, 0) / Math.max(1, recent.length);
      const observed = 1 + full * mean;
      const signal: Signal = { name: 'latency', subject: '', observed, threshold: 1.2, ageMs: 0 };
      const { ratio, delayMs } = pressureOf([
        { ...signal, floor: 1, delayMs: 3_500, level: 'soft', detail: '' },
      ]);
      pacer.observe(ms, ratio, undefined, delayMs);
      ratios.push(observed);
      speeds.push(62.5 / (50 + restTimes(12.5, pacer.factor)));
    }
    t.ok(Math.max(...ratios) <= 1.2, `${full}: ${Math.max(...ratios)} at most`);
    const last = ratios.at(-1)!;
    t.ok(last >= 1.15 && last <= 1.2, `${full}: ends at ${last}`);
  }
});

t.test('there are fewer workers before the rests get long, and one beside others', async (t) => {
  const count = (workers: number, others: number, factor = 1) =>
    crewOf(workers, others, factor).count;
  t.same(
    [1, 2, 3, 16].map((workers) => count(workers, 0)),
    [1, 2, 3, 16],
  );
  t.same(
    [0, 0.3, 0.6, 1, 7, Number.NaN].map((others) => count(3, others)),
    [3, 2, 2, 1, 1, 1],
  );
  const factors = [1, 1.2, 2, 3, 5, 10, 20, 64];
  t.same(
    factors.map((factor) => count(4, 0, factor)),
    [4, 4, 4, 3, 2, 2, 1, 1],
  );
  for (const workers of [1, 2, 5]) {
    for (const factor of factors) {
      const crew = crewOf(workers, 0, factor);
      // A chunk of 50 ms and its rest beyond a quarter of it, of one worker.
      const speed = (times: number) => 50 / (50 + restTimes(12.5, times) - 12.5);
      const all = crew.count * speed(crew.factor);
      t.ok(Math.abs(all / (workers * speed(factor)) - 1) < 1e-6, `${workers} at ${factor}`);
      t.ok(crew.count === 1 || crew.count - 1 < all, 'no more than are needed for it');
    }
  }
  t.same(crewOf(1, 0, 7), { count: 1, factor: 7 }, 'one alone as before');
});

t.test('some signals slow down by no more than a factor of their own', async (t) => {
  const pacer = new Pacer();
  for (let ms = 0; ms < 60_000; ms += 100) pacer.observe(ms, 3);
  t.equal(Math.round(pacer.factor), 512);
  for (let ms = 60_000; ms < 120_000; ms += 100) pacer.observe(ms, Number.POSITIVE_INFINITY, 4);
  t.equal(Math.round(pacer.factor), 4, 'from above');
  for (let ms = 120_000; ms < 180_000; ms += 100) pacer.observe(ms, 0);
  for (let ms = 180_000; ms < 240_000; ms += 100) pacer.observe(ms, Number.POSITIVE_INFINITY, 4);
  t.equal(Math.round(pacer.factor), 4, 'from below');
});

t.test('a signal that may not slow it down any further wants it faster', async (t) => {
  const of = (change: Partial<Signal>): Signal => ({
    name: 'latency',
    subject: '',
    observed: 1.09,
    floor: 1,
    threshold: 1.1,
    level: 'soft',
    ageMs: 0,
    detail: '',
    ...change,
  });
  /** Where it comes to from the slowest pace. */
  const endOf = (...signals: Signal[]) => {
    const pacer = new Pacer();
    pacer.beginSlowly();
    for (let ms = 0; ms < 60_000; ms += 100) {
      const { ratio, factorMax } = pressureOf(signals, pacer.factor);
      pacer.observe(ms, ratio, factorMax);
    }
    return Math.round(pacer.factor);
  };
  const quiet = of({});
  t.equal(endOf(quiet), 512, 'just within its threshold nothing is changed');
  // By a step of the pacer less.
  const ended = endOf({ ...quiet, factorMax: 48 });
  t.ok(ended >= 46 && ended <= 48, `but for one that may not have it so slow: ${ended}`);
  const beyond = of({ observed: 3, factorMax: 48 });
  t.equal(endOf(beyond), 48, 'nor beyond it');
  t.equal(endOf(beyond, of({ name: 'wal-rate' })), 512, 'another may');
  t.equal(endOf(of({ observed: 1, factorMax: 48 })), 1);
});

t.test('a soft signal slows down, a hard one stops, a critical one goes before all', async (t) => {
  const beyond = (change: Partial<Signal>): Signal => ({
    name: 'query',
    subject: '',
    observed: 6,
    threshold: 3,
    ageMs: 0,
    detail: 'six',
    ...change,
  });
  t.equal(decide([beyond({ level: 'soft' })]), null);
  t.match(pressureOf([beyond({ level: 'soft' })]), { ratio: 2, reason: { text: 'query: six' } });
  t.match(pressureOf([beyond({ level: 'hard' })]), { ratio: 0, reason: null });
  t.match(decide([beyond({})]), { level: 'hard', text: 'query: six' });
  const both = [beyond({ name: 'archiver' }), beyond({ level: 'critical' })];
  t.match(decide(both), { level: 'critical', name: 'query' });
  t.match(decide([beyond({ level: 'soft', ageMs: 1_001 })]), { name: 'stale' });
  t.equal(decide([beyond({ level: 'soft', ageMs: 1_001, staleMs: 2_000 })]), null);
  t.match(pacedBy([beyond({ level: 'soft' })])?.text, /: its limit is approached from below$/);
  t.equal(pacedBy([beyond({}), beyond({ name: 'autovacuum', level: 'soft' })]), null);
  const late = {
    name: 'latency',
    floor: 1,
    threshold: 1.2,
    delayMs: 3_500,
    level: 'soft',
  } as const;
  const delayOf = (...signals: Signal[]) => pressureOf(signals).delayMs;
  t.equal(
    delayOf(beyond({ ...late, observed: 0.9 }), beyond({ observed: 1, level: 'soft' })),
    3_500,
  );
  t.equal(delayOf(beyond({ ...late, observed: 0.9 }), beyond({ level: 'soft' })), 0);
  t.equal(delayOf(beyond({ ...late, observed: 2 }), beyond({ level: 'soft' })), 3_500);
  const odd = [null, Number.NaN, 1].map((observed) =>
    pressureOf([beyond({ level: 'soft', observed, threshold: observed === 1 ? 0 : 3 })]),
  );
  t.match(odd, [
    { ratio: Number.POSITIVE_INFINITY },
    { ratio: Number.NaN },
    { ratio: Number.POSITIVE_INFINITY },
  ]);
  t.ok(odd.every(({ reason }) => reason !== null));
});
