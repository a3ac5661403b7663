import t from 'tap';
import { Control } from '../../backfill/control.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import type { Report } from '../../backfill/percentile.js';
import { latency } from '../../backfill/signals/latency.js';

/**
 * What the application is like without the fill, without a server: a proxy reports once a second, looks
 * are taken four times as often.
 */

const OID = 77;
const EVERY_MS = 60_000;

/** Bucket of a time in milliseconds, and the p99 that is told of a slice in which all are in it. */
const bucketOf = (ms: number) => Math.round(Math.log2(ms / 0.1) * 8);
const p99Of = (ms: number) => 0.1 * 2 ** ((bucketOf(ms) - 0.01) / 8);

/** A fill, its application, and the signals that it is observed by. */
class Scene {
  nowMs = 1_000_000;
  readonly control = new Control(this.nowMs);
  private readonly sources = latency(OID, this.control);
  private counts: Record<string, number> = {};
  private stolenMs = 0;
  private judged: (number | null)[] = [];

  /** @param takesMs of each transaction, when the fill goes on and when it stands still. */
  run(
    seconds: number,
    isStill: boolean | (() => boolean),
    takesMs: { filling: number; still: number },
    each = 200,
    isStolen = (_second: number) => false,
  ): void {
    for (let quarter = 0; quarter < seconds * 4; quarter++) {
      this.nowMs += 250;
      const still = typeof isStill === 'function' ? isStill() : isStill;
      this.control.turn(still, this.nowMs);
      if (quarter % 4 === 0) {
        const bucket = bucketOf(still ? takesMs.still : takesMs.filling);
        this.counts = { ...this.counts, [bucket]: (this.counts[bucket] ?? 0) + each };
        if (isStolen(quarter / 4)) this.stolenMs += 10;
      }
      const { counts, stolenMs } = this;
      const reports: Report[] = [{ proxy: 'a', ageMs: 100, counts, stolenMs }];
      this.judged = this.sources.map((source) => {
        const [one] = source.judge(source.take(reports, this.nowMs), this.settings);
        return one!.observed;
      });
    }
  }

  settings = { ...DEFAULT_THROTTLE, latencyBaselineMs: p99Of(10) };

  holds(isSlowed = true, everyMs: number | null = EVERY_MS): boolean {
    return this.control.holds(this.nowMs, everyMs, isSlowed);
  }

  /** The p99 over the baseline, of the signal that slows down and of the one that stops. */
  get observed() {
    const [slow, stop] = this.judged.map((one) => one && Number(one.toFixed(2)));
    return { slow, stop };
  }
}

const times = (ms: number, of: number) => Number((p99Of(ms) / p99Of(of)).toFixed(2));

t.test('what is observed while the fill stands still is compared with from then on', async (t) => {
  const scene = new Scene();
  scene.run(20, false, { filling: 14, still: 10 });
  t.same(scene.observed, { slow: times(14, 10), stop: times(14, 10) });
  // The load has grown: it takes 14 ms without the fill.
  scene.run(6, true, { filling: 14, still: 14 });
  t.equal(scene.control.baselineMs(10), 10, 'not before five seconds that are settled');
  scene.run(2, true, { filling: 14, still: 14 });
  t.equal(scene.control.baselineMs(10), p99Of(14));
  scene.run(20, false, { filling: 14, still: 14 });
  t.same(scene.observed, { slow: 1, stop: 1 });
  t.equal(scene.control.baselineMs(1), 2, 'twice what was learned at most');
  const off = { ...scene.settings, latencyLearnMs: null };
  const [slow] = latency(OID, scene.control);
  const slices = { all: 5, own: 5, sinceMs: 4_000 };
  t.match(slow!.judge({ p99Ms: p99Of(20), transactions: 500, slices, ageMs: 0 }, off), [
    { observed: p99Of(20) / p99Of(10), detail: /times the 9\.9 ms without the fill/ },
  ]);
});

t.test('a look of which the host has stolen most takes twice as long', async (t) => {
  const looked = (isStolen: (second: number) => boolean) => {
    const scene = new Scene();
    const takes = { filling: 10, still: 14 };
    scene.run(20, false, takes);
    return [7, 3, 2].map((seconds, i) => {
      scene.run(seconds + 1, true, takes, 200, (second) => isStolen(second + i));
      return scene.control.baselineMs(10) !== 10;
    });
  };
  t.same(
    looked(() => false),
    [true, true, true],
  );
  t.same(
    looked((second) => second % 2 === 0),
    [true, true, true],
    'half of them are enough',
  );
  t.same(
    looked(() => true),
    [false, false, true],
  );
});

t.test('the median of three looks is believed, of two the lower one', async (t) => {
  const scene = new Scene();
  const found = [10, 20, 30, 12, 12].map((still) => {
    scene.run(10, false, { filling: 10, still });
    scene.run(8, true, { filling: 10, still });
    return scene.control.baselineMs(1_000);
  });
  t.same(found, [10, 10, 20, 20, 12].map(p99Of));
});

t.test('the pace goes by what was seen while it was filled, stops by what is now', async (t) => {
  const scene = new Scene();
  scene.run(20, false, { filling: 13, still: 10 });
  const slow = times(13, 10);
  // Long enough for its own window to be over, not for a look.
  scene.run(5, true, { filling: 13, still: 10 });
  t.same(scene.observed, { slow, stop: 1 });
  scene.run(2, false, { filling: 20, still: 10 });
  t.equal(scene.observed.slow, slow, 'and not before it is filled again for some time');
  scene.run(7, false, { filling: 20, still: 10 });
  t.equal(scene.observed.slow, times(20, 10));
});

t.test(
  'where it is made to stop the fill it is of now, or the fill would never go on',
  async (t) => {
    const scene = new Scene();
    scene.settings.levels = { latency: 'hard' };
    scene.run(20, false, { filling: 13, still: 10 });
    t.equal(scene.observed.slow, times(13, 10));
    scene.run(6, true, { filling: 13, still: 10 });
    t.equal(scene.observed.slow, 1);
  },
);

t.test('a fill that is slowed down is held for a look now and then', async (t) => {
  const takes = { filling: 12, still: 10 };
  const scene = new Scene();
  scene.run(70, false, takes);
  t.notOk(scene.holds(false), 'at full speed there is nothing to gain');
  t.notOk(scene.holds(true, null), 'nor where it is switched off');
  const short = new Scene();
  short.run(58, false, takes);
  t.notOk(short.holds());
  t.ok(scene.holds());
  const held = (seconds: number, all = takes, each?: number) => {
    const fromMs = scene.nowMs;
    scene.run(seconds, () => scene.holds(), all, each);
    return scene.nowMs - fromMs;
  };
  held(6);
  t.ok(scene.holds(), 'until it has been seen');
  held(3);
  t.notOk(scene.holds());
  t.equal(scene.control.baselineMs(20), p99Of(10));
  held(50);
  t.notOk(scene.holds(), 'a minute of filling later');
  held(15);
  t.ok(scene.holds());
  t.notOk(scene.holds(true, null), 'and not when it is switched off meanwhile');
});

t.test('it is not held for long where too few transactions come', async (t) => {
  const scene = new Scene();
  let still = 0;
  scene.run(
    120,
    () => {
      const holds = scene.holds();
      if (holds) still++;
      return holds;
    },
    { filling: 12, still: 10 },
    3,
  );
  t.ok(still > 50 && still <= 64, `${still / 4} s of two minutes`);
  t.equal(scene.control.baselineMs(10), 10);
});

t.test('a stand-still that is long is its own control, and no reason for another', async (t) => {
  const scene = new Scene();
  scene.run(50, false, { filling: 12, still: 10 });
  scene.run(60, true, { filling: 12, still: 11 });
  t.equal(scene.control.baselineMs(10), p99Of(11));
  scene.run(50, false, { filling: 12, still: 10 });
  t.notOk(scene.holds());
  scene.run(15, false, { filling: 12, still: 10 });
  t.ok(scene.holds());
});
