import type pg from 'pg';
import { type EngineOptions, type Result, runBackfill } from '../../backfill/engine.js';
import { type BackfillJob, DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import type { Progress } from '../../backfill/progress.js';
import type { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { installSchema } from '../../db/schema.js';
import { Metrics } from '../../metrics/registry.js';

/** True of a row that is not in order: its shadow is not what the source gives. */
export const PENDING = '("id_new" IS DISTINCT FROM "id"::bigint)';

/** Our schema, and a table of so many rows whose shadow column is still to be filled. */
export async function makeJob(
  cluster: Cluster,
  rows: number,
  options: { table?: string; columns?: string; silenceTriggers?: boolean } = {},
): Promise<BackfillJob> {
  const connection = await connect({ url: cluster.url(), role: 'test' });
  await installSchema(connection);
  const name = options.table ?? 'item';
  await connection.query(
    `CREATE TABLE public.${name} (id integer, id_new bigint, qty integer NOT NULL DEFAULT 0,
       pad text NOT NULL DEFAULT repeat('x', 50) ${options.columns ?? ''})`,
  );
  await connection.query(
    `INSERT INTO public.${name} (id) SELECT i FROM generate_series(1, ${rows}) AS i`,
  );
  await connection.query(`ALTER TABLE public.${name} ADD PRIMARY KEY (id)`);
  const made = await connection.query(
    `INSERT INTO pgtandem.migration (name, definition, plan, phase, settings)
     VALUES ($1, '{}', '{}', '{}', '{}') RETURNING id::int`,
    [name],
  );
  const { rows: found } = await connection.query('SELECT $1::regclass::oid::int AS oid', [
    `public.${name}`,
  ]);
  await connection.end();
  return {
    migrationId: made.rows[0].id,
    migration: name,
    table: { oid: found[0].oid, schema: 'public', name },
    set: [{ column: 'id_new', value: '"id"::bigint' }],
    pending: PENDING,
    silenceTriggers: options.silenceTriggers ?? false,
  };
}

export type Steer = (progress: Progress) => Promise<'stop' | undefined> | 'stop' | undefined;

/** Runs a backfill; `steer` sees each progress and may end it by an abort. */
export async function run(
  cluster: Cluster,
  job: BackfillJob,
  options: Partial<Omit<EngineOptions, 'settings'>> & { settings?: Partial<ThrottleSettings> } = {},
  steer: Steer = () => undefined,
): Promise<{ result: Result; seen: Progress[] }> {
  const abort = new AbortController();
  const seen: Progress[] = [];
  const engine = runBackfill({
    url: cluster.url(),
    job,
    metrics: new Metrics(),
    signal: abort.signal,
    ...options,
    settings: () => ({ ...DEFAULT_THROTTLE, ...options.settings }),
  });
  for (;;) {
    const { done, value } = await engine.next();
    if (done) return { result: value, seen };
    seen.push(value);
    if ((await steer(value)) === 'stop') abort.abort();
  }
}

/** Rows that are not in order. */
export async function pendingRows(client: pg.Client, table = 'item'): Promise<number> {
  const { rows } = await client.query(
    `SELECT count(*)::int AS n FROM public.${table} WHERE ${PENDING}`,
  );
  return rows[0].n;
}

/** Waits until `ask` is true; fails after `limitMs`. */
export async function until(
  what: string,
  ask: () => Promise<boolean> | boolean,
  limitMs = 20_000,
): Promise<void> {
  const startMs = performance.now();
  while (!(await ask())) {
    if (performance.now() - startMs > limitMs) throw new Error(`In vain waited until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}
