import t from 'tap';
import { type Done, serviceOf } from '../../bench/backfill/load.js';
import { servicesOf } from '../../bench/backfill/windows.js';

/**
 * What was broken on purpose, and what failed: transactions counted when they ended (the p99 of the
 * stall), seconds in which none ended left out (its rate).
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
  const services = servicesOf(done, [
    { state: 'before', fromMs: 0, toMs: 2_000 },
    { state: 'filling', fromMs: 2_000, toMs: 4_000 },
  ]);
  t.match(services.get('before'), { tps: 100, p99: 5 });
  t.match(services.get('filling'), { tps: 0, p99: 1_500, p99OfAll: 1_990 });
});
