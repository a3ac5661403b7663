import type pg from 'pg';
import { type EngineOptions, runBackfill } from '../../backfill/engine.js';
import type { BackfillJob } from '../../backfill/job.js';
import type { Progress } from '../../backfill/progress.js';
import { Metrics } from '../../metrics/registry.js';
import { until } from './setup.js';

/** A backfill that runs beside the test, seen through its last progress. */
export class Watched {
  last: Progress | null = null;
  /** Texts of the reasons, one after the other without repetition; '' for going on. */
  readonly texts: string[] = [];
  largestChunk = 0;
  readonly metrics = new Metrics();
  readonly ended: Promise<string>;
  private readonly abort = new AbortController();

  constructor(
    options: Pick<EngineOptions, 'url' | 'job' | 'instance'>,
    settings: EngineOptions['settings'],
  ) {
    const { metrics } = this;
    const { signal } = this.abort;
    // Each time another object, as those that are read from the database.
    const copied = async () => ({ ...(await settings()) });
    this.ended = this.follow(runBackfill({ ...options, settings: copied, metrics, signal }));
  }

  private async follow(engine: ReturnType<typeof runBackfill>): Promise<string> {
    for (;;) {
      const { done, value } = await engine.next();
      if (done) return value.outcome;
      const blocks = value.blocksDone - (this.last?.blocksDone ?? 0);
      this.largestChunk = Math.max(this.largestChunk, blocks);
      this.last = value;
      const text = value.throttled?.text ?? '';
      if (this.texts.at(-1) !== text) this.texts.push(text);
    }
  }

  /** Waits until it stands still for a reason that matches. */
  stopped(pattern: RegExp): Promise<void> {
    return until(`stopped: ${pattern}`, () => pattern.test(this.last?.throttled?.text ?? ''));
  }

  underWay(): Promise<void> {
    return until('it is under way', () => (this.last?.blocksDone ?? 0) > 0);
  }

  stop(): Promise<string> {
    this.abort.abort();
    return this.ended;
  }

  seconds(name: string): number {
    return this.last?.spent.throttledSeconds[name] ?? 0;
  }
}

/** Rows whose shadow has a value. */
export async function filled(client: pg.Client, { table }: BackfillJob): Promise<number> {
  const { rows } = await client.query(
    `SELECT count(*)::int AS n FROM public.${table.name} WHERE id_new IS NOT NULL`,
  );
  return rows[0].n;
}
