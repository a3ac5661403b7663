import { getEventListeners } from 'node:events';
import t from 'tap';
import { either } from '../../proxy/either.js';

t.test('it follows the first of both that aborts, and leaves the other', async (t) => {
  for (const which of [0, 1] as const) {
    const both = [new AbortController(), new AbortController()] as const;
    const { signal } = either(both[0].signal, both[1].signal);
    t.notOk(signal.aborted);
    both[which].abort();
    t.ok(signal.aborted);
    for (const { signal } of both) t.equal(getEventListeners(signal, 'abort').length, 0);
  }
});

t.test('one that is aborted already counts', async (t) => {
  const live = new AbortController();
  t.ok(either(live.signal, AbortSignal.abort()).signal.aborted);
  t.ok(either(AbortSignal.abort(), live.signal).signal.aborted);
  t.equal(getEventListeners(live.signal, 'abort').length, 0);
});

t.test('released, it is not known any more', async (t) => {
  const both = [new AbortController(), new AbortController()] as const;
  const { signal, release } = either(both[0].signal, both[1].signal);
  release();
  for (const { signal } of both) t.equal(getEventListeners(signal, 'abort').length, 0);
  for (const each of both) each.abort();
  t.notOk(signal.aborted);
});

t.test('many that follow one signal are not warned of', async (t) => {
  const warnings: Error[] = [];
  const note = (warning: Error) => void warnings.push(warning);
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  const place = new AbortController();
  for (let i = 0; i < 50; i++) either(new AbortController().signal, place.signal);
  await new Promise(setImmediate);
  t.same(warnings, []);
});
