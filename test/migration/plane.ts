import type pg from 'pg';
import type { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { installSchema } from '../../db/schema.js';
import { Metrics } from '../../metrics/registry.js';
import type { Log } from '../../migration/context.js';
import { Coordinator } from '../../migration/coordinator.js';
import type { PhaseName, Request } from '../../migration/phase.js';
import { requestMove } from '../../migration/request.js';
import type { Migration } from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration, untilMigration } from './drive.js';

/** The arguments but the first. */
export type Tail<T extends unknown[]> = T extends [unknown, ...infer Rest] ? Rest : never;

const quiet: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A control plane for tests: a coordinator in this process, on a database of its own. */
export class Plane {
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;
  readonly metrics = new Metrics();

  private constructor(
    readonly url: string,
    readonly control: pg.Client,
    log: Log,
  ) {
    const coordinator = new Coordinator({ url, metrics: this.metrics, log });
    this.running = coordinator.run(this.stopping.signal);
  }

  static async open(cluster: Cluster, database: string, log: Log = quiet): Promise<Plane> {
    const url = cluster.url(database);
    const control = await connect({ url, role: 'test' });
    await loadParser();
    await installSchema(control);
    return new Plane(url, control, log);
  }

  start(...args: Tail<Parameters<typeof startMigration>>): Promise<Migration> {
    return startMigration(this.control, ...args);
  }

  /** Asks for something and waits until the migration is there. */
  async ask(name: string, request: Request, until: PhaseName): Promise<Migration> {
    await requestMove(this.control, name, request);
    return this.reach(name, until);
  }

  /** Waits until a migration is in a phase; fails when it pauses. */
  reach(name: string, ...until: PhaseName[]): Promise<Migration> {
    return untilMigration(this.url, name, ({ phase }) => until.includes(phase.name));
  }

  async query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.control.query(sql, values)).rows;
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await this.control.end();
  }
}
