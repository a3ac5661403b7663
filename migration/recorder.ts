import { type Connection, open } from '../db/connect.js';
import type { Log } from './context.js';
import { type Sighted, saveSeen } from './seen.js';

/** How often what was seen is saved, milliseconds. */
export const RECORD_MS = 2_000;
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

  /** Never throws: what could not be saved is saved the next time. */
  async record(sighted: readonly Sighted[]): Promise<void> {
    this.kept.push(...sighted);
    const { url, proxy, log } = this.options;
    // A server that hangs does not answer the end either: this cuts the connection.
    const timer = setTimeout(() => void this.close(), RECORD_MS * 2);
    try {
      this.connection ??= (await open({ url, role: 'recorder', timeoutMs: RECORD_MS })).connection;
      await saveSeen(this.connection, proxy, this.kept);
      this.kept = [];
      this.failing = false;
    } catch (error) {
      if (!this.failing) log.warn({ error: String(error) }, 'what was seen is not saved yet');
      this.failing = true;
      this.kept.splice(0, this.kept.length - KEPT_MAX);
      await this.close();
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
