import t from 'tap';
import { type Done, serviceOf } from '../../bench/backfill/load.js';
import { stolenWithin } from '../../bench/backfill/stolen.js';
import { servicesOf, type Window } from '../../bench/backfill/windows.js';

/**
 * What was broken on purpose, and what failed: transactions counted when they ended (the p99 of the
 * stall), seconds in which none ended left out (its rate), stolen seconds kept (of all, and its p99).
 */

/** A transaction due each 10 ms, of 5 ms; what is due within the stall ends with it. */
function worked(stallMs: readonly [number, number]): Done[] {
  return Array.from({ length: 1_000 }, (_, i) => {
    const dueMs = i * 10;
    const isStalled = dueMs >= stallMs[0] && dueMs < stallMs[1];
    const atMs = isStalled ? stallMs[1] : dueMs + 5;
    return { atMs, ms: atMs - dueMs };
  });
}

t.test('who waits for all of a stall counts where it was', async (t) => {
  const done = worked([2_000, 4_000]);
  t.same(serviceOf(done, 1_000, 2_000), { tps: 100, p99: 5 });
  t.same(serviceOf(done, 2_000, 3_000), { tps: 0, p99: 2_000 });
  t.same(serviceOf(done, 3_000, 4_000), { tps: 0, p99: 1_000 });
  t.same(serviceOf(done, 4_000, 5_000), { tps: 300, p99: 5 });
  const windows: Window[] = [
    { state: 'before', fromMs: 0, toMs: 2_000 },
    { state: 'filling', fromMs: 2_000, toMs: 4_000 },
  ];
  const services = servicesOf(done, windows, []);
  t.match(services.get('before'), { tps: 100, p99: 5 });
  t.match(services.get('filling'), { tps: 0, p99: 1_500, p99OfAll: 1_990 });
});

t.test('a second of which something was stolen is left out', async (t) => {
  const done = worked([4_000, 4_400]);
  const windows: Window[] = [
    { state: 'before', fromMs: 0, toMs: 3_000 },
    { state: 'filling', fromMs: 3_000, toMs: 6_000 },
  ];
  const at = (atMs: number, stolenMs: number) => ({ atMs, stolenMs });
  const some = [
    at(0, 70),
    at(2_950, 70),
    at(4_000, 70),
    at(4_390, 80),
    at(4_960, 80),
    at(6_050, 80),
  ];
  const found = servicesOf(done, windows, some);
  t.match(found.get('before'), { p99: 5, seconds: { all: 3, own: 3 } });
  t.match(found.get('filling'), { p99: 5, seconds: { all: 3, own: 2 }, p99OfAll: 380 });
  // Of each second something: then they are all that there is.
  const each = Array.from({ length: 70 }, (_, i) => at(i * 100, i * 10));
  const all = servicesOf(done, windows, each).get('filling');
  t.match(all, { seconds: { all: 3, own: 3 } });
});

t.test('what two looks are apart may be of either second that they touch', async (t) => {
  const counts = [
    { atMs: 900, stolenMs: 0 },
    { atMs: 1_100, stolenMs: 10 },
    { atMs: 2_000, stolenMs: 10 },
  ];
  t.same(
    [0, 1_000, 1_100].map((from) => stolenWithin(counts, from, from + 1_000)),
    [10, 10, 0],
  );
  t.equal(stolenWithin([], 0, 1_000), 0);
});
