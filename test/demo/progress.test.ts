import { Writable } from 'node:stream';
import t from 'tap';
import { formatDuration } from '../../backfill/words.js';
import {
  formatBar,
  formatLine,
  type Output,
  Progress,
  type ProgressSnapshot,
} from '../../cli/progress.js';

const SNAPSHOT: ProgressSnapshot = {
  phase: 'backfilling',
  ratio: 0.4268,
  rowsFilled: 426_800,
  rowsPerSecond: 51_234.4,
  etaSeconds: 11.2,
  throttled: null,
  lag: [{ standby: 'standby1', ms: 312 }],
};

/** A stream that keeps what is written to it. */
function memory(terminal: boolean): { out: Output; text: () => string } {
  const chunks: string[] = [];
  const out: Output = new Writable({
    write(chunk, _, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  out.isTTY = terminal;
  out.columns = 100;
  return { out, text: () => chunks.join('') };
}

t.test('a line says phase, share, speed, time left and lag', async (t) => {
  const line = 'backfilling: 42% 426,800 rows, 51,234 rows/s, 11 s left, standby1 0.3 s behind';
  t.equal(formatLine(SNAPSHOT), line);
  const throttled = { ...SNAPSHOT, throttled: 'replica lag 2.1 s > 1.0 s' };
  t.equal(
    formatLine(throttled),
    'backfilling: 42% 426,800 rows, waiting: replica lag 2.1 s > 1.0 s, standby1 0.3 s behind',
  );
  const none = { rowsPerSecond: null, etaSeconds: null, lag: [], rowsFilled: 0 };
  t.equal(formatLine({ ...SNAPSHOT, ...none, phase: 'soaking', ratio: null }), 'soaking');
  const unknown = { ...none, lag: [{ standby: 'b', ms: null }] };
  t.equal(formatLine({ ...SNAPSHOT, ...unknown }), 'backfilling: 42% b unknown behind');
  t.equal(formatLine({ ...SNAPSHOT, ...none, ratio: 0.9999 }), 'backfilling: 99%');
  t.equal(formatLine({ ...SNAPSHOT, ...none, ratio: 1 }), 'backfilling: 100%');
});

t.test('a duration has two units at most', async (t) => {
  t.same([0.42, 9.96, 12.4, 59.6, 185, 7_825, Infinity].map(formatDuration), [
    '0.4 s',
    '10 s',
    '12 s',
    '1 min 0 s',
    '3 min 5 s',
    '2 h 10 min',
    'unknown',
  ]);
});

t.test('a bar is never wider than its terminal', async (t) => {
  t.match(formatBar(SNAPSHOT, 200), /^backfilling {4}█{10}░{14} {2}42% 426,800 rows, /);
  for (const columns of [20, 40, 80]) {
    t.equal(formatBar(SNAPSHOT, columns).length, columns);
  }
  t.equal(formatBar({ ...SNAPSHOT, ratio: 1, lag: [] }, 200).match(/█/g)?.length, 24);
  t.notMatch(formatBar({ ...SNAPSHOT, ratio: null }, 200), /[█░]/);
});

t.test('without a terminal there is a line at each phase, and one every few seconds', async (t) => {
  const { out, text } = memory(false);
  let clockMs = 0;
  const progress = new Progress(out, () => clockMs);
  const at = (ms: number, change: Partial<ProgressSnapshot>) => {
    clockMs = ms;
    progress.update({ ...SNAPSHOT, rowsPerSecond: null, etaSeconds: null, lag: [], ...change });
  };
  at(0, { ratio: 0, rowsFilled: 0 });
  at(1_000, { ratio: 0.1 });
  at(4_999, { ratio: 0.2 });
  at(5_000, { ratio: 0.3 });
  at(5_100, { phase: 'verifying', ratio: null });
  at(5_200, { phase: 'verifying', ratio: null });
  progress.say('a line of its own');
  progress.stop();
  t.same(text().trimEnd().split('\n'), [
    'backfilling: 0%',
    'backfilling: 30% 426,800 rows',
    'verifying: 426,800 rows',
    'a line of its own',
  ]);
});

t.test('on a terminal there is a bar, and at the end the cursor is back', async (t) => {
  const { out, text } = memory(true);
  const progress = new Progress(out);
  progress.stop();
  progress.say('first');
  progress.update(SNAPSHOT);
  progress.update({ ...SNAPSHOT, phase: 'verifying', ratio: null });
  progress.say('between');
  progress.stop();
  const ESC = String.fromCharCode(27);
  t.match(text(), /█/);
  t.match(text(), /first\n/);
  t.match(text(), /backfilling: 42% .*\n/, 'a phase that is over stays as a line');
  t.match(text(), /between\n/);
  t.ok(text().lastIndexOf(`${ESC}[?25h`) > text().lastIndexOf(`${ESC}[?25l`));
  t.match(text(), /verifying: [^\n]*\n$/);
});
