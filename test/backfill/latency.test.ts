import t from 'tap';
import { Control } from '../../backfill/control.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { LatencyWindow } from '../../backfill/latency-window.js';
import { p99Of, TRANSACTIONS_MIN } from '../../backfill/percentile.js';
import { latency } from '../../backfill/signals/latency.js';
import { Latencies, Waits } from '../../proxy/latencies.js';
import { Touches } from '../../proxy/touches.js';
import { randomFrom } from './setup.js';

/**
 * The application's p99, from the proxies' counts to the signal, without a server.
 *
 * What was broken on purpose, and which test saw it: what stops the fill judged by the median of five
 * seconds ("the last second alone"); the p99 of all the window instead of its slices',
 * the slices from the oldest on, as many of them as there are where one is asked for ("a stall");
 * slices that end without a hundred transactions (it, and "a window"); a proxy that comes with all
 * that it has ever counted, one that begins anew with less than nothing, a window without an end
 * ("a window"); stolen seconds that count, one that is left out where there is no other, what was stolen while
 * nobody came to an end ("seconds of which"); no older ones in their place, more of them than there were seconds,
 * as if they were of now, also for what stops the fill ("for a stolen second").
 */

const OID = 77;

t.test('what a proxy counts has its percentile right to a tenth', async (t) => {
  const seed = Date.now() % 1e9;
  t.comment(`seed ${seed}`);
  const random = randomFrom(seed);
  for (let i = 0; i < 200; i++) {
    const all = new Latencies();
    const n = 200 + Math.floor(random() * 2_000);
    const times = Array.from({ length: n }, () => 10 ** (random() * 5 - 3.9));
    for (const seconds of times) all.record(OID, seconds);
    const exact = times.sort((a, b) => a - b)[Math.ceil(n * 0.99) - 1]! * 1000;
    const found = p99Of(all.of([OID])[String(OID)]!)!;
    // In the same bucket, which is an eighth of a factor of two wide.
    if (!(found >= exact / 2 ** 0.1251 && found <= exact * 2 ** 0.1251))
      t.fail(`${found} of ${exact}`);
  }
  const extreme = new Latencies();
  for (const seconds of [0, 1e-9, 1e9]) extreme.record(OID, seconds);
  t.same(Object.values(extreme.of([OID])[OID]!), [2, 1]);
  t.same(extreme.of([1]), { 1: {} }, 'a table that is not asked for is forgotten');
  t.same(extreme.of([OID]), { [OID]: {} });
  const few = (n: number) => p99Of({ 16: n });
  t.equal(few(TRANSACTIONS_MIN - 1), null);
  t.equal(
    few(TRANSACTIONS_MIN),
    0.1 * 2 ** (15.99 / 8),
    'as far in its bucket as it is in the count',
  );
});

t.test('a request counts for the tables that its own messages touch', async (t) => {
  const touches = new Touches();
  touches.mark([1], 5);
  touches.mark([2], 8);
  t.same(touches.since(4), [1, 2]);
  t.same(touches.since(5), [2], 'a transaction that touched another before says nothing of it');
  t.same(touches.since(8), []);
});

t.test(
  'a transaction takes as long as all its requests, for each table that it touches',
  async (t) => {
    const all = new Latencies();
    const waits = new Waits();
    const counted = () => all.of([1, 2]);
    // BEGIN; an UPDATE of each; COMMIT, which touches nothing itself.
    waits.add(0.01, null);
    waits.add(0.02, [1]);
    waits.add(0.03, [2]);
    t.same(counted(), { 1: {}, 2: {} }, 'not before it is over');
    waits.add(0.1, []);
    waits.end(all);
    const bucket = String(Math.ceil(Math.log2(0.16 / 0.0001) * 8));
    t.same(counted(), { 1: { [bucket]: 1 }, 2: { [bucket]: 1 } });
    waits.add(5, null);
    waits.end(all);
    waits.add(0.16, [1]);
    waits.end(all);
    t.same(counted(), { 1: { [bucket]: 2 }, 2: { [bucket]: 1 } }, 'nothing of those before');
  },
);

/** The p99 of a slice of which all are in the bucket. */
const ms = (bucket: number) => 0.1 * 2 ** ((bucket - 0.01) / 8);
const isSlow = (p99Ms: number | null) => p99Ms !== null && p99Ms > ms(SLOW - 1);
const [FAST, SLOW] = [10, 40];

t.test('a window is of the last seconds of every proxy that reports', async (t) => {
  const window = new LatencyWindow(5_000);
  const take = (atMs: number, counts: Record<string, [number, number]>) =>
    window.take(
      Object.entries(counts).map(([proxy, [fast, slow]]) => ({
        proxy,
        ageMs: proxy === 'b' ? 300 : 100,
        counts: { [FAST]: fast, [SLOW]: slow },
      })),
      atMs,
    );
  t.match(take(0, { a: [5_000, 700] }), { transactions: 0, p99Ms: null, ageMs: 100 });
  t.match(take(1_000, { a: [5_200, 700] }), { transactions: 200, p99Ms: ms(FAST) });
  // Ten alone are no slice: they are of the one with those before them.
  t.match(take(2_000, { a: [5_200, 710], b: [9_000, 900] }), {
    transactions: 210,
    p99Ms: 0.1 * 2 ** ((SLOW - 0.21) / 8),
  });
  // One that has just come counts from its first report on.
  t.match(take(3_000, { a: [5_400, 710], b: [9_500, 900] }), { transactions: 910, ageMs: 300 });
  t.match(take(8_000, { a: [5_600, 710] }), { transactions: 200, p99Ms: ms(FAST) });
  t.match(take(9_000, { a: [10, 0] }), { transactions: 200 }, 'one that began anew has no debts');
  t.match(take(9_500, { a: [10, 60] }), { transactions: 260 }, 'and counts from then on');
});

/** A second each of 100 transactions or so many, of which the given are slow. */
function reported(window: LatencyWindow, slow: readonly number[], each = 100) {
  const sum = { fast: 0, slow: 0 };
  const taken = [0, ...slow].map((n, second) => {
    if (second > 0) sum.fast += each - n;
    sum.slow += n;
    const counts = { [FAST]: sum.fast, [SLOW]: sum.slow };
    const atMs = second * 1_000;
    // Looks are taken more often than reports are made.
    for (const later of [0, 250, 500]) {
      window.take([{ proxy: 'a', ageMs: later, counts }], atMs + later);
    }
    return window.take([{ proxy: 'a', ageMs: 0, counts }], atMs + 600).p99Ms;
  });
  return taken.slice(1);
}

t.test('a stall spoils its own second, of the baseline as of what is compared', async (t) => {
  const stalled = [0, 0, 0, 100, 0, 0, 0, 0, 0, 0];
  const all = { [FAST]: 900, [SLOW]: 100 };
  t.ok(isSlow(p99Of(all)), 'of all transactions together it is the p99');
  t.equal(reported(new LatencyWindow(Number.POSITIVE_INFINITY), stalled).at(-1), ms(FAST));
  t.same(new Set(reported(new LatencyWindow(5_000), stalled)), new Set([ms(FAST)]));
  t.same(
    reported(new LatencyWindow(5_000, 1), stalled).map(isSlow),
    stalled.map((n) => n > 0),
    'the latest slice alone tells at once, and not for longer',
  );
  // What is slow for longer is told when it is most of the window, and forgotten likewise.
  t.same(reported(new LatencyWindow(5_000), [0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 0, 0, 0]).map(isSlow), [
    false,
    false,
    false,
    false,
    false,
    false,
    false,
    true,
    true,
    true,
    true,
    true,
    false,
  ]);
  // Of 20 a second it takes five to have a hundred.
  const few = reported(new LatencyWindow(5_000), [0, 0, 0, 0, 0, 3, 0], 20);
  t.same(few.slice(0, 5), [null, null, null, null, ms(FAST)]);
  t.same(few.map(isSlow), [false, false, false, false, false, true, true]);
  t.same(new Set(reported(new LatencyWindow(5_000), [0, 0, 0, 0, 0, 0], 19)), new Set([null]));
});

t.test('seconds of which the host has stolen are left out where there are others', async (t) => {
  const sum = { fast: 0, slow: 0, stolenMs: 0 };
  const window = new LatencyWindow(5_000);
  const latest = new LatencyWindow(5_000, 1, 0);
  let second = 0;
  const after = (fast: number, slow: number, stolenMs: number) => {
    sum.fast += fast;
    sum.slow += slow;
    sum.stolenMs += stolenMs;
    const counts = { [FAST]: sum.fast, [SLOW]: sum.slow };
    // One whose machine does not count that has nothing stolen.
    const none = { proxy: 'b', ageMs: 0, counts: {}, stolenMs: null };
    const reports = [{ proxy: 'a', ageMs: 0, counts, stolenMs: sum.stolenMs }, none];
    const atMs = second++ * 1_000;
    const seen = [window, latest].map((one) => isSlow(one.take(reports, atMs).p99Ms));
    for (const one of [window, latest]) one.take(reports, atMs + 250);
    return seen;
  };
  t.same(after(0, 0, 700), [false, false], 'what was stolen before the first report');
  t.same(after(100, 0, 0), [false, false]);
  t.same(after(0, 100, 10), [false, true], 'the last second alone tells of it');
  t.same(after(0, 100, 0), [false, true], 'between one that is fast and one that is slow');
  t.same(after(100, 0, 0), [false, false]);
  t.same(after(0, 0, 20), [false, false], 'nobody has come to an end meanwhile');
  t.same(after(0, 100, 0), [false, true], 'so that what was stolen is of who ends next');
  for (let i = 0; i < 4; i++) after(0, 100, 10);
  t.same(after(0, 100, 10), [true, true], 'where there is no other, those are what there is');
  t.same(after(100, 0, 0), [false, false], 'one of its own is enough');
});

t.test(
  'for a stolen second of the fill an older one stands, so that its pace is not noise',
  async (t) => {
    const control = new Control(0);
    const [slow, stop] = latency(OID, control);
    const settings = { ...DEFAULT_THROTTLE, latencyBaselineMs: ms(FAST) };
    const sum = { fast: 0, slow: 0, stolenMs: 0 };
    const seconds = (from: number, until: number, isSlow: boolean, isStolen: boolean) => {
      let judged: { observed: number | null; delayMs?: number } | undefined;
      let stops: { observed: number | null } | undefined;
      for (let second = from; second < until; second++) {
        if (isSlow) sum.slow += 100;
        else sum.fast += 100;
        if (isStolen) sum.stolenMs += 10;
        const counts = { [FAST]: sum.fast, [SLOW]: sum.slow };
        const report = { proxy: 'a', ageMs: 0, counts, stolenMs: sum.stolenMs };
        [judged] = slow!.judge(slow!.take([report], second * 1_000), settings);
        [stops] = stop!.judge(stop!.take([report], second * 1_000), settings);
      }
      const [p99Ms, lastMs] = [judged!.observed! * 2, stops!.observed! * 2];
      return { p99Ms, lastMs, delayMs: judged!.delayMs };
    };
    const [fast, stolen] = [ms(FAST), ms(SLOW)];
    t.same(seconds(0, 20, false, false), { p99Ms: fast, lastMs: fast, delayMs: 3_500 });
    t.match(seconds(20, 21, true, true), { p99Ms: fast, lastMs: stolen }, 'at once');
    const older = { p99Ms: fast, lastMs: stolen, delayMs: 8_000 };
    t.same(seconds(21, 30, true, true), older, 'those from 15 to 20; what stops it is of now');
    t.equal(seconds(30, 49, true, true).p99Ms, fast, 'the last of them');
    const all = { p99Ms: stolen, lastMs: stolen, delayMs: 3_500 };
    t.same(seconds(49, 50, true, true), all, 'there is no other');
    t.equal(seconds(50, 51, false, false).p99Ms, fast);
  },
);

t.test('what stops the fill is the last second alone, what slows it most of five', async (t) => {
  const settings = { ...DEFAULT_THROTTLE, latencyBaselineMs: ms(FAST) };
  const [slow, stop] = latency(OID, new Control(0));
  let [fast, slower] = [0, 0];
  const after = (second: number, isStalled: boolean) => {
    if (isStalled) slower += 100;
    else fast += 100;
    const counts = { [FAST]: fast, [SLOW]: slower };
    const reports = [{ proxy: 'a', ageMs: 0, counts }];
    return [slow!, stop!].map(
      (one) => one.judge(one.take(reports, second * 1_000), settings)[0]!.observed! > 1.2,
    );
  };
  const stalled = [false, false, false, true, false, true, true, true, false];
  t.same(
    stalled.map((is, second) => after(second, is)),
    [
      [false, false],
      [false, false],
      [false, false],
      [false, true],
      [false, false],
      [false, true],
      [true, true],
      [true, true],
      [true, false],
    ],
  );
});

t.test(
  'the signal compares with the time before, and says nothing where nothing is known',
  async (t) => {
    const settings = { ...DEFAULT_THROTTLE, latencyBaselineMs: 10 };
    const [slow, stop] = latency(OID, new Control(0));
    t.match([slow!.level, stop!.level], ['soft', 'hard']);
    const slices = { all: 5, own: 5, sinceMs: 4_000 };
    const seen = (p99Ms: number | null, ageMs = 0) => {
      return { p99Ms, transactions: 500, slices, ageMs };
    };
    const text = (now: ReturnType<typeof seen>, change = {}) =>
      slow!
        .judge(now, { ...settings, ...change })
        .map(({ observed, detail }) => ({ observed, detail }));
    t.same(text(seen(25)), [
      {
        observed: 2.5,
        detail:
          'the application’s p99 is 25.0 ms on this table, 2.50 times the 10.0 ms without the fill (limit 1.1)',
      },
    ]);
    t.match(
      text(seen(3), { latencyBaselineMs: 0.1 }),
      [{ observed: 1.5 }],
      'microseconds are noise',
    );
    t.match(text(seen(null)), [{ observed: 0 }], 'of too few nobody waits');
    t.match(text(seen(25, 7_000)), [
      { observed: null, detail: 'a proxy has not told for 7.0 s how long transactions take' },
    ]);
    t.match(stop!.judge(seen(25), settings), [{ observed: 2.5, threshold: 4 }]);
    t.ok(slow!.wanted(settings));
    t.notOk(slow!.wanted(DEFAULT_THROTTLE), 'without a baseline there is nothing to compare with');
    t.notOk(stop!.wanted({ ...settings, latencyStop: null }));
  },
);
