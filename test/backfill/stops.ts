import type pg from 'pg';
import type { Test } from 'tap';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import type { Cluster } from '../../cli/demo/cluster.js';
import { makeJob, until } from './setup.js';
import { filled, Watched } from './watched.js';

/** More than is filled before a reason is seen, however fast the machine is. */
const ROWS = 120_000;

/** A function with which tests of one cluster bring a reason about, and take it away. */
export function makeStops(cluster: Cluster, client: pg.Client) {
  const url = cluster.url();
  let tables = 0;
  /** `cause` stops it for a reason that matches, `look` is when it has, `cure` lets it go on. */
  return async function stops(
    t: Test,
    settings: Partial<ThrottleSettings>,
    pattern: RegExp,
    cause: (table: string, held: ThrottleSettings, watched: Watched) => Promise<unknown>,
    cure: (held: ThrottleSettings) => Promise<unknown>,
    look: (watched: Watched) => Promise<unknown> = async () => undefined,
  ): Promise<void> {
    const table = `item${++tables}`;
    const job = await makeJob(cluster, ROWS, { table });
    const held = { ...DEFAULT_THROTTLE, chunkTargetMs: 5, ...settings };
    const watched = new Watched({ url, job }, () => held);
    t.teardown(() => watched.stop());
    await watched.underWay();
    const startMs = performance.now();
    await cause(table, held, watched);
    await watched.stopped(pattern);
    t.comment(
      `after ${Math.round(performance.now() - startMs)} ms: ${watched.last?.throttled?.text}`,
    );
    const { name } = watched.last!.throttled!;
    const [before, seconds] = [await filled(client, job), watched.seconds(name)];
    await until('it has been counted', () => watched.seconds(name) > seconds + 0.3);
    t.equal(await filled(client, job), before, 'not a row meanwhile');
    t.ok(before > 0 && before < ROWS, `${before} rows were filled before`);
    await look(watched);
    await cure(held);
    await until('it goes on', async () => (await filled(client, job)) > before);
    t.equal(await watched.stop(), 'aborted');
  };
}
