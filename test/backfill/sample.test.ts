import t from 'tap';
import { LagReader } from '../../backfill/lag.js';
import type { CatalogLook } from '../../backfill/signals/catalog.js';
import type { Connection } from '../../db/connect.js';
import type { Replication } from '../../db/replication.js';
import { Metrics } from '../../metrics/registry.js';

/**
 * How well a lag in time is known where looks are rare, without a server. Broken on purpose and seen
 * here: nothing is asked between two looks; what is asked then is not recorded.
 */

t.test('a standby that stops just after a look is not as good as one that has all', async (t) => {
  const beganMs = performance.now();
  // A byte of WAL a millisecond; the standby has had the first fifty of them, and no more.
  const flushed = () => performance.now() - beganMs;
  const asked: string[] = [];
  const looks: { atMs: number }[] = [];
  let second = (): void => undefined;
  const looked = new Promise<void>((resolve) => {
    second = resolve;
  });
  const connection = {
    query: async ({ name }: { name: string }) => {
      asked.push(name);
      return { rows: [{ flushed: flushed() }] };
    },
    end: async () => undefined,
  } as unknown as Connection;
  const catalog = {
    ask: async (_: Connection, atMs: number): Promise<Replication> => {
      asked.push('look');
      looks.push({ atMs });
      if (looks.length === 2) setImmediate(second);
      const sender = { pid: 1, applicationName: 'standby1', clientAddress: null, slot: null };
      const place = { state: 'streaming' as const, written: flushed(), replayed: 50 };
      const walSenders = [{ ...sender, ...place }];
      const at = { inserted: flushed(), flushed: flushed() };
      return { role: 'postgres', ...at, walSenders, known: ['standby1'] };
    },
  } as unknown as CatalogLook;
  const reader = await LagReader.open(async () => connection, new Metrics(), catalog);
  t.teardown(() => reader.close());
  await reader.refresh(performance.now(), 10_000, new AbortController().signal);
  await looked;
  const between = asked.slice(asked.indexOf('look') + 1, asked.lastIndexOf('look'));
  t.ok(between.includes('flushed'), `${asked.join(', ')}`);
  const [lag] = reader.lags;
  const gapMs = looks[1]!.atMs - looks[0]!.atMs;
  t.ok(lag!.seconds! * 1_000 > 0, `${lag!.seconds} s after ${gapMs.toFixed(0)} ms`);
});
