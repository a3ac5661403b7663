import type { Connection, Opener } from '../db/connect.js';
import {
  deleteStandbys,
  type Replication,
  readFlushed,
  readReplication,
  rememberStandbys,
} from '../db/replication.js';
import type { Metrics } from '../metrics/registry.js';
import { LagHistory } from './history.js';
import type { ThrottleSettings } from './job.js';
import type { StandbyLag } from './progress.js';
import type { CatalogLook } from './signals/catalog.js';
import { lagOf, lostStandbys, signalsOf, streamingStandbys } from './standbys.js';
import type { Signal } from './throttle.js';
import { endsWithin } from './wait.js';

/** When nobody has asked for a look for so long, one is taken: a little longer than who stands still waits. */
const POLL_MS = 700;
/** How often it is seen, between looks, how far the WAL is: a lag in time is good to that. */
const SAMPLE_MS = 250;
/** How often `last_seen` of the known standbys is brought up to date. */
const REMEMBER_MS = 10_000;

/**
 * Looks at replication, and at the catalogs, on a connection of its own, several times a second and
 * whenever it is asked to. It only observes; `signals` tells what the last look means under given settings.
 */
export class LagReader {
  private readonly history = new LagHistory();
  private look: { atMs: number; replication: Replication; lags: StandbyLag[] } | null = null;
  private inFlight: Promise<void> | null = null;
  private failure: unknown = null;
  private closed = false;
  private rememberedMs = Number.NEGATIVE_INFINITY;
  private sampledMs = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout;

  private constructor(
    private readonly connection: Connection,
    private readonly metrics: Metrics,
    private readonly catalog: CatalogLook,
  ) {
    this.timer = this.pollAfter(SAMPLE_MS);
  }

  /** @throws Error of `pg`, when the server cannot be reached or refuses the login. */
  static async open(open: Opener, metrics: Metrics, catalog: CatalogLook): Promise<LagReader> {
    return new LagReader(await open('backfill signals'), metrics, catalog);
  }

  /**
   * Waits for a look that began at `sinceMs` (of `performance.now()`) or later; gives up after
   * `limitMs` or on an abort; the signals tell by their age.
   * @throws what ended the looking: a lost connection, a server in recovery.
   */
  async refresh(sinceMs: number, limitMs: number, signal: AbortSignal): Promise<void> {
    const fresh = async () => {
      while (!this.failure && !this.closed && this.lookedMs < sinceMs) await this.poll();
    };
    await endsWithin(fresh(), limitMs, signal);
    if (this.failure) throw this.failure;
  }

  signals(settings: ThrottleSettings): Signal[] {
    if (!this.look) return [];
    const { atMs, replication, lags } = this.look;
    return signalsOf(replication, lags, settings, performance.now() - atMs);
  }

  get lags(): StandbyLag[] {
    return this.look?.lags ?? [];
  }

  /** When the last look began, of `performance.now()`. */
  get lookedMs(): number {
    return this.look?.atMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Ends the connection at once, and takes its series out of the metrics: they would freeze. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    this.publish([]);
    await endsWithin(this.connection.end(), 1_000);
  }

  private pollAfter(ms: number): NodeJS.Timeout {
    return setTimeout(async () => {
      const nowMs = performance.now();
      if (nowMs - this.lookedMs >= POLL_MS) await this.poll();
      else if (nowMs - this.sampledMs >= SAMPLE_MS) await this.poll(() => this.sample());
      if (this.failure || this.closed) return;
      const dueMs = Math.min(this.lookedMs + POLL_MS, this.sampledMs + SAMPLE_MS);
      this.timer = this.pollAfter(Math.max(1, dueMs - performance.now()));
    }, ms);
  }

  /** One look, or less than one, at a time; never rejects. */
  private poll(work = () => this.observe()): Promise<void> {
    this.inFlight ??= work()
      .catch((error: unknown) => {
        this.failure ??= error;
        clearTimeout(this.timer);
      })
      .finally(() => {
        this.inFlight = null;
      });
    return this.inFlight;
  }

  private async sample(): Promise<void> {
    const atMs = performance.now();
    this.sampledMs = atMs;
    this.history.record(atMs, await readFlushed(this.connection));
  }

  private async observe(): Promise<void> {
    const atMs = performance.now();
    this.sampledMs = atMs;
    const replication = await this.catalog.ask(this.connection, atMs);
    const standbys = streamingStandbys(replication.walSenders);
    this.history.record(atMs, replication.flushed);
    const lags = lagOf(replication, atMs, this.history);
    const behind = [...standbys.values()].map((sender) => sender.replayed!);
    this.history.prune(Math.min(replication.flushed, ...behind));
    // A standby is remembered before its look is used: from the first chunk on its loss is noticed.
    const known = new Set(replication.known);
    const isNew = [...standbys.keys()].some((name) => !known.has(name));
    if (standbys.size > 0 && (isNew || atMs - this.rememberedMs > REMEMBER_MS)) {
      await rememberStandbys(this.connection, [...standbys.keys()]);
      this.rememberedMs = atMs;
    }
    if (this.closed) return;
    this.publish(lags);
    this.look = { atMs, replication, lags };
  }

  private publish(lags: readonly StandbyLag[]): void {
    for (const { standby } of this.lags) {
      this.metrics.remove('pgtandem_replica_lag_seconds', { standby });
      this.metrics.remove('pgtandem_replica_lag_bytes', { standby });
    }
    for (const { standby, seconds, bytes } of lags) {
      if (seconds !== null) this.metrics.set('pgtandem_replica_lag_seconds', { standby }, seconds);
      if (bytes !== null) this.metrics.set('pgtandem_replica_lag_bytes', { standby }, bytes);
    }
  }
}

/**
 * Forgets the known standbys that do not stream now, so that a backfill no longer waits for them.
 * @returns their names.
 */
export async function forgetStandbys(connection: Connection): Promise<string[]> {
  const lost = lostStandbys(await readReplication(connection));
  if (lost.length > 0) await deleteStandbys(connection, lost);
  return lost;
}
