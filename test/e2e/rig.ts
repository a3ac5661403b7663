import type pg from 'pg';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect } from '../../db/connect.js';
import type { PhaseName, Request } from '../../migration/phase.js';
import { requestMove } from '../../migration/request.js';
import type { Migration } from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration, untilMigration } from '../migration/drive.js';
import type { Tail } from '../migration/plane.js';

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

  start(...args: Tail<Parameters<typeof startMigration>>): Promise<Migration> {
    return startMigration(this.control, ...args);
  }

  async ask(name: string, request: Request, ...until: PhaseName[]): Promise<Migration> {
    await requestMove(this.control, name, request);
    return this.reach(name, ...until);
  }

  /** Waits until a migration is in a phase; fails when it pauses, or after a minute. */
  async reach(name: string, ...until: PhaseName[]): Promise<Migration> {
    return this.when(name, (migration) => until.includes(migration.phase.name));
  }

  /** Waits until a migration is as wanted; when it fails, what the proxy has logged is told too. */
  async when(name: string, wanted: (migration: Migration) => boolean): Promise<Migration> {
    try {
      return await untilMigration(this.cluster.url(), name, wanted);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.proxy.log.join('\n')}`);
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
