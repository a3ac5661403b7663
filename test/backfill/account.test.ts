import t from 'tap';
import { Account } from '../../backfill/account.js';
import { RateWindow } from '../../backfill/rate.js';
import {
  describeDone,
  describePace,
  describeProgress,
  describeReason,
  describeShares,
  LogPace,
} from '../../backfill/words.js';
import { randomFrom } from './setup.js';

/**
 * What was broken on purpose, and which test failed: standing still left out of the estimate
 * (reasons come and go); VACUUM left out (a quiet run), one expected until the end (of the last tenth); the rate of all the run
 * (a slow beginning); the time with its stalls, the latter half of the time and not of the blocks (a stall); a new pass that counts backwards (blocks of a new pass); nothing taken over from the run before (a restart).
 */

/** A fill of so many blocks of ten rows under a clock of its own, told to an account. */
class World {
  ms = 0;
  blocks = 0;
  readonly account = new Account(0);
  private readonly told: { ms: number; ratio: number; etaSeconds: number | null }[] = [];

  constructor(private readonly total: number) {
    this.account.reach(0, 0, total);
  }

  spend(ms: number, expense: string): void {
    this.ms += ms;
    this.account.spend(this.ms, expense);
  }

  fill(blocks: number, ms: number): void {
    this.blocks = Math.min(this.total, this.blocks + blocks);
    this.spend(ms, 'filling');
    this.account.reach(this.blocks, this.blocks * 10, this.total);
    const etaSeconds = this.account.etaSeconds(this.total - this.blocks, this.total);
    this.told.push({ ms: this.ms, ratio: this.blocks / this.total, etaSeconds });
  }

  /** How far the estimates were off, as a share of what was left, from 20% to 95% of the blocks. */
  errors(): number[] {
    return this.errorsFrom(0);
  }

  /** The same without the first so many of them. */
  errorsFrom(first: number): number[] {
    return this.told
      .filter(({ ratio }) => ratio >= 0.2 && ratio <= 0.95)
      .slice(first)
      .map(({ ms, etaSeconds }) => {
        const left = (this.ms - ms) / 1000;
        return etaSeconds === null ? Number.POSITIVE_INFINITY : Math.abs(etaSeconds - left) / left;
      })
      .sort((a, b) => a - b);
  }
}

const shown = (errors: readonly number[]) => {
  const at = (share: number) =>
    `${(errors[Math.floor((errors.length - 1) * share)]! * 100).toFixed(1)}%`;
  return `error of ${errors.length} estimates: median ${at(0.5)}, p90 ${at(0.9)}, highest ${at(1)}`;
};

t.test('a quiet run is estimated to within a fifth, with its VACUUMs', async (t) => {
  // Minutes, and hours in which a tenth of the table takes longer than anything is remembered for.
  for (const [seed, total, vacuumMs] of [
    [1, 2_000, 1_000],
    [2, 20_000, 10_000],
    [3, 2_000_000, 600_000],
  ] as const) {
    const random = randomFrom(seed);
    const world = new World(total);
    let vacuumedAt = 0;
    while (world.blocks < total) {
      // A chunk takes from half to one and a half times as long as another.
      const blocks = Math.ceil(total / 100_000);
      world.fill(blocks, 20 * blocks * (0.5 + random()));
      if (world.blocks - vacuumedAt < total / 10 || total - world.blocks < total / 10) continue;
      vacuumedAt = world.blocks;
      world.spend(vacuumMs, 'vacuum');
    }
    const errors = world.errors();
    t.comment(`seed ${seed}: ${Math.round(world.ms / 1000)} s, ${shown(errors)}`);
    t.ok(errors.at(-1)! < 0.2, shown(errors));
  }
});

t.test('of the last tenth no VACUUM is expected, however long ago the latest was', async (t) => {
  const world = new World(1_000);
  for (let i = 0; i < 100; i++) {
    world.fill(10, 1_000);
    if (i === 29 || i === 59) world.spend(10_000, 'vacuum');
  }
  const errors = world.errorsFrom(71);
  t.equal(errors.length, 5, 'from 91% on');
  t.ok(errors.at(-1)! < 0.01, shown(errors));
});

t.test('a slow beginning is not expected of what is left', async (t) => {
  for (const [seed, total] of [
    [21, 2_000],
    [22, 20_000],
  ] as const) {
    const random = randomFrom(seed);
    const world = new World(total);
    // The first tenth takes twice as long as any other, as measured on a real table.
    while (world.blocks < total) {
      const slower = world.blocks < total / 10 ? 2 : 1;
      const blocks = Math.ceil(total / 1_000);
      world.fill(blocks, (7_000 / total) * blocks * slower * (0.5 + random()));
    }
    const errors = world.errors();
    t.comment(`seed ${seed}: ${Math.round(world.ms / 1000)} s, ${shown(errors)}`);
    t.ok(errors.at(-1)! < 0.1, shown(errors));
  }
});

t.test('a stall of the machine is not expected again', async (t) => {
  for (const [seed, at] of [
    [31, 0.18],
    [32, 0.25],
    [33, 0.4],
  ] as const) {
    const random = randomFrom(seed);
    const world = new World(16_000);
    // Of sixteen seconds, three in which hardly anything happens; what is told before it came cannot
    // know of it.
    while (world.blocks < 16_000) {
      const isStalled = world.blocks >= 16_000 * at && world.blocks < 16_000 * (at + 0.02);
      world.fill(16, (isStalled ? 160 : 16) * (0.5 + random()));
    }
    const since = Math.ceil(1_000 * (at + 0.03)) - 200;
    const errors = world.errorsFrom(Math.max(0, since));
    t.comment(`seed ${seed}: ${Math.round(world.ms / 1000)} s, ${shown(errors)}`);
    t.ok(errors.at(-1)! < 0.2, shown(errors));
  }
});

t.test('where reasons come and go, the estimate has their share of the time', async (t) => {
  for (const seed of [11, 12, 13]) {
    const random = randomFrom(seed);
    const world = new World(60_000);
    while (world.blocks < 60_000) {
      world.fill(10, 50 * (0.5 + random()));
      // Half of the time, for five seconds on average.
      if (random() < 0.01) world.spend(-Math.log(1 - random()) * 5_000, 'replica-lag');
    }
    const errors = world.errors();
    const { 'replica-lag': still } = world.account.shares();
    t.comment(`seed ${seed}: ${Math.round(still! * 100)}% still, ${shown(errors)}`);
    // What is left to chance is more the less is left, so that the worst says nothing.
    t.ok(errors[Math.floor(errors.length / 2)]! < 0.2, shown(errors));
  }
});

t.test('a long stop makes the estimate longer as it lasts, and then is forgotten', async (t) => {
  const world = new World(100_000);
  for (let i = 0; i < 600; i++) world.fill(10, 100);
  const etaSeconds = () => world.account.etaSeconds(100_000 - world.blocks, 100_000)!;
  t.ok(Math.abs(etaSeconds() - 940) < 1, 'half a minute of filling is known');
  world.spend(60_000, 'standby-lost');
  t.ok(Math.abs(etaSeconds() - 1_880) < 150, 'half of the time it stood still: twice as long');
  for (let i = 0; i < 60; i++) world.spend(60_000, 'standby-lost');
  t.equal(world.account.etaSeconds(1, 100_000), null, 'for an hour: nobody knows');
  t.ok(world.account.rowsPerSecond()! > 900, 'how fast it fills is known all the same');
  for (let i = 0; i < 1_800; i++) world.fill(10, 1_000);
  const left = (100_000 - world.blocks) / 10;
  t.ok(etaSeconds() > left && etaSeconds() < left * 1.1, `${etaSeconds()} of ${left}`);
});

t.test('every moment goes to one expense, and the shares make one', async (t) => {
  const account = new Account(1_000);
  t.same(account.shares(), {});
  t.equal(account.etaSeconds(0, 0), 0);
  t.equal(account.etaSeconds(1, 1), null);
  t.equal(account.spend(3_000, 'filling'), 2);
  t.equal(account.spend(4_000, 'vacuum'), 1);
  t.equal(account.spend(4_000, 'active'), 0);
  t.equal(account.spend(3_500, 'active'), 0, 'a clock that goes back is nobody’s time');
  t.equal(account.spend(9_000, 'active'), 5);
  account.slow('wal-rate', 1.5);
  t.match(account.shares(), { filling: 0.25, vacuum: 0.125, active: 0.625 });
  t.match(account.spent(), {
    fillingSeconds: 2,
    vacuumSeconds: 1,
    throttledSeconds: { active: 5 },
    slowedSeconds: { 'wal-rate': 1.5 },
  });
});

t.test('a restart goes on with what was spent before', async (t) => {
  const world = new World(1_000);
  for (let i = 0; i < 50; i++) world.fill(10, 100);
  world.spend(5_000, 'active');
  const spent = JSON.parse(JSON.stringify(world.account.spent()));
  const later = new Account(77, spent);
  later.reach(500, 5_000, 1_000);
  t.ok(Math.abs(later.shares().active! - 0.5) < 1e-9);
  t.ok(Math.abs(later.etaSeconds(500, 1_000)! - 10) < 0.2, 'known from the first moment on');
  t.equal(Math.round(later.rowsPerSecond()!), 1_000);
  t.equal(later.rowsLeft(500), 5_000);
  later.spend(1_077, 'active');
  t.ok(later.spent().throttledSeconds.active! > 5.9);
  t.equal(spent.throttledSeconds.active, 5, 'and what was handed over stays as it was');
});

t.test('what was known is known after a restart, however early that comes', async (t) => {
  const first = new World(10_000);
  while (first.account.rowsPerSecond() === null) first.fill(10, 100);
  const { account, ms, blocks } = first;
  t.ok(ms < 1_000, `after ${ms} ms`);
  const later = new Account(0, account.spent());
  later.reach(blocks, blocks * 10, 10_000);
  t.ok(later.rowsPerSecond() !== null && later.etaSeconds(10_000 - blocks, 10_000) !== null);
});

t.test('blocks of a new pass are not passed backwards', async (t) => {
  const account = new Account(0);
  account.reach(0, 0, 300);
  account.spend(2_000, 'filling');
  account.reach(200, 2_000, 300);
  t.equal(account.etaSeconds(100, 300), 1);
  account.reach(0, 2_000, 300);
  t.equal(account.spent().blocks, 200);
  account.spend(4_000, 'filling');
  account.reach(20, 2_010, 300);
  t.equal(account.spent().blocks, 220);
  t.equal(account.etaSeconds(20, 300), 2, 'by the rate of its own pass');
  t.equal(account.rowsLeft(20), 10, 'whose rows are mostly filled already');
});

t.test('the rate is of the last half minute, and of bounded memory', async (t) => {
  const rate = new RateWindow();
  t.equal(rate.passed(), null);
  rate.add(0, 0, 0, 400);
  rate.add(400, 40, 400, 400);
  t.equal(rate.passed(), null, 'too early to say');
  rate.add(2_000, 200, 2_000, 400);
  const later = { ms: 1_600, usualMs: 1_600, blocks: 160, rows: 1_600 };
  t.same(rate.passed(), later, 'without the first tenth');
  for (let s = 3; s <= 200; s++) rate.add(s * 1_000, 200 + s, 2_000 + s, 400);
  const late = rate.passed()!;
  t.match(late, { ms: 30_000, blocks: 30, rows: 30 });
  t.ok(Math.abs(late.usualMs - 30_000) < 1e-6, 'there was no stall');
  rate.add(201_000, 400, 2_200, 400);
  rate.add(262_000, 400, 2_200, 400);
  rate.add(263_000, 400, 2_200, 400);
  t.equal(rate.passed(), null, 'nothing was passed');
  const long = new RateWindow();
  for (let s = 0; s <= 200; s++) long.add(s * 1_000, s, s * 10, 100_000);
  t.match(long.passed(), { ms: 30_000 }, 'also within the first tenth');
});

t.test('progress is told in the same words everywhere', async (t) => {
  const spent = {
    fillingSeconds: 264,
    vacuumSeconds: 12,
    throttledSeconds: { 'replica-lag': 24 },
    slowedSeconds: {},
    blocks: 1,
    rows: 1,
    vacuumed: 0,
    recent: { still: 1, moving: 1 },
  };
  const told = {
    ratio: 0.4268,
    blocksDone: 12_345,
    blocksTotal: 28_925,
    rowsFilled: 1_234_567,
    rowsLeft: 1_700_000,
    rowsPerSecond: 45_210.4,
    etaSeconds: 130,
    throttled: { text: 'replica-lag: standby1 2.3 s behind (limit 1.0 s)' },
    slowed: { text: 'wal-rate: ...' },
    shares: { vacuum: 0.04, filling: 0.88, 'replica-lag': 0.08 },
    spent,
  };
  t.same(describeProgress(told), [
    '42%: 12,345 of 28,925 blocks, 1,234,567 rows done, about 1,700,000 to do',
    '45,210 rows/s, 2 min 10 s left',
    'waiting: replica-lag: standby1 2.3 s behind (limit 1.0 s)',
    '5 min 0 s so far: filling 88%, replica-lag 8%, vacuum 4%',
  ]);
  t.equal(
    describeReason({ slowed: { text: 'wal-rate: x' }, throttled: null }),
    'slowed: wal-rate: x',
  );
  t.equal(describeDone({ ratio: 0 }), '0%');
  t.equal(describePace({ rowsPerSecond: null, etaSeconds: null }), '');
  t.equal(describeShares({ shares: {}, spent }), '');
  t.same(
    describeProgress({ ratio: 1, blocksTotal: 5, blocksDone: 5, rowsFilled: 9, rowsLeft: 0 }),
    ['100%: 5 of 5 blocks, 9 rows done'],
  );
});

t.test('a log has a line when it stands still or goes on, and one now and then', async (t) => {
  const pace = new LogPace();
  const due = [
    [0, null],
    [1_000, 'active'],
    [5_000, 'active'],
    [6_000, null],
    [10_000, 'active'],
    [34_999, 'active'],
    [35_000, 'active'],
    [40_000, 'wal-rate'],
  ] as const;
  t.same(
    due.filter(([ms, reason]) => pace.isDue(ms, reason)).map(([ms]) => ms),
    [0, 5_000, 35_000, 40_000],
  );
});
