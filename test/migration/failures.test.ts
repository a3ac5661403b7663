import t from 'tap';
import { Failures } from '../../migration/failures.js';

/** So long each attempt takes, milliseconds. */
const RAN_MS = 20;

const AT = new Date('2026-11-30T12:00:00Z');

/** Fails for the same reason. */
function add(failures: Failures, key: string, nowMs: number, ranMs = RAN_MS): number {
  return failures.add(1, key, ranMs, nowMs, 'a full server', AT);
}

/** Fails at once whenever it is tried. @returns how many attempts there were in so many milliseconds. */
function attemptsWithin(ms: number): number {
  const failures = new Failures();
  let attempts = 0;
  for (let nowMs = 0; nowMs < ms; nowMs += 10) {
    if (failures.waits(1, 'verifying', nowMs)) continue;
    attempts++;
    add(failures, 'verifying', nowMs);
  }
  return attempts;
}

t.test(
  'a step that fails is tried again after a second, and then more and more slowly',
  async (t) => {
    const failures = new Failures();
    const waits = Array.from({ length: 7 }, (_, i) => add(failures, 'ready', i * 100_000));
    t.same(waits, [1_000, 2_000, 5_000, 10_000, 30_000, 30_000, 30_000]);
    t.equal(attemptsWithin(60_000), 6, 'of sixty attempts in the first minute six are left');
    t.equal(attemptsWithin(3_600_000), 124, 'an hour has two a minute');
  },
);

t.test('it waits for so long and no longer', async (t) => {
  const failures = new Failures();
  t.notOk(failures.waits(1, 'ready', 0), 'what has not failed is not waited for');
  add(failures, 'ready', 500);
  t.ok(failures.waits(1, 'ready', 1_499));
  t.notOk(failures.waits(1, 'ready', 1_500));
  t.notOk(failures.waits(2, 'ready', 600), 'another migration is not waited for');
  t.notOk(failures.waits(1, 'aborting', 600), 'nor another phase: who aborts it does not wait');
});

t.test('what went well in between begins anew', async (t) => {
  const failures = new Failures();
  const fails = (key: string, ranMs = RAN_MS) => add(failures, key, 0, ranMs);
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
  for (let i = 0; i < 50_000; i++) againMs = add(failures, 'ready', 0);
  t.equal(againMs, 30_000);
});

t.test('what is told of it ends when it has run for a minute, or with its phase', async (t) => {
  const failures = new Failures();
  t.equal(failures.failing(1, 'ready', 0), null);
  add(failures, 'ready', 0);
  add(failures, 'ready', 1_000);
  const told = { times: 2, reason: 'a full server', at: AT.toISOString(), againMs: 2_000 };
  t.same(failures.failing(1, 'ready', 0), told, 'while it waits');
  t.same(failures.failing(1, 'ready', 59_999), told, 'while it is tried again');
  t.equal(failures.failing(1, 'ready', 60_000), null, 'it is at work');
  t.equal(failures.failing(1, 'aborting', 0), null, 'another phase');
  t.equal(failures.failing(2, 'ready', 0), null, 'another migration');
  failures.forget(1);
  t.equal(failures.failing(1, 'ready', 0), null);
});
