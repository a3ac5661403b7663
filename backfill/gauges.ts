import type { Metrics } from '../metrics/registry.js';
import type { Progress } from './progress.js';

/** Shows a running backfill's progress to Prometheus, and takes away what would go stale. */
export class Gauges {
  private waiting: string | null = null;
  private readonly shared = new Set<string>();

  constructor(
    private readonly metrics: Metrics,
    private readonly migration: string,
  ) {}

  show(progress: Progress): void {
    const { metrics, migration } = this;
    const { blocksDone, blocksTotal, rowsFilled, rowsLeft, rowsPerSecond, etaSeconds } = progress;
    const blocks = (state: 'done' | 'left', n: number) =>
      metrics.set('pgtandem_backfill_blocks', { migration, state }, n);
    blocks('done', blocksDone);
    blocks('left', blocksTotal - blocksDone);
    const rows = (state: 'done' | 'left', n: number | null) => {
      if (n === null) metrics.remove('pgtandem_backfill_rows', { migration, state });
      else metrics.set('pgtandem_backfill_rows', { migration, state }, n);
    };
    rows('done', rowsFilled);
    rows('left', rowsLeft);
    this.known('pgtandem_backfill_rows_per_second', rowsPerSecond);
    this.known('pgtandem_backfill_eta_seconds', etaSeconds);
    metrics.set('pgtandem_backfill_workers', { migration }, progress.workers);
    this.wait(progress.throttled?.name ?? null);
    for (const [reason, share] of Object.entries(progress.shares)) {
      this.shared.add(reason);
      metrics.set('pgtandem_backfill_time_ratio', { migration, reason }, share);
    }
  }

  /** The backfill does not run any more: only how far it came is still true. */
  clear(): void {
    const { metrics, migration } = this;
    for (const state of ['done', 'left']) {
      metrics.remove('pgtandem_backfill_blocks', { migration, state });
      metrics.remove('pgtandem_backfill_rows', { migration, state });
    }
    this.known('pgtandem_backfill_rows_per_second', null);
    this.known('pgtandem_backfill_eta_seconds', null);
    metrics.remove('pgtandem_backfill_workers', { migration });
    this.wait(null);
    for (const reason of this.shared) {
      metrics.remove('pgtandem_backfill_time_ratio', { migration, reason });
    }
  }

  private known(
    name: 'pgtandem_backfill_rows_per_second' | 'pgtandem_backfill_eta_seconds',
    value: number | null,
  ): void {
    const labels = { migration: this.migration };
    if (value === null) this.metrics.remove(name, labels);
    else this.metrics.set(name, labels, value);
  }

  private wait(reason: string | null): void {
    const { metrics, migration, waiting } = this;
    if (waiting !== null && waiting !== reason) {
      metrics.remove('pgtandem_backfill_waiting', { migration, reason: waiting });
    }
    if (reason !== null) metrics.set('pgtandem_backfill_waiting', { migration, reason }, 1);
    this.waiting = reason;
  }
}
