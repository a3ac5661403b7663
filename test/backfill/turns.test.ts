import t from 'tap';
import { type Turn, take } from '../../bench/backfill/turns.js';

function turn(overAt: number | null, log: string[]): Turn {
  let looks = 0;
  return {
    state: 'filling',
    begin: async () => void log.push('begin'),
    look: async () => {
      log.push('look');
      return ++looks === overAt ? Date.now() : null;
    },
    end: async () => void log.push('end'),
  };
}

t.test('a turn is what it was asked for, after what does not count', async (t) => {
  const log: string[] = [];
  const taken = await take(turn(null, log), 0.2, 50);
  t.same([log.at(0), log.at(-1)], ['begin', 'end']);
  t.equal(taken.isOver, false);
  const [window] = taken.windows;
  t.equal(taken.windows.length, 1);
  t.equal(window!.state, 'filling');
  t.ok(window!.toMs - window!.fromMs >= 200, 'the seconds that count are all there');
});

t.test('what is over ends its turn, and too short a turn has no window', async (t) => {
  const log: string[] = [];
  const taken = await take(turn(2, log), 60, 5);
  t.same(log, ['begin', 'look', 'look', 'end']);
  t.equal(taken.isOver, true);
  t.same(taken.windows, []);
  t.ok(taken.seconds < 60);
});

t.test('a turn ends also where looking at it fails', async (t) => {
  const log: string[] = [];
  const failing = { ...turn(null, log), look: () => Promise.reject(new Error('lost')) };
  await t.rejects(take(failing, 60, 5), /lost/);
  t.same(log, ['begin', 'end']);
});
