import { setTimeout as pause } from 'node:timers/promises';
import { RECORD_MS, Recorder, type RecorderOptions } from '../migration/recorder.js';
import type { Realm } from '../proxy/realm.js';

/**
 * Hands what a realm's sessions are seen to send to the database, every few seconds while it has
 * rules. Runs until `signal` aborts; what is left then is saved, once.
 */
export async function recordSightings(
  realm: Pick<Realm, 'takeSightings' | 'isWatched'>,
  options: RecorderOptions,
  signal: AbortSignal,
): Promise<void> {
  const recorder = new Recorder(options);
  while (!signal.aborted) {
    await pause(RECORD_MS, undefined, { signal }).catch(() => undefined);
    const seen = realm.takeSightings();
    if (seen.length > 0 || realm.isWatched) await recorder.record(seen);
    else await recorder.close();
  }
  await recorder.close();
}
