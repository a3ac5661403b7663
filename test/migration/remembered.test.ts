/**
 * What was broken to see this test fail: what is forgotten while it is read is kept all the same; the age is
 * counted from when the answer came; nothing is forgotten; nothing is kept.
 */
import t from 'tap';
import { Remembered } from '../../migration/remembered.js';

function setUp() {
  const clock = { ms: 0 };
  const answers: ((value: string) => void)[] = [];
  const read = () => new Promise<string>((resolve) => answers.push(resolve));
  const remembered = new Remembered(read, 1_000, () => clock.ms);
  return { clock, answers, remembered };
}

t.test('it is read once as long as it is young enough', async (t) => {
  const { clock, answers, remembered } = setUp();
  const first = remembered.value();
  clock.ms = 600;
  answers[0]!('a');
  t.equal(await first, 'a');
  clock.ms = 999;
  t.equal(await remembered.value(), 'a');
  t.equal(answers.length, 1);
  // 1,000 ms after it was asked for, 400 after the answer.
  clock.ms = 1_000;
  const second = remembered.value();
  t.equal(answers.length, 2);
  answers[1]!('b');
  t.equal(await second, 'b');
});

t.test('what has changed is read again', async (t) => {
  const { answers, remembered } = setUp();
  const first = remembered.value();
  answers[0]!('a');
  await first;
  remembered.forget();
  const second = remembered.value();
  t.equal(answers.length, 2);
  answers[1]!('b');
  t.equal(await second, 'b');
});

t.test('what was forgotten while it was read is not kept', async (t) => {
  const { answers, remembered } = setUp();
  const first = remembered.value();
  remembered.forget();
  answers[0]!('of before the change, perhaps');
  t.equal(await first, 'of before the change, perhaps');
  const second = remembered.value();
  t.equal(answers.length, 2);
  answers[1]!('b');
  t.equal(await second, 'b');
  t.equal(await remembered.value(), 'b');
  t.equal(answers.length, 2);
});
