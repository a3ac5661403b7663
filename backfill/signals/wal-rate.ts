import { size } from '../throttle.js';
import type { CatalogSource } from './source.js';

/** Over which time the rate is measured, milliseconds: some chunks with their rests. */
const WINDOW_MS = 1_000;

/** WAL that the whole server writes a second, the application's included. */
export function walRate(): CatalogSource<number, number> {
  let samples: { atMs: number; lsn: number }[] = [];
  return {
    name: 'wal-rate',
    level: 'soft',
    sql: `(SELECT to_json((pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8))`,
    wanted: (settings) => settings.maxWalRate !== null,
    take(lsn, atMs) {
      // A position that goes back is another server's.
      if (lsn < (samples.at(-1)?.lsn ?? 0)) samples = [];
      samples.push({ atMs, lsn });
      while (samples.length > 2 && samples[1]!.atMs <= atMs - WINDOW_MS) samples.shift();
      const [first] = samples;
      // Until the window is full it is as if nothing had been written before.
      return ((lsn - first!.lsn) * 1000) / Math.max(WINDOW_MS, atMs - first!.atMs);
    },
    judge(rate, { maxWalRate }) {
      const threshold = maxWalRate ?? Number.NaN;
      const detail = `${size(rate)} of WAL a second (limit ${size(threshold)})`;
      return [{ subject: 'server', observed: rate, threshold, detail }];
    },
  };
}
