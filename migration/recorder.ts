import { type Connection, open } from '../db/connect.js';
import type { Log } from './context.js';
import { type Sighted, saveSeen } from './seen.js';

/** How often what was seen is saved, milliseconds. */
export const RECORD_MS = 2_000;
/** How often it is reported how long requests take, milliseconds. */
export const REPORT_MS = 1_000;
/** So much is kept for the next time while the database does not answer. */
const KEPT_MAX = 20_000;

export interface RecorderOptions {
  url: string;
  /** The proxy's id in `pgtandem.proxy`. */
  proxy: string;
  log: Log;
}

/** Saves what a proxy has seen in its database, on a connection that nothing else waits for. */
export class Recorder {
  private connection: Connection | null = null;
  private kept: Sighted[] = [];
  /** One that was lost is told of once. */
  private failing = false;

  constructor(private readonly options: RecorderOptions) {}

  /**
   * Never throws: what is reported next has it, too.
   * @param latencies counts by oid and bucket.
   * @param stolenMs what the host of the proxy's machine has taken of it so far; null: not known.
   */
  async report(
    latencies: Record<string, Record<string, number>>,
    stolenMs: number | null,
  ): Promise<void> {
    await this.attempt((connection) =>
      connection.query({
        name: 'latency',
        text: 'UPDATE pgtandem.proxy SET latency = $2, latency_at = clock_timestamp() WHERE id = $1',
        values: [this.options.proxy, JSON.stringify({ ...latencies, stolenMs })],
      }),
    );
  }

  /** Never throws: what could not be saved is saved the next time. */
  async record(sighted: readonly Sighted[]): Promise<void> {
    this.kept.push(...sighted);
    const { proxy } = this.options;
    const isSaved = await this.attempt((connection) => saveSeen(connection, proxy, this.kept));
    if (isSaved) this.kept = [];
    else this.kept.splice(0, this.kept.length - KEPT_MAX);
  }

  /** @returns whether it was done. */
  private async attempt(work: (connection: Connection) => Promise<unknown>): Promise<boolean> {
    const { url, log } = this.options;
    // A server that hangs does not answer the end either: this cuts the connection.
    const timer = setTimeout(() => void this.close(), RECORD_MS * 2);
    try {
      this.connection ??= (await open({ url, role: 'recorder', timeoutMs: RECORD_MS })).connection;
      await work(this.connection);
      this.failing = false;
      return true;
    } catch (error) {
      if (!this.failing) log.warn({ error: String(error) }, 'what was seen is not saved yet');
      this.failing = true;
      await this.close();
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    const { connection } = this;
    this.connection = null;
    await connection?.end().catch(() => undefined);
  }
}
