import type { Metrics } from '../metrics/registry.js';
import { Account, type Expense, type Spent } from './account.js';
import { Gauges } from './gauges.js';
import type { Progress, StandbyLag } from './progress.js';
import type { Reason } from './throttle.js';

/** Where a backfill stands, in blocks wherever they are: with several workers not all in a row. */
export interface Reached {
  pass: number;
  blocksDone: number;
  blocksTotal: number;
  rowsFilled: number;
}

/** Of a {@link Progress} what the engine knows and the report does not. */
export interface Now {
  reached: Reached | null;
  throttled: Reason | null;
  slowed: Reason | null;
  workers: number;
  workersMax: number;
  restFactor: number;
  lag: StandbyLag[];
}

/** At most so long between two reports while nothing changes, milliseconds. */
const EVERY_MS = 400;

const NOWHERE: Reached = { pass: 1, blocksDone: 0, blocksTotal: 0, rowsFilled: 0 };

/** Keeps account of what a backfill does, in the metrics and for the next progress. */
export class Report {
  private readonly account: Account;
  private readonly gauges: Gauges;
  private readonly labels: { migration: string };
  private chunkMs = 0;
  private retries = 0;
  private toldMs = performance.now();
  private told: string | null = null;
  /** What the operator should know, by what it is of. */
  readonly notes = new Map<string, string>();

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
  reach(reached: Reached | null, rows: number): void {
    if (!reached) return;
    this.spend('filling');
    this.account.reach(reached.blocksDone, reached.rowsFilled, reached.blocksTotal);
    this.metrics.count('pgtandem_backfill_rows_total', this.labels, rows);
    this.metrics.set('pgtandem_backfill_progress_ratio', this.labels, ratioOf(reached));
  }

  /** @param why it stands still now, or null. */
  isDue(why: Reason | null): boolean {
    const changed = (why?.name ?? null) !== this.told;
    return changed || performance.now() - this.toldMs >= EVERY_MS;
  }

  /** Tells it, and shows it in the metrics. */
  progress({ reached, ...now }: Now): Progress {
    const { account } = this;
    this.toldMs = performance.now();
    this.told = now.throttled?.name ?? null;
    const { pass, blocksDone, blocksTotal, rowsFilled } = reached ?? NOWHERE;
    const left = blocksTotal - blocksDone;
    const progress: Progress = {
      migration: this.migration,
      pass,
      blocksDone,
      blocksTotal,
      ratio: reached ? ratioOf(reached) : 0,
      rowsFilled,
      rowsLeft: reached && account.rowsLeft(left),
      rowsPerSecond: account.rowsPerSecond(),
      etaSeconds: reached && account.etaSeconds(left, blocksTotal),
      chunkMs: this.chunkMs,
      ...now,
      spent: account.spent(),
      shares: account.shares(),
      retries: this.retries,
      notes: [...this.notes.values()],
    };
    this.gauges.show(progress);
    return progress;
  }

  /** It does not run any more. */
  clear(): void {
    this.gauges.clear();
  }
}

function ratioOf({ blocksDone, blocksTotal }: Reached): number {
  return blocksTotal === 0 ? 1 : Math.min(1, blocksDone / blocksTotal);
}
