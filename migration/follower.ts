import { randomUUID } from 'node:crypto';
import { type Connection, connect } from '../db/connect.js';
import { CHANNEL, installSchema } from '../db/schema.js';
import type { RuleSet } from '../sql/rules.js';
import type { Log } from './context.js';
import { notify } from './store.js';
import { Wake } from './wake.js';

/** How long a proxy may go without renewing before others count it as gone, milliseconds. */
export const LEASE_MS = 5_000;
const RENEW_MS = 1_000;
/** Without a renewal for so long the lease is in doubt: statements on migrating tables wait. */
const DOUBT_MS = 2_500;
/** And for so long it is as good as lost: sessions that touch them end, before others go on. */
const LOST_MS = 4_000;

/** What a follower yields: rules to put in force, or what became of the lease. */
export type Followed =
  | { kind: 'rules'; rules: RuleSet }
  | { kind: 'lease'; state: 'held' | 'doubt' | 'lost' };

export interface FollowerOptions {
  url: string;
  /** Shown to people who wait for this proxy, e.g. `127.0.0.1:6432`. */
  address: string;
  version: string;
  log: Log;
}

/**
 * Keeps a proxy registered in the database, with a lease, and follows the rule set: by
 * notification, and by reading at each renewal. Times are this process's own clock, counted from
 * before a renewal was sent, so the lease is never thought to last longer than the database says.
 */
export class Follower {
  private readonly id = randomUUID();
  private readonly wake = new Wake();
  private acknowledged = 0;
  private told = 0;

  constructor(private readonly options: FollowerOptions) {}

  /** To be called when a rule set that was yielded is in force and its drain is over. */
  acknowledge(epoch: number): void {
    if (epoch > this.acknowledged) this.acknowledged = epoch;
    this.wake.ring();
  }

  /** Yields until `signal` aborts, then takes the registration away. */
  async *follow(signal: AbortSignal): AsyncGenerator<Followed> {
    let connection: Connection | null = null;
    let epoch = -1;
    let renewed = performance.now();
    let state: 'held' | 'doubt' | 'lost' = 'held';
    while (!signal.aborted) {
      const attempt = performance.now();
      let rules: RuleSet | null = null;
      try {
        connection ??= await this.open();
        rules = await within(LEASE_MS / 2, this.renew(connection));
        renewed = attempt;
      } catch (error) {
        this.options.log.warn({ error: String(error) }, 'lease not renewed');
        connection?.end().catch(() => undefined);
        connection = null;
      }
      const now = leaseState(performance.now() - renewed);
      if (rules && rules.epoch !== epoch) {
        epoch = rules.epoch;
        yield { kind: 'rules', rules };
      }
      if (now !== state) {
        state = now;
        yield { kind: 'lease', state };
      }
      if (this.acknowledged > this.told && connection) continue;
      await this.wake.wait(connection ? RENEW_MS : RENEW_MS / 4, signal);
    }
    if (connection) await this.leave(connection);
  }

  private async open(): Promise<Connection> {
    const { url } = this.options;
    const connection = await connect({ url, role: 'proxy', timeoutMs: LEASE_MS / 2 });
    await installSchema(connection);
    await connection.query(`LISTEN ${CHANNEL}`);
    this.wake.listenTo(connection);
    return connection;
  }

  /** Renews the lease, says what has been acknowledged, and reads the rules, in one round trip. */
  private async renew(connection: Connection): Promise<RuleSet> {
    const { address, version } = this.options;
    const acknowledged = this.acknowledged;
    const { rows } = await connection.query(
      `WITH renewed AS (
         INSERT INTO pgtandem.proxy AS p (id, address, version, lease_until, epoch)
         VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 ms', $5)
         ON CONFLICT (id) DO UPDATE
           SET lease_until = excluded.lease_until, epoch = greatest(p.epoch, excluded.epoch))
       SELECT rule_set FROM pgtandem.rules`,
      [this.id, address, version, LEASE_MS, acknowledged],
    );
    if (acknowledged > this.told) {
      this.told = acknowledged;
      await notify(connection);
    }
    return rows[0].rule_set;
  }

  private async leave(connection: Connection): Promise<void> {
    try {
      await connection.query('DELETE FROM pgtandem.proxy WHERE id = $1', [this.id]);
      await notify(connection);
      await connection.end();
    } catch (error) {
      this.options.log.warn({ error: String(error) }, 'could not sign off; the lease will run out');
    }
  }
}

/** What a lease is worth when it was last renewed so long ago. Pure. */
export function leaseState(ageMs: number): 'held' | 'doubt' | 'lost' {
  if (ageMs >= LOST_MS) return 'lost';
  return ageMs >= DOUBT_MS ? 'doubt' : 'held';
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
