import { type Connection, open, survey } from '../db/connect.js';
import { choose, describeKnown, parseTarget, type Target } from '../db/target.js';
import type { Metrics } from '../metrics/registry.js';
import type { Log } from '../migration/context.js';
import { UserError } from '../migration/errors.js';
import { type Followed, Follower } from '../migration/follower.js';
import { describeUpstream, type Upstream } from '../proxy/dial.js';
import type { ScramOptions } from '../proxy/login.js';
import type { Proxy as Relay } from '../proxy/proxy.js';
import type { RealmOptions } from '../proxy/realm.js';
import type { ClientTls } from '../proxy/tls.js';
import { withDatabase } from './database.js';
import type { LeaseState } from './keeper/health.js';
import { recordSightings } from './record.js';
import { judgeScram, mayReadVerifiers, VerifierReader } from './scram.js';
import { describeCertificate } from './tls.js';
import { reloadUpstream, upstreamOf } from './upstream.js';

export interface TargetSettings {
  /** What clients ask for; null: what is asked for by no other name. */
  name: string | null;
  /** Connection string of control, of one host or several. */
  url: string;
}

export interface TargetHouse {
  /** Shown to people who wait for this proxy. */
  address: string;
  version: string;
  metrics: Metrics;
  log: Log;
}

/** How often all hosts are looked at, milliseconds: is there a second primary, or a better standby? */
const SURVEY_MS = 5_000;

/** One database behind the proxy: where it is, its rules, its migrations. */
export class DatabaseTarget {
  lease: LeaseState = 'held';
  /** Rules are in force, or never will be. */
  following = false;
  private readonly follower: Follower | null;
  private relay: Relay | null = null;
  private moved: () => void = () => undefined;
  /** Place whose rules are in force. */
  private term = 0;
  private reached: { url: string; upstream: Upstream } | null = null;

  private constructor(
    private readonly settings: TargetSettings,
    private readonly house: TargetHouse,
    private readonly target: Target,
    private readonly found: { database: string; cluster: string; url: string },
    private readonly verifiers: VerifierReader | null,
  ) {
    const { address, version, log } = house;
    const { url } = settings;
    const newcomers = () => this.relay?.realm(settings.name).takeNewcomers() ?? [];
    const options = { url, address, version, log, newcomers };
    this.follower = isRead(target) ? null : new Follower(options);
  }

  /** @throws UserError that says which server was tried, and what to look at. */
  static async open(settings: TargetSettings, house: TargetHouse): Promise<DatabaseTarget> {
    const found = await withDatabase(settings.url, identify);
    const { connection, url } = await open({ url: settings.url, role: 'cli' });
    const verifiers = (await mayReadVerifiers(connection))
      ? new VerifierReader(settings.url)
      : null;
    await connection.end();
    const target = parseTarget(settings.url);
    return new DatabaseTarget(settings, house, target, { ...found, url }, verifiers);
  }

  /**
   * Finds out how logins by SCRAM go, and says so in the log.
   * @throws UserError for what cannot work.
   */
  async judge(mode: ScramOptions['mode'], tls: ClientTls | undefined): Promise<void> {
    const { log } = this.house;
    const options = { mode, verifierOf: this.verifierOf };
    const { ways, warning } = await judgeScram(options, upstreamOf(this.found.url), tls);
    const certificate = tls && describeCertificate(tls);
    log.info({ ...this.state(), scram: ways, certificate }, 'encryption');
    if (warning) log.warn({ ...this.state(), scram: ways }, warning);
  }

  /** Reads the files of its TLS again. @throws UserError, and nothing is changed. */
  reload(): void {
    if (this.reached) reloadUpstream(this.reached.upstream, this.reached.url);
  }

  async close(): Promise<void> {
    await this.verifiers?.close();
  }

  private get verifierOf(): ScramOptions['verifierOf'] {
    const { verifiers } = this;
    return verifiers ? (user) => verifiers.verifierOf(user) : undefined;
  }

  /** Where sessions go from now on. */
  private lead(url: string): Upstream {
    const upstream = upstreamOf(url);
    this.reached = { url, upstream };
    return upstream;
  }

  get name(): string | null {
    return this.settings.name;
  }

  /** Names the database among all: no two targets may be the same. */
  get identity(): string {
    return `${this.found.cluster} ${this.found.database}`;
  }

  /** Of control. */
  get url(): string {
    return this.settings.url;
  }

  /** Somebody found that its address leads to another server than that which is followed. */
  stray(): void {
    this.follower?.stray();
  }

  /** Whether migrations of it are carried out, and followed. */
  get isRuled(): boolean {
    return this.follower !== null;
  }

  /** What the proxy has to know of it before anything is followed. */
  realm(): RealmOptions {
    const { database, cluster, url } = this.found;
    const common = { name: this.settings.name, database, verifierOf: this.verifierOf };
    const stray = () => this.stray();
    if (!moves(this.target)) return { ...common, cluster, upstream: this.lead(url), stray };
    if (!this.follower) {
      const standby = this.target.attrs === 'standby' ? true : null;
      const doubt = () => this.wake();
      return { ...common, upstream: this.lead(url), isRuled: false, standby, doubt };
    }
    const doubt = () => this.follower?.doubt();
    return { ...common, cluster, upstream: null, standby: false, doubt, stray };
  }

  /**
   * Runs until `leaving` aborts; `first` is called when rules are in force.
   * @param moved called when it is at another server.
   */
  async run(
    proxy: Relay,
    signal: AbortSignal,
    first: () => void,
    moved: () => void,
  ): Promise<void> {
    const { log } = this.house;
    const { url } = this.settings;
    this.moved = moved;
    this.relay = proxy;
    const surveyed = moves(this.target) ? this.watch(proxy, signal) : undefined;
    if (!this.follower) {
      this.following = true;
      first();
      return await surveyed;
    }
    await Promise.all([
      this.follow(this.follower, proxy, signal, first),
      recordSightings(
        proxy.realm(this.settings.name),
        { url, proxy: this.follower.id, log },
        signal,
        () => this.term,
      ),
      surveyed,
    ]);
  }

  state(): { database: string; lease: LeaseState } {
    return { database: this.settings.name ?? this.found.database, lease: this.lease };
  }

  /** Rules go from the follower to the proxy, and what it has drained back to the follower. */
  private async follow(
    follower: Follower,
    proxy: Relay,
    signal: AbortSignal,
    first: () => void,
  ): Promise<void> {
    const realm = proxy.realm(this.settings.name);
    for await (const item of follower.follow(signal)) {
      if (item.kind === 'rules') {
        this.putInForce(follower, proxy, item);
        this.following = true;
        first();
      } else if (item.kind === 'place') {
        realm.settle(this.lead(item.place.url), item.place.started);
      } else if (item.kind === 'strangers') {
        if (!realm.endStrangers(item.pids)) continue;
        this.house.log.warn({ ...this.state() }, 'the address leads to another server now');
        follower.stray();
      } else {
        this.lease = item.state;
        this.house.log.warn({ ...this.state() }, 'lease');
        realm.fence(this.lease !== 'held');
        if (this.lease === 'lost') {
          realm.closeTouching('pgtandem has lost touch with its database');
        }
      }
    }
  }

  private putInForce(
    follower: Follower,
    proxy: Relay,
    { rules, place }: Extract<Followed, { kind: 'rules' }>,
  ): void {
    const { log } = this.house;
    const realm = proxy.realm(this.settings.name);
    const upstream = this.lead(place.url);
    const tables = rules.tables.map((table) => table.name);
    const server = describeUpstream(upstream);
    log.info({ ...this.state(), epoch: rules.epoch, tables, server }, 'rules');
    const enter = async () => realm.begin(upstream, rules, place.started);
    // Not awaited: the next rules may come before this drain is over.
    const drained = place.term === this.term ? realm.apply(rules) : enter();
    if (place.term !== this.term && this.term > 0) this.leaveBehind();
    this.term = place.term;
    drained.then(
      () => follower.acknowledge(rules.epoch, place),
      (error) => log.error({ error: String(error) }, 'rules could not be put in force'),
    );
  }

  /** Nothing goes on at the server that was followed before. */
  private leaveBehind(): void {
    this.moved();
    void this.verifiers?.close();
  }

  private wake: () => void = () => undefined;

  /**
   * Looks at all hosts from time to time. Two that can be written to are told of, loudly; what is
   * followed stays. Where standbys are read from, this is what leads to them.
   */
  private async watch(proxy: Relay, signal: AbortSignal): Promise<void> {
    const { metrics, log } = this.house;
    const realm = proxy.realm(this.settings.name);
    let present: string | null = this.found.url;
    while (!signal.aborted) {
      await new Promise<void>((resolve) => {
        const go = () => {
          clearTimeout(timer);
          signal.removeEventListener('abort', go);
          resolve();
        };
        const timer = setTimeout(go, SURVEY_MS);
        signal.addEventListener('abort', go);
        this.wake = go;
      });
      if (signal.aborted) return;
      const { target, known } = await survey({ url: this.settings.url, role: 'survey' });
      const index = present === null ? null : target.urls.indexOf(present);
      const { order, split } = choose(known, target.attrs, index);
      const hosts = describeKnown(target.urls, known);
      if (split.length > 1) {
        metrics.count('pgtandem_errors_total', { kind: 'split-brain' });
        log.error({ ...this.state(), hosts }, 'several hosts say that they are the primary');
      }
      if (this.follower) continue;
      present = order.length > 0 ? target.urls[order[0]!]! : null;
      if (present) realm.settle(this.lead(present));
      else log.warn({ ...this.state(), hosts }, `no host is ${target.attrs}`);
    }
  }
}

/** Whether sessions only read there: no lease can be held at a standby, so there are no rules. */
function isRead({ attrs }: Target): boolean {
  return attrs === 'standby' || attrs === 'prefer-standby' || attrs === 'read-only';
}

/** Whether it may be at another host than now, or at one of the wrong kind. */
function moves({ urls, attrs }: Target): boolean {
  return urls.length > 1 || attrs !== 'any';
}

async function identify(connection: Connection): Promise<{ database: string; cluster: string }> {
  const { rows } = await connection.query(
    `SELECT current_database() AS database,
       (SELECT system_identifier::text FROM pg_control_system()) AS cluster`,
  );
  return rows[0];
}

/** @throws UserError when two names lead to one database: its rules could not hold for both. */
export function refuseDuplicates(targets: readonly DatabaseTarget[]): void {
  const names = new Set<string | null>();
  const seen = new Map<string, DatabaseTarget>();
  for (const target of targets) {
    const label = target.name ?? 'the upstream';
    if (names.has(target.name)) {
      throw new UserError(`--database ${label} is given twice.`, 'Give each name once.');
    }
    names.add(target.name);
    const other = target.isRuled ? seen.get(target.identity) : undefined;
    if (other) {
      throw new UserError(
        `${label} and ${other.name ?? 'the upstream'} are the same database.`,
        'Leave one of them out: a database has one set of rules.',
      );
    }
    if (target.isRuled) seen.set(target.identity, target);
  }
}
