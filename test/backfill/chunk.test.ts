import t from 'tap';
import {
  ChunkSizer,
  chunkTarget,
  MAX_BLOCKS,
  percentile90,
  restMs,
  retryWaitMs,
  timeouts,
} from '../../backfill/chunk.js';
import { restTimes } from '../../backfill/pace.js';
import { PARTS, Parts, partCondition } from '../../backfill/parts.js';
import { vacuumDue } from '../../backfill/vacuum.js';
import { randomFrom } from './setup.js';

t.test('a chunk grows by at most a factor of two and shrinks at once', async (t) => {
  const sizer = new ChunkSizer();
  const first = sizer.size(100);
  sizer.filled(first, 1);
  t.equal(sizer.size(100), first * 2);
  t.equal(sizer.size(100), first * 2, 'asking changes nothing');
  sizer.filled(first * 2, 2_000);
  t.ok(sizer.size(100) <= 2, 'far beyond the target: shrinks at once');
  t.equal(sizer.size(1_000_000), first * 4, 'another target counts from the next chunk on');
  t.equal(sizer.size(Number.NaN), 1);
  t.equal(sizer.size(0), 1);
});

t.test(
  'a failed chunk is halved down to one block, and what was measured is forgotten',
  async (t) => {
    const sizer = new ChunkSizer();
    for (let i = 0; i < 20; i++) sizer.filled(sizer.size(100), 10);
    t.equal(sizer.size(100), MAX_BLOCKS);
    sizer.failed(MAX_BLOCKS);
    t.equal(sizer.size(100), MAX_BLOCKS / 2);
    for (let i = 0; i < 20; i++) sizer.failed(sizer.size(100));
    t.equal(sizer.size(100), 1);
    t.equal(sizer.failures, 21);
    sizer.filled(1, 1);
    t.equal(sizer.failures, 0);
    t.equal(sizer.size(100), 2);
  },
);

t.test('a size is a whole number from 1 to the maximum, and settles near the target', async (t) => {
  const seed = Date.now() % 1e9;
  t.comment(`seed ${seed}`);
  const random = randomFrom(seed);
  for (let round = 0; round < 200; round++) {
    const sizer = new ChunkSizer();
    const msPerBlock = 10 ** (random() * 5 - 3);
    const targetMs = 10 + random() * 1_000;
    let before = sizer.size(targetMs);
    for (let i = 0; i < 60; i++) {
      const size = sizer.size(targetMs);
      if (!(Number.isInteger(size) && size >= 1 && size <= MAX_BLOCKS)) t.fail(`size ${size}`);
      if (size > before * 2) t.fail(`from ${before} to ${size}`);
      before = size;
      if (i < 40 && random() < 0.1) sizer.failed(size);
      else sizer.filled(size, size * msPerBlock * (0.8 + random() * 0.4));
    }
    const ideal = Math.min(MAX_BLOCKS, Math.max(1, targetMs / msPerBlock));
    if (!(before >= ideal * 0.5 - 1 && before <= ideal * 1.5 + 1)) {
      t.fail(`settled at ${before}, ideal ${ideal}`);
    }
  }
  t.pass('200 rounds');
});

t.test('the percentile is the nearest rank', async (t) => {
  t.equal(percentile90([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 9);
  t.equal(percentile90([3]), 3);
  t.equal(percentile90([]), 0);
});

t.test('timeouts and waits grow with the failures and are bounded', async (t) => {
  t.same(timeouts(100, 0), { lockMs: 100, statementMs: 1_000 });
  t.same(timeouts(100, 2), { lockMs: 400, statementMs: 4_000 });
  t.same(timeouts(100, 1_000), { lockMs: 1_000, statementMs: 600_000 });
  t.same(timeouts(0, 0), { lockMs: 20, statementMs: 1_000 }, 'never 0, which means no timeout');
  t.same([1, 2, 3, 8, 1_000].map(retryWaitMs), [50, 100, 200, 5_000, 5_000]);
});

t.test('VACUUM is due when a tenth of a table that is not small is dead', async (t) => {
  const moved = (blocks: number, rows: number, n = rows) => ({ blocks, rows, moved: n });
  t.equal(vacuumDue(10_000, 9_000, moved(999, 50_000)), false);
  t.equal(vacuumDue(10_000, 9_000, moved(1_000, 50_000)), true);
  t.equal(vacuumDue(1_000, 900, moved(1_000, 50_000)), false, 'small');
  t.equal(vacuumDue(10_000, 5_000, moved(5_000, 10)), false, 'hardly a row was there to fill');
  t.equal(vacuumDue(10_000, 9_000, moved(4_000, 200_000, 40_000)), false, 'most are in place');
  t.equal(vacuumDue(10_000, 9_000, moved(5_000, 200_000, 40_000)), true);
  t.equal(vacuumDue(10_000, 999, moved(9_000, 50_000)), false, 'what is left needs no space');
  t.equal(vacuumDue(10_000, 9_000, moved(9_000, 0)), false);
});

t.test('the fill rests as much as others are at work, and half the time at most', async (t) => {
  t.equal(restMs(100, 0), 0);
  t.equal(restMs(100, 0.25), 25);
  t.equal(restMs(100, 1), 100);
  t.equal(restMs(100, 7), 100);
  t.equal(restMs(100, Number.NaN), 100, 'who is at work is not known');
  t.equal(restMs(60_000, 1), 1_000);
});

t.test(
  'parts are given up where rows leave their blocks all the same, and tried again',
  async (t) => {
    const parts = new Parts();
    t.equal(parts.count(1_000), PARTS);
    t.equal(parts.count(15), 1, 'a few blocks are not worth eight transactions');
    parts.filled(PARTS, 1_000, 790);
    t.equal(parts.count(1_000), PARTS);
    parts.filled(PARTS, 1_000, 10);
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      let pause = 0;
      for (; parts.count(1_000) === 1; pause++) parts.filled(1, 1_000, 0);
      pauses.push(pause);
      parts.filled(PARTS, 1_000, 0);
    }
    t.same(pauses, [8, 16, 32, 64, 128, 128, 128, 128]);
    while (parts.count(1_000) === 1) parts.filled(1, 0, 0);
    parts.filled(PARTS, 0, 0);
    t.equal(parts.count(1_000), PARTS, 'nothing to fill says nothing');
  },
);

t.test('each part takes its share of the lines, and the last one all that is left', async (t) => {
  t.equal(partCondition(0, 1), null);
  t.equal(partCondition(PARTS - 1, PARTS), null);
  t.match(partCondition(0, PARTS), `% ${PARTS} <= 0`);
  t.match(partCondition(PARTS - 2, PARTS), `% ${PARTS} <= ${PARTS - 2}`);
});

t.test('a chunk is shorter where others are at work', async (t) => {
  t.same(
    [0, 0.5, 1, 7, Number.NaN].map((others) => chunkTarget(50, others, 1)),
    [50, 30, 10, 10, 10],
  );
  t.equal(chunkTarget(5, 1, 1), 5, 'what is set to less is kept to');
});

t.test('a fill that is slowed down has shorter chunks first, and longer rests then', async (t) => {
  t.same(
    [1, 5, 13, 77, 512].map((factor) => +chunkTarget(50, 0, factor).toFixed(9)),
    [50, 15, 5, 5, 5],
  );
  t.same(
    [1, 3, 5, 77, 512].map((factor) => +chunkTarget(50, 1, factor).toFixed(9)),
    [10, 6.666666667, 5, 5, 5],
  );
  t.equal(chunkTarget(0.2, 0, 512), 0.2, 'what is set to less is kept to');
  for (const factor of [2, 3, 4, 5]) {
    const chunkMs = chunkTarget(50, 1, factor);
    const slowerMs = restTimes(chunkMs / 4, factor) - chunkMs / 4;
    t.ok(chunkMs + slowerMs > 9.9 && chunkMs + slowerMs < 10.1, `as often at ${factor}`);
  }
});
