/**
 * What was broken to see these tests fail:
 * - a stretch that failed gives back its first half only, the blocks that were given back are not
 *   looked at for the checkpoint, a stretch is given to two: the first;
 * - a part comes as soon as the one before is committed (no horizon), or the horizon is what was under
 *   way beside the part, and not what had begun beside that: the second, none before its time;
 * - what waits for its retry keeps no worker: the third;
 * - stretches are begun however far ahead: the fourth;
 * - the first part is one piece, a piece is left out, or what it takes is not seen for its blocks: the last.
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
  let [halves, most, stretches] = [0, 0, 0];
  for (let trial = 0; trial < 60; trial++) {
    const from = upTo(2) * upTo(500);
    const end = from + upTo(3_000);
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(from, end));
    /** How often each block was filled in whole. */
    const filled = new Uint8Array(end);
    const underWay: Stretch[] = [];
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
        halves++;
        continue;
      }
      const isLast = one!.part === one!.parts - 1;
      const { from: first, to } = one!;
      const next = ranges.reachedWith(one!);
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
  t.comment(`${stretches} stretches, ${halves} failures, at most ${most} at once`);
  t.ok(stretches > 10_000 && halves > 1_000 && most === 5);
});

t.test('parts come by turns, each when nobody sees the one before as it was', async (t) => {
  for (const workers of [1, 2, 3, 4]) {
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(0, 40_000));
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
        if (before !== undefined && stretch.to < 38_000) {
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
    t.equal(ranges.blocksDone, 40_000);
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

t.test(
  'the first part, whose rows leave their blocks, is filled in pieces of the target',
  async (t) => {
    const ranges = new Stretches();
    ranges.begin(7, checkpoint(0, 100_000));
    /** As a server does it: 0.5 ms for a block of the first part, 0.1 ms for one of the others. */
    const fill = () => {
      const chunks: { part: number; blocks: number; ms: number; isLast: boolean }[] = [];
      for (;;) {
        const stretch = ranges.take(2, 0, 1)!;
        const { part, from, to } = stretch;
        const piece = { ...stretch.piece };
        const expected = part === 0 && chunks.length > 0 ? undefined : from;
        if (expected !== undefined) t.equal(piece.from, expected);
        if (part > 0) t.same(piece, { from, to }, 'the others take all of it');
        const done = ranges.blocksDone;
        const blocks = piece.to - piece.from;
        const ms = blocks * (part === 0 ? 0.5 : 0.1);
        const isLast = ranges.filled(stretch, 10, 8, ms);
        t.ok(ranges.blocksDone >= done);
        chunks.push({ part, blocks, ms, isLast });
        if (isLast) return chunks;
      }
    };
    t.same(
      fill().map(({ blocks }) => blocks),
      Array(8).fill(16),
      'nothing is known of the first stretch',
    );
    const second = fill();
    t.same(
      second.map(({ part, blocks }) => [part, blocks]),
      [...Array(4).fill([0, 4]), ...[1, 2, 3, 4, 5, 6, 7].map((part) => [part, 16])],
    );
    t.ok(second.every(({ ms }) => ms <= 2));
    t.equal(ranges.blocksDone, 32);
    t.same(
      fill().map(({ blocks }) => blocks),
      second.map(({ blocks }) => blocks),
      'and again, by the same measure',
    );
  },
);
