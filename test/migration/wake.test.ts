import { EventEmitter, getEventListeners } from 'node:events';
import t from 'tap';
import type { Connection } from '../../db/connect.js';
import { Wake } from '../../migration/wake.js';

const HOUR_MS = 3_600_000;

t.test('a wait that is over is forgotten, however it ended', async (t) => {
  const wake = new Wake();
  const stopping = new AbortController();
  const { signal } = stopping;
  // A proxy at rest waits once a second, for months, and nobody rings.
  for (let i = 0; i < 5; i++) await wake.wait(0, signal);
  t.equal(wake.waiters, 0);
  const rung = [wake.wait(HOUR_MS, signal), wake.wait(HOUR_MS, signal)];
  t.equal(wake.waiters, 2);
  wake.ring();
  await Promise.all(rung);
  t.equal(wake.waiters, 0);
  const aborted = wake.wait(HOUR_MS, signal);
  stopping.abort();
  await aborted;
  t.equal(wake.waiters, 0);
  t.equal(getEventListeners(signal, 'abort').length, 0);
});

t.test('what rang while nobody waited ends the next wait, once', async (t) => {
  const wake = new Wake();
  const { signal } = new AbortController();
  wake.ring();
  await wake.wait(HOUR_MS, signal);
  const next = wake.wait(HOUR_MS, signal);
  t.equal(wake.waiters, 1);
  wake.ring();
  await next;
});

t.test('a connection rings until it is left', async (t) => {
  const wake = new Wake();
  const { signal } = new AbortController();
  const connection = new EventEmitter();
  const leave = wake.listenTo(connection as Connection);
  for (const event of ['notification', 'end']) {
    const waiting = wake.wait(HOUR_MS, signal);
    connection.emit(event);
    await waiting;
  }
  leave();
  t.same(connection.eventNames(), []);
});
