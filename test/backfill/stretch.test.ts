/**
 * What was broken to see these tests fail:
 * - a stretch that failed gives back its first half only, the blocks that were given back are not
 *   looked at for the checkpoint, a stretch is given to two: the first;
 * - a part comes as soon as the one before is committed (no horizon), or the horizon is what was under
 *   way beside the part, and not what had begun beside that: the second, none before its time;
 * - what waits for its retry keeps no worker: the third;
 * - stretches are begun however far ahead: the fourth;
 * - a piece is left out of a part, or comes twice, or its part's last one ends the stretch early: the first;
 * - one measure for the first part and the later ones, a stretch as long as its first part is worth, or pieces
 *   as large as when the stretch began: the last ones.
 */
import t from 'tap';
import { PARTS } from '../../backfill/parts.js';
import { type Stretch, Stretches } from '../../backfill/stretch.js';
import { randomFrom } from './setup.js';

const checkpoint = (nextBlock: number, endBlock: number) => ({
  relfilenode: 5,
  pass: 1,
  nextBlock,
  endBlock,
  rowsFilled: 0,
});

t.test('ranges for any number of workers, whatever ends when and how', async (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9);
  t.comment(`SEED=${seed}`);
  const random = randomFrom(seed);
  const upTo = (n: number) => Math.floor(random() * n);
  let [halves, most, stretches, pieces] = [0, 0, 0, 0];
  for (let trial = 0; trial < 60; trial++) {
    const from = upTo(2) * upTo(500);
    const end = from + upTo(3_000);
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(from, end));
    /** How often each block was filled in whole. */
    const filled = new Uint8Array(end);
    const underWay: Stretch[] = [];
    /** Of each stretch in work, the first block of its part that was not filled. */
    const at = new Map<Stretch, { part: number; next: number }>();
    const failing = random() < 0.5 ? 0 : 0.2;
    let [nowMs, reached, workers] = [0, from, 1 + upTo(5)];
    const trouble = (what: string) => t.fail(`trial ${trial}: ${what}`);
    for (let step = 0; reached < end; step++) {
      if (step > 100_000) return trouble('it does not come to an end');
      if (random() < 0.02) workers = 1 + upTo(5);
      nowMs += upTo(30);
      const stretch = ranges.take(50, nowMs, workers);
      if (stretch) {
        if (underWay.includes(stretch)) trouble('one range for two');
        for (const one of underWay) {
          if (one.from < stretch.to && stretch.from < one.to) trouble('blocks for two at once');
        }
        const { part, from: first, to, piece } = stretch;
        const { next } = at.get(stretch) ?? { next: first };
        if ((at.get(stretch)?.part ?? 0) !== part) trouble('a part is left out');
        if (piece.from !== next || piece.to <= next || piece.to > to)
          trouble('a piece is left out');
        if (stretch.oid !== 7 || stretch.relfilenode !== 5) trouble('another file');
        underWay.push(stretch);
        if (underWay.length > workers) trouble('more than there are workers');
        most = Math.max(most, underWay.length);
        if (random() < 0.6) continue;
      }
      if (underWay.length === 0) {
        const untilMs = ranges.waitsUntilMs(nowMs);
        if (!stretch && untilMs === null) return trouble('nothing to do, and it is not done');
        nowMs = untilMs ?? nowMs;
        continue;
      }
      const [one] = underWay.splice(upTo(underWay.length), 1);
      if (random() < failing) {
        ranges.failed(one!, nowMs);
        at.delete(one!);
        halves++;
        continue;
      }
      const { from: first, to, part, parts, piece } = one!;
      const isPart = piece.to === to;
      const isLast = isPart && part === parts - 1;
      const next = ranges.reachedWith(one!);
      at.set(one!, isPart ? { part: part + 1, next: first } : { part, next: piece.to });
      pieces++;
      if (ranges.filled(one!, 100, 80, random() * 120) !== isLast) trouble('the last part');
      if (isLast) {
        stretches++;
        for (let block = first; block < to; block++) filled[block]!++;
      }
      if (next < reached) trouble('the checkpoint goes back');
      // Nothing before the checkpoint was left out.
      for (let block = reached; block < next; block++) {
        if (filled[block] !== 1) trouble(`the checkpoint goes beyond block ${block}`);
      }
      reached = next;
    }
    if (underWay.length > 0) trouble('it is done while something is under way');
    if (ranges.blocksDone !== end) trouble(`${ranges.blocksDone} of ${end} blocks`);
    if (filled.subarray(from).some((times) => times !== 1)) trouble('a block is left out or twice');
  }
  t.comment(`${stretches} stretches in ${pieces} pieces, ${halves} failures, ${most} at once`);
  t.ok(stretches > 10_000 && halves > 1_000 && most === 5);
});

t.test('parts come by turns, each when nobody sees the one before as it was', async (t) => {
  for (const workers of [1, 2, 3, 4]) {
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(0, 200_000));
    // As PostgreSQL has it: a snapshot's xmin is the oldest transaction that runs when it is taken.
    let xids = 0;
    const running = new Map<Stretch, { xid: number; xmin: number; endsMs: number }>();
    const committed = new Map<Stretch, number>();
    let [nowMs, parts, early, open] = [0, 0, 0, 0];
    for (;;) {
      for (;;) {
        const stretch = ranges.take(50, nowMs, workers);
        if (!stretch) break;
        const horizon = Math.min(...[...running.values()].map(({ xmin }) => xmin));
        const before = committed.get(stretch);
        if (before !== undefined && stretch.to < 180_000) {
          parts++;
          if (before >= horizon) early++;
        }
        const xid = ++xids;
        const xmin = Math.min(xid, ...[...running.values()].map((one) => one.xid));
        // One is half as slow again as the others.
        const endsMs = nowMs + 40 + (xid % 5) * 5;
        running.set(stretch, { xid, xmin, endsMs });
        open = Math.max(open, new Set([...running.keys(), ...committed.keys()]).size);
      }
      if (running.size === 0) break;
      const [stretch, { xid, endsMs }] = [...running].sort(
        ([, a], [, b]) => a.endsMs - b.endsMs,
      )[0]!;
      nowMs = endsMs;
      running.delete(stretch);
      committed.set(stretch, xid);
      if (ranges.filled(stretch, 100, 80, 45)) committed.delete(stretch);
    }
    t.equal(ranges.blocksDone, 200_000);
    t.ok(parts > 20 * (PARTS - 1), `${workers} workers: ${parts} parts that follow another`);
    t.equal(early, 0, `${workers} workers: none before its time`);
    t.ok(open <= 4 * workers, `${workers} workers: at most ${open} stretches in work`);
  }
});

t.test(
  'what has failed comes again by halves, later, and is no one else’s meanwhile',
  async (t) => {
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(0, 100));
    const first = ranges.take(50, 0, 2)!;
    t.match(first, { from: 0, to: 16, part: 0, parts: PARTS, failures: 0 });
    ranges.failed(first, 0);
    const other = ranges.take(50, 0, 2)!;
    t.equal(other.from, 16, 'another one goes on behind it');
    t.equal(ranges.take(50, 0, 2), null, 'what waits keeps its worker');
    t.equal(ranges.waitsUntilMs(0), 50);
    t.equal(ranges.reachedWith({ ...other, part: PARTS - 1 }), 0, 'the checkpoint stays before it');
    const again = ranges.take(50, 50, 2)!;
    t.match(again, { from: 0, to: 8, parts: 1, failures: 1, failingSinceMs: 0 });
    ranges.failed(again, 60);
    t.equal(ranges.waitsUntilMs(60), 160);
    t.match(ranges.take(50, 160, 2), { from: 0, to: 4, failures: 2, failingSinceMs: 0 });
    t.throws(() => ranges.failed(again, 160), /not under way/);
  },
);

t.test('what is ahead of the checkpoint is bounded', async (t) => {
  const ranges = new Stretches();
  ranges.begin(7, checkpoint(0, 1_000_000));
  const held = ranges.take(50, 0, 2)!;
  let furthest = 0;
  for (;;) {
    const stretch = ranges.take(50, 0, 2);
    if (!stretch) break;
    furthest = stretch.to;
    ranges.filled(stretch, 0, 0, 0.1);
  }
  t.ok(furthest > 16_000 && furthest < 18_000, `${furthest} blocks ahead`);
  for (let part = 0; part < PARTS; part++) {
    ranges.filled(held, 0, 0, 0.1);
    if (part < PARTS - 1) t.equal(ranges.take(50, 0, 2), held);
  }
  t.ok(ranges.take(50, 0, 2), 'and goes on when it has moved');
});

/** Fills a stretch as a server does: so many ms for a block of the first part, and of the others. */
function fillStretch(ranges: Stretches, targetMs: number, first: number, later: number) {
  const chunks: { part: number; blocks: number; ms: number }[] = [];
  for (;;) {
    const stretch = ranges.take(targetMs, 0, 1)!;
    const { part, piece } = stretch;
    const blocks = piece.to - piece.from;
    const ms = blocks * (part === 0 ? first : later);
    chunks.push({ part, blocks, ms });
    if (ranges.filled(stretch, 100, 80, ms)) return chunks;
  }
}

const blocksOf = (chunks: ReturnType<typeof fillStretch>) =>
  chunks.map(({ part, blocks }) => [part, blocks]);

t.test(
  'each transaction takes what the target is, of the first part and of the others',
  async (t) => {
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(0, 100_000));
    const fill = (targetMs: number) => fillStretch(ranges, targetMs, 0.5, 0.1);
    const later = (blocks: number) => [1, 2, 3, 4, 5, 6, 7].map((part) => [part, blocks]);
    t.same(blocksOf(fill(2)), [[0, 16], ...later(16)], 'nothing is known of the first stretch');
    const second = fill(2);
    t.same(blocksOf(second), [...Array(5).fill([0, 4]), ...later(20)]);
    t.ok(second.every(({ ms }) => ms <= 2));
    t.equal(ranges.blocksDone, 36);
    t.same(blocksOf(fill(2)), blocksOf(second), 'and again, by the same measure');
    fill(50);
    const fast = fill(50);
    t.ok(
      fast.every(({ ms }) => ms <= 50) && fast.length < 20,
      `${fast.map(({ ms }) => ms.toFixed(0))} ms`,
    );
  },
);

t.test('a stretch that was begun at full speed goes on in small pieces', async (t) => {
  const ranges = new Stretches();
  ranges.begin(7, checkpoint(0, 100_000));
  for (let i = 0; i < 8; i++) fillStretch(ranges, 50, 0.5, 0.1);
  const begun = ranges.take(50, 0, 1)!;
  t.ok(begun.to - begun.from > 400, `${begun.to - begun.from} blocks`);
  ranges.filled(begun, 100, 80, (begun.piece.to - begun.piece.from) * 0.5);
  const rest = fillStretch(ranges, 2, 0.5, 0.1);
  t.ok(
    Math.max(...rest.map(({ ms }) => ms)) <= 3,
    'about the target, and no more than half as much again',
  );
});

t.test('a piece takes half as much again as the target at most', async (t) => {
  const ranges = new Stretches();
  ranges.begin(7, checkpoint(0, 100_000));
  for (let i = 0; i < 3; i++) fillStretch(ranges, 2, 0.2, 0.2);
  const chunks = fillStretch(ranges, 2, 0.2, 0.2);
  t.same(
    blocksOf(chunks),
    Array.from({ length: PARTS * 2 }, (_, i) => [i >> 1, 8]),
    'of 16 blocks, where 10 would be the target',
  );
});

t.test('blocks of which each takes longer than the target are filled one by one', async (t) => {
  const ranges = new Stretches();
  ranges.begin(7, checkpoint(0, 100_000));
  for (let i = 0; i < 3; i++) fillStretch(ranges, 2, 5, 3);
  const chunks = fillStretch(ranges, 2, 5, 3);
  t.same(
    blocksOf(chunks),
    Array.from({ length: PARTS * 16 }, (_, i) => [Math.floor(i / 16), 1]),
  );
});

t.test(
  'where rows do not stay, a stretch is what is worth the target when it is filled in one',
  async (t) => {
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(0, 100_000));
    const fill = () => {
      for (let chunks = 1; ; chunks++) {
        const stretch = ranges.take(50, 0, 1)!;
        const blocks = stretch.piece.to - stretch.piece.from;
        if (ranges.filled(stretch, 100, 0, blocks * (stretch.parts === 1 ? 1 : 0.1))) {
          return { chunks, parts: stretch.parts, blocks };
        }
      }
    };
    t.match(fill(), { parts: PARTS });
    t.same(fill(), { chunks: 1, parts: 1, blocks: 16 }, 'nothing is known of that either');
    for (let i = 0; i < 4; i++) fill();
    t.same(fill(), { chunks: 1, parts: 1, blocks: 50 });
  },
);
