import { Model } from './model.js';
import { Pace } from './pace.js';
import { Random } from './random.js';
import { type Summary, Tally } from './tally.js';
import { type Verification, type VerifyOptions, verifyTable } from './verify.js';
import { Worker } from './worker.js';

export interface LoadOptions {
  /** Where the application connects to: the proxy, or the server itself. */
  url: string;
  /** How many rows the table was seeded with (`createTable`). */
  rows: number;
  /** Connections; 6 when not given. */
  workers?: number;
  /** Of the pseudo-random numbers; printed in the summary. */
  seed?: number;
  /** Statements a second of all workers together; 600 when not given, 0 for as many as go. */
  ratePerSecond?: number;
  /** `application_name` of the connections; `orders-app` when not given. */
  applicationName?: string;
}

/** How long a statement may take to be answered once the load was told to stop, milliseconds. */
const STOP_MS = 10_000;

/**
 * A busy application that checks what it reads. Several connections insert, change, delete and
 * read rows of their own in the application's table, by all the ways of the protocol that drivers
 * use; each knows what its rows must be, and compares every answer with it.
 */
export class Load {
  private readonly tally = new Tally();
  private readonly models: Model[];
  private readonly workers: Worker[];
  private readonly seed: number;
  private runs: Promise<void>[] | undefined;
  private stopped = false;

  constructor(options: LoadOptions) {
    const count = options.workers ?? 6;
    const rate = options.ratePerSecond ?? 600;
    const intervalMs = rate > 0 ? (1_000 * count) / rate : 0;
    this.seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
    this.models = Array.from({ length: count }, (_, i) => new Model(i, count, options.rows));
    this.workers = this.models.map(
      (model, i) =>
        new Worker({
          url: options.url,
          name: options.applicationName ?? 'orders-app',
          model,
          random: new Random(this.seed + i * 7_919),
          pace: new Pace(intervalMs, (intervalMs * i) / count),
          tally: this.tally,
        }),
    );
  }

  /**
   * Connects every worker, then lets them work until {@link stop}.
   * @throws what the driver throws when one cannot connect; then none works.
   */
  async start(): Promise<void> {
    if (this.runs) throw new Error('A load starts once: make another one.');
    this.runs = [];
    try {
      await Promise.all(this.workers.map((worker) => worker.connect()));
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.runs = this.workers.map((worker) => worker.run());
  }

  /**
   * Lets each worker finish what it is at, and disconnects. A statement that has no answer by
   * `withinMs` is given up; its rows are then in doubt.
   */
  async stop({ withinMs = STOP_MS }: { withinMs?: number } = {}): Promise<void> {
    this.stopped = true;
    for (const worker of this.workers) worker.stop();
    const cut = setTimeout(() => {
      for (const worker of this.workers) worker.cut();
    }, withinMs);
    await Promise.all(this.runs ?? []);
    await Promise.all(this.workers.map((worker) => worker.end()));
    clearTimeout(cut);
  }

  /** From now on latencies and complaints belong to this phase; `before` until the first call. */
  mark(phase: string): void {
    this.tally.phase = phase;
  }

  /** What has been seen so far; also while it runs. */
  summary(): Summary {
    return this.tally.summary(this.seed);
  }

  /** Inserts so far whose answer was lost, and whose key only the server knows. */
  get unknownInserts(): number {
    return this.models.reduce((sum, model) => sum + model.lostInserts.length, 0);
  }

  /**
   * Compares the whole table with what the workers know, on a connection of its own.
   * @param url of the server itself, not of the proxy: what counts is what is in the table.
   * @throws Error when the load has not been stopped.
   */
  async verify(url: string, options: VerifyOptions = {}): Promise<Verification> {
    if (!this.stopped) throw new Error('The load is still running: stop it, then verify.');
    return verifyTable(url, this.models, options);
  }
}
