import { randomUUID } from 'node:crypto';
import { type Connection, instanceOf, open } from '../db/connect.js';
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
/** A process that is not there is looked for once more after this: it may just have ended. */
const SECOND_LOOK_MS = 100;

/** The server at which the lease is registered. */
export interface Place {
  /** A connection string of this host alone. */
  url: string;
  /**
   * Grows when the server's history is not the one followed before: a standby was promoted, or
   * commits were lost in a crash. What was put in force and acknowledged before counts no more.
   */
  term: number;
  /** When the server was started, seconds since 1970 with six decimals. */
  started: string;
}

/** What a follower yields: rules to put in force, where, or what became of the lease. */
export type Followed =
  | { kind: 'rules'; rules: RuleSet; place: Place }
  /** The connection was made again, and the lease renewed: all is as it was. */
  | { kind: 'place'; place: Place }
  | { kind: 'lease'; state: 'held' | 'doubt' | 'lost' }
  /** The server has not these processes, though sessions were told that they are theirs. */
  | { kind: 'strangers'; pids: readonly number[] };

export interface FollowerOptions {
  /** A connection string, of one host or several. */
  url: string;
  /** Shown to people who wait for this proxy, e.g. `127.0.0.1:6432`. */
  address: string;
  version: string;
  log: Log;
  /** Server processes of sessions that have begun since the last call. */
  newcomers?: () => readonly number[];
}

/**
 * Keeps a proxy registered in the database, with a lease, and follows the rule set: by
 * notification, and by reading at each renewal. Times are this process's own clock, counted from
 * before a renewal was sent, so the lease is never thought to last longer than the database says.
 */
export class Follower {
  /** Its row in `pgtandem.proxy`. */
  readonly id = randomUUID();
  private readonly wake = new Wake();
  private acknowledged = 0;
  private told = 0;
  private term = 0;
  /** Of the server that was followed last. */
  private history = '';
  private doubted = false;
  private strayed = false;
  /** Of the server that was followed last: which of its lives. */
  private instance = '';
  /** Processes whose server is not known to be this one. */
  private unproved: readonly number[] = [];
  /** Those of them that it did not have, and since when, `performance.now()`. */
  private readonly missing = new Map<number, number>();

  constructor(private readonly options: FollowerOptions) {}

  /** To be called when a rule set that was yielded is in force and its drain is over. */
  acknowledge(epoch: number, place: Place): void {
    if (place.term !== this.term) return;
    if (epoch > this.acknowledged) this.acknowledged = epoch;
    this.wake.ring();
  }

  /** The server does not answer others, or is a standby now: it is looked for again, at once. */
  doubt(): void {
    this.doubted = true;
    this.wake.ring();
  }

  /** Sessions are at another server: the address leads there now, and the connection does not. */
  stray(): void {
    this.strayed = true;
    this.doubt();
  }

  /** Yields until `signal` aborts, then takes the registration away. */
  async *follow(signal: AbortSignal): AsyncGenerator<Followed> {
    let at: Opened | null = null;
    let epoch = -1;
    let renewed = performance.now();
    let state: 'held' | 'doubt' | 'lost' = 'held';
    while (!signal.aborted) {
      const attempt = performance.now();
      let rules: RuleSet | null = null;
      let again = false;
      // A server that was started anew has cut the connection first: its sessions are no strangers.
      if (at?.over()) this.strayed = false;
      if (this.doubted) at = abandon(at);
      this.doubted = false;
      try {
        again = at === null;
        at ??= await this.open();
        rules = await within(LEASE_MS / 2, this.renew(at));
        if (this.strayed && at.instance !== this.instance) this.history = '';
        this.strayed = false;
        this.instance = at.instance;
        renewed = attempt;
      } catch (error) {
        this.options.log.warn({ error: String(error) }, 'lease not renewed');
        at = abandon(at);
      }
      const now = leaseState(performance.now() - renewed);
      if (rules && at) {
        if (at.history === this.history && rules.epoch < epoch) {
          // It has lost commits: registered once more, as at a server that is new to us.
          this.history = '';
          continue;
        }
        const isNew = at.history !== this.history;
        if (isNew) this.begin(at.history);
        const place = { url: at.url, term: this.term, started: at.started };
        if (isNew || rules.epoch !== epoch) yield { kind: 'rules', rules, place };
        else if (again) yield { kind: 'place', place };
        epoch = rules.epoch;
        const pids = this.strangers();
        if (pids.length > 0) yield { kind: 'strangers', pids };
      }
      if (now !== state) {
        state = now;
        yield { kind: 'lease', state };
      }
      if (this.acknowledged > this.told && at) continue;
      const soonMs = this.missing.size > 0 ? SECOND_LOOK_MS : RENEW_MS;
      await this.wake.wait(at ? soonMs : RENEW_MS / 4, signal);
    }
    if (at) await this.leave(at.connection);
  }

  private begin(history: string): void {
    this.history = history;
    this.term++;
    this.acknowledged = 0;
    this.told = 0;
  }

  private async open(): Promise<Opened> {
    const target = { url: this.options.url, role: 'proxy', timeoutMs: LEASE_MS / 2 };
    const { connection, url } = await open(target);
    try {
      await installSchema(connection);
      await connection.query(`LISTEN ${CHANNEL}`);
      const { rows } = await connection.query(
        `SELECT system_identifier AS cluster,
           left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline,
           extract(epoch FROM pg_postmaster_start_time())::text AS started
         FROM pg_control_system()`,
      );
      this.wake.listenTo(connection);
      const { cluster, timeline, started } = rows[0];
      const history = `${url} ${cluster} ${timeline}`;
      let isOver = false;
      connection.once('end', () => {
        isOver = true;
      });
      const over = () => isOver;
      return { connection, url, history, started, instance: await instanceOf(connection), over };
    } catch (error) {
      connection.end().catch(() => undefined);
      throw error;
    }
  }

  /**
   * Renews the lease, says what has been acknowledged, reads the rules, and finds out which of the
   * processes that sessions have been told of the server does not have, in one round trip. Of
   * a server that is new to us nothing has been acknowledged, whatever it has heard from us in its
   * other life; and no epoch is that it does not have itself.
   */
  private async renew({ connection, history }: Opened): Promise<RuleSet> {
    const { address, version } = this.options;
    const isNew = history !== this.history;
    const acknowledged = isNew ? 0 : this.acknowledged;
    this.unproved = [...this.unproved, ...(this.options.newcomers?.() ?? [])];
    const asked = this.unproved;
    const { rows } = await connection.query({
      name: 'lease',
      text: `WITH renewed AS (
         INSERT INTO pgtandem.proxy AS p (id, address, version, lease_until, epoch)
         SELECT $1::uuid, $2, $3, clock_timestamp() + $4 * interval '1 ms', least($5::bigint, epoch)
         FROM pgtandem.rules
         ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until,
           epoch = CASE WHEN $6::boolean THEN excluded.epoch ELSE greatest(p.epoch, excluded.epoch) END)
       SELECT rule_set, ARRAY(SELECT pid FROM unnest($7::int[]) AS p (pid)
         WHERE NOT EXISTS (SELECT FROM pg_stat_get_activity(p.pid))) AS missing
       FROM pgtandem.rules`,
      values: [this.id, address, version, LEASE_MS, acknowledged, isNew, asked],
    });
    this.unproved = rows[0].missing;
    if (acknowledged > this.told) {
      this.told = acknowledged;
      await notify(connection);
    }
    return rows[0].rule_set;
  }

  /** Takes those out of the processes that are not known to be there that have had a second look. */
  private strangers(): number[] {
    const { missing, unproved } = this;
    const now = performance.now();
    for (const pid of missing.keys()) if (!unproved.includes(pid)) missing.delete(pid);
    for (const pid of unproved) if (!missing.has(pid)) missing.set(pid, now);
    const found = unproved.filter((pid) => now - missing.get(pid)! >= SECOND_LOOK_MS);
    for (const pid of found) missing.delete(pid);
    this.unproved = unproved.filter((pid) => missing.has(pid));
    return found;
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

interface Opened {
  connection: Connection;
  url: string;
  /** Address, cluster and timeline: an address may lead to another cluster than before. */
  history: string;
  started: string;
  /** Whether the connection was cut. */
  over(): boolean;
  /** @see instanceOf */
  instance: string;
}

function abandon(at: Opened | null): null {
  at?.connection.end().catch(() => undefined);
  return null;
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
