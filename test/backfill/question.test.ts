import t from 'tap';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import { AHEAD_MS, Question } from '../../backfill/question.js';
import type { SignalWatch } from '../../backfill/signals/watch.js';

const USUAL_MS = DEFAULT_THROTTLE.chunkTargetMs;

/**
 * How often the question before a chunk is asked, without a server. Mutations seen to fail here, each
 * alone: an answer that serves for ever; one from before the chunk that serves for the next; one that
 * serves while the fill stands still; one that is too old when the rest is over; one that serves for any
 * number of short chunks.
 */

/** A look is over at once. */
function scene() {
  let nowMs = 1_000;
  let looks = 0;
  let lookedMs = 0;
  let settings = DEFAULT_THROTTLE;
  const reader = {
    get ageMs() {
      return nowMs - lookedMs;
    },
    refresh: async () => {
      looks++;
      lookedMs = nowMs;
    },
  } as unknown as SignalWatch;
  const signal = new AbortController().signal;
  const question = new Question(
    () => settings,
    reader,
    signal,
    () => nowMs,
  );
  return {
    question,
    set(changed: Partial<ThrottleSettings>) {
      settings = { ...settings, ...changed };
    },
    /** @returns how many looks an answer took, after so long. */
    async asks(afterMs: number, restMs: number) {
      nowMs += afterMs;
      const before = looks;
      await question.answer(restMs);
      return looks - before;
    },
  };
}

t.test('what was asked before a rest is over serves for the chunk after it', async (t) => {
  const { question, asks } = scene();
  t.equal(await asks(0, 0), 1);
  question.begun(USUAL_MS);
  t.equal(await asks(5, 2_000), 0, 'no chunk can begin for long');
  t.equal(await asks(600, 1_200), 1, 'settings are read all the same');
  t.equal(await asks(1_100, AHEAD_MS), 1);
  t.equal(await asks(AHEAD_MS, 0), 0);
  question.begun(USUAL_MS);
  t.equal(await asks(1, 0), 1, 'a chunk has begun since: it says nothing of it');
});

t.test('an answer that would be too old when the rest is over is not waited with', async (t) => {
  const { question, asks } = scene();
  question.begun(USUAL_MS);
  t.equal(await asks(1, 0), 1);
  t.equal(await asks(550, 40), 0);
  t.equal(await asks(0, 60), 1);
});

t.test('at full speed it is asked while the chunk is filled', async (t) => {
  const { question, asks } = scene();
  for (let chunk = 0; chunk < 3; chunk++) {
    question.begun(USUAL_MS);
    question.askAhead();
    await question.ended();
    t.equal(await asks(50, 0), 0);
  }
  question.begun(USUAL_MS);
  question.askAhead();
  await question.ended();
  t.equal(await asks(300, 0), 1, 'a chunk took longer than a look is good for');
});

t.test('a look serves for as much as one chunk of the usual length', async (t) => {
  const { question, asks } = scene();
  t.equal(await asks(0, 0), 1);
  for (let chunk = 0; chunk < 5; chunk++) {
    question.begun(USUAL_MS / 5);
    question.askAhead();
    await question.ended();
    // The last of them has the next look taken beside it.
    t.equal(await asks(20, 0), 0, `chunk ${chunk}`);
  }
  question.begun(USUAL_MS / 5);
  t.equal(await asks(1, 0), 0);
  question.begun(USUAL_MS / 2);
  t.equal(await asks(1, 0), 1, 'with one more like that it would be more');
  question.begun(2);
  t.equal(await asks(599, 0), 0);
  t.equal(await asks(2, 0), 1, 'nor is one too old because little was filled');
});

t.test('a look serves no longer when the settings have changed', async (t) => {
  const { question, asks, set } = scene();
  t.equal(await asks(0, 0), 1);
  question.begun(2);
  t.equal(await asks(1, 0), 0);
  set({ maxLagMs: 500 });
  t.equal(await asks(1, 0), 1);
  t.equal((await question.answer(0)).maxLagMs, 500);
  t.equal(await asks(1, 0), 0);
});

t.test('who stands still asks each time', async (t) => {
  const { question, asks } = scene();
  question.isStill = true;
  t.equal(await asks(0, 0), 1);
  t.equal(await asks(1, 0), 1);
  t.equal(await asks(1, 900), 1);
});
