import type { Metrics } from '../metrics/registry.js';
import { Account, type Expense, type Spent } from './account.js';
import type { Checkpoint } from './checkpoint.js';
import { Gauges } from './gauges.js';
import type { Progress, StandbyLag } from './progress.js';
import type { Reason } from './throttle.js';

/** Of a {@link Progress} what the engine knows and the report does not. */
export interface Now {
  checkpoint: Checkpoint | null;
  throttled: Reason | null;
  slowed: Reason | null;
  restFactor: number;
  lag: StandbyLag[];
}

/** At most so long between two reports while nothing changes, milliseconds. */
const EVERY_MS = 400;

/** Keeps account of what a backfill does, in the metrics and for the next progress. */
export class Report {
  private readonly account: Account;
  private readonly gauges: Gauges;
  private readonly labels: { migration: string };
  private chunkMs = 0;
  private retries = 0;
  private toldMs = performance.now();
  private told: string | null = null;
  readonly notes: string[] = [];

  constructor(
    private readonly metrics: Metrics,
    private readonly migration: string,
    spent: Spent | null,
  ) {
    this.labels = { migration };
    this.account = new Account(performance.now(), spent);
    this.gauges = new Gauges(metrics, migration);
  }

  /** The time since the last entry went to this. */
  spend(expense: Expense): void {
    this.account.spend(performance.now(), expense);
  }

  /** It went to standing still. */
  still({ name }: Reason): void {
    const seconds = this.account.spend(performance.now(), name);
    const labels = { ...this.labels, reason: name };
    this.metrics.count('pgtandem_backfill_throttled_seconds_total', labels, seconds);
  }

  /** A rest was longer by so much. */
  slow({ name }: Reason, ms: number): void {
    const labels = { ...this.labels, reason: name };
    this.metrics.count('pgtandem_backfill_slowed_seconds_total', labels, ms / 1000);
    this.account.slow(name, ms / 1000);
  }

  /** A chunk was filled. */
  chunk(ms: number): void {
    this.chunkMs = ms;
    this.metrics.observe('pgtandem_backfill_chunk_seconds', this.labels, ms / 1000);
  }

  /** A chunk was given up. */
  retry(sqlstate: string): void {
    this.retries++;
    this.metrics.count('pgtandem_backfill_retries_total', { ...this.labels, sqlstate });
  }

  vacuumed(outcome: string): void {
    this.spend('vacuum');
    this.metrics.count('pgtandem_backfill_vacuums_total', { ...this.labels, outcome });
  }

  /** Where the fill is; so many rows have been filled since the last time. */
  reach(checkpoint: Checkpoint | null, rows: number): void {
    if (!checkpoint) return;
    this.spend('filling');
    this.account.reach(checkpoint.nextBlock, checkpoint.rowsFilled);
    this.metrics.count('pgtandem_backfill_rows_total', this.labels, rows);
    this.metrics.set('pgtandem_backfill_progress_ratio', this.labels, ratioOf(checkpoint));
  }

  /** @param why it stands still now, or null. */
  isDue(why: Reason | null): boolean {
    const changed = (why?.name ?? null) !== this.told;
    return changed || performance.now() - this.toldMs >= EVERY_MS;
  }

  /** Tells it, and shows it in the metrics. */
  progress({ checkpoint, throttled, slowed, restFactor, lag }: Now): Progress {
    const { account } = this;
    this.toldMs = performance.now();
    this.told = throttled?.name ?? null;
    const { nextBlock, endBlock } = checkpoint ?? { nextBlock: 0, endBlock: 0 };
    const progress: Progress = {
      migration: this.migration,
      pass: checkpoint?.pass ?? 1,
      blocksDone: nextBlock,
      blocksTotal: endBlock,
      ratio: checkpoint ? ratioOf(checkpoint) : 0,
      rowsFilled: checkpoint?.rowsFilled ?? 0,
      rowsLeft: checkpoint && account.rowsLeft(endBlock - nextBlock),
      rowsPerSecond: account.rowsPerSecond(),
      etaSeconds: checkpoint && account.etaSeconds(endBlock - nextBlock, endBlock),
      chunkMs: this.chunkMs,
      throttled,
      slowed,
      restFactor,
      spent: account.spent(),
      shares: account.shares(),
      retries: this.retries,
      notes: [...this.notes],
      lag,
    };
    this.gauges.show(progress);
    return progress;
  }

  /** It does not run any more. */
  clear(): void {
    this.gauges.clear();
  }
}

function ratioOf({ nextBlock, endBlock }: Checkpoint): number {
  return endBlock === 0 ? 1 : Math.min(1, nextBlock / endBlock);
}
