import type pg from 'pg';
import type { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { CHANNEL, installSchema } from '../../db/schema.js';
import { Metrics } from '../../metrics/registry.js';
import { Coordinator } from '../../migration/coordinator.js';
import { parseDefinition } from '../../migration/definition.js';
import type { PhaseName, Request } from '../../migration/phase.js';
import type { Settings } from '../../migration/plan.js';
import { makePlan } from '../../migration/planner.js';
import { requestMove } from '../../migration/request.js';
import { insertMigration, loadMigration, type Migration } from '../../migration/store.js';
import { Wake } from '../../migration/wake.js';
import { loadParser } from '../../sql/rewriter.js';
import type { Guard } from '../../sql/rules.js';

/** Settings of a test: no waiting that is not asked for. */
export const SETTINGS: Settings = {
  cutover: 'manual',
  columnOrder: 'keep',
  soakMs: 0,
  maxLagMs: 1_000,
  maxLagBytes: 64 * 1024 * 1024,
  chunkTargetMs: 50,
};

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A control plane for tests: a coordinator in this process, on a database of its own. */
export class Plane {
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;

  private constructor(
    readonly url: string,
    readonly control: pg.Client,
  ) {
    const coordinator = new Coordinator({ url, metrics: new Metrics(), log: quiet });
    this.running = coordinator.run(this.stopping.signal);
  }

  static async open(cluster: Cluster, database: string): Promise<Plane> {
    const url = cluster.url(database);
    const control = await connect({ url, role: 'test' });
    await loadParser();
    await installSchema(control);
    return new Plane(url, control);
  }

  async start(
    name: string,
    sql: string,
    settings: Partial<Settings> = {},
    guard: Guard = 'repair',
  ): Promise<Migration> {
    const definition = parseDefinition(sql, `${name}.sql`);
    const plan = await makePlan(this.control, definition, guard);
    return insertMigration(this.control, name, definition, plan, { ...SETTINGS, ...settings });
  }

  /** Asks for something and waits until the migration is there. */
  async ask(name: string, request: Request, until: PhaseName): Promise<Migration> {
    await requestMove(this.control, name, request);
    return this.reach(name, until);
  }

  /** Waits until a migration is in a phase; fails when it pauses, or after 30 s. */
  async reach(name: string, ...until: PhaseName[]): Promise<Migration> {
    const listener = await connect({ url: this.url, role: 'test' });
    const wake = new Wake();
    wake.listenTo(listener);
    await listener.query(`LISTEN ${CHANNEL}`);
    const timeout = AbortSignal.timeout(30_000);
    try {
      for (;;) {
        const migration = await loadMigration(listener, name);
        if (until.includes(migration.phase.name)) return migration;
        if (migration.paused !== null) throw new Error(`paused: ${migration.paused}`);
        if (timeout.aborted) throw new Error(`still ${JSON.stringify(migration.phase)}`);
        await wake.wait(200, timeout);
      }
    } finally {
      await listener.end();
    }
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
