import t from 'tap';
import { Failures } from '../../migration/failures.js';

/** So long each attempt takes, milliseconds. */
const RAN_MS = 20;

/** Fails at once whenever it is tried. @returns how many attempts there were in so many milliseconds. */
function attemptsWithin(ms: number): number {
  const failures = new Failures();
  let attempts = 0;
  for (let nowMs = 0; nowMs < ms; nowMs += 10) {
    if (failures.waits(1, 'verifying', nowMs)) continue;
    attempts++;
    failures.add(1, 'verifying', RAN_MS, nowMs);
  }
  return attempts;
}

t.test(
  'a step that fails is tried again after a second, and then more and more slowly',
  async (t) => {
    const failures = new Failures();
    const waits = Array.from({ length: 7 }, (_, i) =>
      failures.add(1, 'ready', RAN_MS, i * 100_000),
    );
    t.same(waits, [1_000, 2_000, 5_000, 10_000, 30_000, 30_000, 30_000]);
    t.equal(attemptsWithin(60_000), 6, 'of sixty attempts in the first minute six are left');
    t.equal(attemptsWithin(3_600_000), 124, 'an hour has two a minute');
  },
);

t.test('it waits for so long and no longer', async (t) => {
  const failures = new Failures();
  t.notOk(failures.waits(1, 'ready', 0), 'what has not failed is not waited for');
  failures.add(1, 'ready', RAN_MS, 500);
  t.ok(failures.waits(1, 'ready', 1_499));
  t.notOk(failures.waits(1, 'ready', 1_500));
  t.notOk(failures.waits(2, 'ready', 600), 'another migration is not waited for');
  t.notOk(failures.waits(1, 'aborting', 600), 'nor another phase: who aborts it does not wait');
});

t.test('what went well in between begins anew', async (t) => {
  const failures = new Failures();
  const fails = (key: string, ranMs = RAN_MS) => failures.add(1, key, ranMs, 0);
  t.same([fails('ready'), fails('ready')], [1_000, 2_000]);
  t.equal(fails('cutting-over'), 1_000, 'another phase');
  t.equal(fails('cutting-over', 59_999), 2_000, 'what ran for less than a minute');
  t.equal(fails('cutting-over', 60_000), 1_000, 'what ran for a minute was at work');
  fails('cutting-over');
  failures.forget(1);
  t.notOk(failures.waits(1, 'cutting-over', 1), 'a step that went well, or a pause');
  t.equal(fails('cutting-over'), 1_000);
});

t.test('a step that fails for days is still tried again', async (t) => {
  const failures = new Failures();
  let againMs = 0;
  for (let i = 0; i < 50_000; i++) againMs = failures.add(1, 'ready', RAN_MS, 0);
  t.equal(againMs, 30_000);
});
