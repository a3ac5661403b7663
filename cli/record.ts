import { setTimeout as pause } from 'node:timers/promises';
import { RECORD_MS, REPORT_MS, Recorder, type RecorderOptions } from '../migration/recorder.js';
import type { Realm } from '../proxy/realm.js';
import { readStolenMs } from './stolen.js';

/**
 * Hands what a realm's sessions are seen to send to the database, every few seconds while it has
 * rules, and every second, while a migration is under way, how long it takes. Runs until `signal` aborts; what is left then is
 * saved, once.
 * @param term another number when the database is at another server.
 */
export async function recordSightings(
  realm: Pick<Realm, 'takeSightings' | 'latencies' | 'isWatched'>,
  options: RecorderOptions,
  signal: AbortSignal,
  term: () => number,
): Promise<void> {
  const recorder = new Recorder(options);
  let present = term();
  let recordedMs = performance.now();
  while (!signal.aborted) {
    await pause(REPORT_MS, undefined, { signal }).catch(() => undefined);
    if (term() !== present) await recorder.close();
    present = term();
    const latencies = signal.aborted ? null : realm.latencies();
    if (latencies) await recorder.report(latencies, readStolenMs());
    // A tick that comes a little early is not put off by another.
    const dueMs = recordedMs + RECORD_MS - REPORT_MS / 2;
    if (!signal.aborted && performance.now() < dueMs) continue;
    recordedMs = performance.now();
    const seen = realm.takeSightings();
    if (seen.length > 0 || realm.isWatched) await recorder.record(seen);
    else await recorder.close();
  }
  await recorder.close();
}
