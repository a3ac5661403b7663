import type { Opener } from '../../db/connect.js';
import type { Metrics } from '../../metrics/registry.js';
import type { Control } from '../control.js';
import type { BackfillJob, ThrottleSettings } from '../job.js';
import { LagReader } from '../lag.js';
import type { StandbyLag } from '../progress.js';
import type { Signal, SignalName } from '../throttle.js';
import { BlockingWatch } from './blocking.js';
import { Canceller } from './cancel.js';
import { CatalogLook } from './catalog.js';
import { Probes } from './probes.js';

/** Signals that nobody may switch off: without them the others say nothing. */
const ALWAYS: ReadonlySet<SignalName> = new Set(['privilege']);

/**
 * All signals of one backfill, and the connections on which they are observed. It is the same for
 * all partitions, one after another: what is seen over some time does not begin anew with each.
 */
export class SignalWatch {
  private constructor(
    private readonly reader: LagReader,
    private readonly catalog: CatalogLook,
    private readonly probes: Probes,
    private readonly canceller: Canceller,
  ) {}

  /** @throws Error of `pg`, when the server cannot be reached or refuses the login. */
  static async open(open: Opener, job: BackfillJob, metrics: Metrics): Promise<SignalWatch> {
    const catalog = new CatalogLook(job.table.oid, job.namedOid);
    const reader = await LagReader.open(open, metrics, catalog);
    try {
      const canceller = await Canceller.open(open);
      return new SignalWatch(reader, catalog, new Probes(open, job.table.oid), canceller);
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  /** What is of the table is of another one from the next look on. */
  turnTo({ table }: BackfillJob): void {
    this.catalog.tableOid = table.oid;
    this.probes.tableOid = table.oid;
  }

  /** As {@link LagReader.refresh}; what these settings ask for is observed from now on. */
  async refresh(
    settings: ThrottleSettings,
    sinceMs: number,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    this.catalog.settings = settings;
    this.probes.follow(settings);
    // Chunks that nobody can cancel are not begun.
    if (this.canceller.failure) throw this.canceller.failure;
    await this.reader.refresh(sinceMs, limitMs, signal);
  }

  /** When the last look began, by `performance.now()`. */
  get lookedMs(): number {
    return this.reader.lookedMs;
  }

  /** How long ago that was, milliseconds. */
  get ageMs(): number {
    return performance.now() - this.lookedMs;
  }

  /** How many others are at work, on average; not a number before the first look. */
  get others(): number {
    return this.catalog.others.average;
  }

  signals(settings: ThrottleSettings): Signal[] {
    const replication = this.reader.signals(settings);
    // Without a look nothing is known, whatever a probe says.
    if (replication.length === 0) return [];
    const nowMs = performance.now();
    const all = [
      ...replication,
      ...this.catalog.signals(settings, nowMs),
      ...this.probes.signals(settings, nowMs),
    ];
    return all.flatMap((signal) => {
      const chosen = settings.levels?.[signal.name];
      if (chosen === undefined || ALWAYS.has(signal.name)) return [signal];
      return chosen === 'off' ? [] : [{ ...signal, level: chosen }];
    });
  }

  /** What the application is like without the fill. */
  get control(): Control {
    return this.catalog.control;
  }

  get lags(): StandbyLag[] {
    return this.reader.lags;
  }

  async cancel(pid: number): Promise<void> {
    await this.canceller.cancel(pid);
  }

  /** Has what the backend `pid` does cancelled when somebody waits for it. */
  watchBlocked(pid: number): BlockingWatch {
    return new BlockingWatch(() => this.canceller.cancelIfBlocking(pid));
  }

  async close(): Promise<void> {
    await Promise.all([this.probes.close(), this.reader.close(), this.canceller.close()]);
  }
}
