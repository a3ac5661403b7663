import type pg from 'pg';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect } from '../../db/connect.js';
import { CHANNEL } from '../../db/schema.js';
import { parseDefinition } from '../../migration/definition.js';
import type { PhaseName, Request } from '../../migration/phase.js';
import type { Settings } from '../../migration/plan.js';
import { makePlan } from '../../migration/planner.js';
import { requestMove } from '../../migration/request.js';
import { insertMigration, loadMigration, type Migration } from '../../migration/store.js';
import { Wake } from '../../migration/wake.js';
import { loadParser } from '../../sql/rewriter.js';
import type { Guard } from '../../sql/rules.js';
import { SETTINGS } from '../migration/plane.js';

/** A server, a proxy process before it, and a control connection beside them. */
export class Rig {
  private constructor(
    readonly cluster: Cluster,
    public proxy: ProxyProcess,
    readonly control: pg.Client,
  ) {}

  /** @param role with which the proxy controls the database; made when it is another. */
  static async open(major = 18, role = 'postgres'): Promise<Rig> {
    const cluster = await Cluster.create({ major });
    try {
      if (role !== 'postgres') {
        const admin = await cluster.client();
        await admin.query(`CREATE ROLE ${role} SUPERUSER LOGIN`);
        await admin.end();
      }
      const proxy = await ProxyProcess.start(cluster.url('postgres', role));
      await loadParser();
      return new Rig(cluster, proxy, await connect({ url: cluster.url(), role: 'test' }));
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
  }

  /** Kills the proxy and starts another at the same address. */
  async killProxy(): Promise<void> {
    const { address } = this.proxy;
    await this.proxy.end('SIGKILL');
    this.proxy = await ProxyProcess.start(this.cluster.url(), address);
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

  async ask(name: string, request: Request, ...until: PhaseName[]): Promise<Migration> {
    await requestMove(this.control, name, request);
    return this.reach(name, ...until);
  }

  /** Waits until a migration is in a phase; fails when it pauses, or after a minute. */
  async reach(name: string, ...until: PhaseName[]): Promise<Migration> {
    return this.when(name, (migration) => until.includes(migration.phase.name));
  }

  async when(name: string, condition: (migration: Migration) => boolean): Promise<Migration> {
    const listener = await connect({ url: this.cluster.url(), role: 'test' });
    const wake = new Wake();
    wake.listenTo(listener);
    await listener.query(`LISTEN ${CHANNEL}`);
    const timeout = AbortSignal.timeout(60_000);
    try {
      for (;;) {
        const migration = await loadMigration(listener, name);
        if (condition(migration)) return migration;
        if (migration.paused !== null) throw new Error(`paused: ${migration.paused}`);
        if (timeout.aborted) {
          const { phase, progress } = migration;
          throw new Error(
            `still ${JSON.stringify({ phase, progress })}\n${this.proxy.log.join('\n')}`,
          );
        }
        await wake.wait(100, timeout);
      }
    } finally {
      await listener.end();
    }
  }

  /** Waits until every proxy has put the present rules in force. */
  async applied(name: string): Promise<void> {
    for (;;) {
      const all = `SELECT bool_and(p.epoch >= r.epoch) FROM pgtandem.proxy p, pgtandem.rules r
        WHERE p.lease_until > clock_timestamp()`;
      if (await this.one(all)) return;
      await this.when(name, () => true);
    }
  }

  async query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.control.query(sql, values)).rows;
  }

  async one(sql: string): Promise<unknown> {
    return Object.values((await this.query(sql))[0] ?? {})[0];
  }

  async close(): Promise<void> {
    await this.control.end();
    await this.proxy.end('SIGTERM');
    await this.cluster.destroy();
  }
}
