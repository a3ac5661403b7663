import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Metrics } from '../metrics/registry.js';
import type { StatementRewriter } from '../sql/outcome.js';
import type { RuleSet } from '../sql/rules.js';
import type { Cancels } from './cancel.js';
import { sameDatabase } from './database-name.js';
import { describeUpstream, dial, type Upstream } from './dial.js';
import { Drain } from './drain.js';
import { either } from './either.js';
import { Force } from './force.js';
import type { Control } from './gate.js';
import { pidOf } from './key-data.js';
import type { Counts } from './latencies.js';
import type { Limits } from './limits.js';
import type { ScramOptions } from './login.js';
import type { Outbox } from './outbox.js';
import type { Session } from './session.js';
import type { SessionContext } from './session-context.js';
import { type Sighting, Sightings } from './sightings.js';

/** A database that clients are led to, and the server that it is on now. */
export interface RealmOptions {
  /** What a client asks for to come here; null: all names that lead nowhere else. */
  name: string | null;
  /**
   * The database that the rules are of. Of a realm with a name it is the one that its clients get.
   * Without a name, sessions of another database are relayed and never rewritten: a table of the
   * same name, even of the same oid, is not the same table there.
   */
  database: string;
  /** false: there never are rules, whatever the database (standbys). */
  isRuled?: boolean;
  /** The server; null: not known yet, and clients wait for `begin` or `settle`. */
  upstream: Upstream | null;
  /**
   * Asked to find out where the server is now, when it did not answer or was of the wrong kind;
   * `begin` or `settle` is the answer. Without it there is one server, and an error is told at once.
   */
  doubt?: () => void;
  /** Told that sessions are at another server than `begin` or `settle` said, if that said which. */
  stray?: () => void;
  /** What `in_hot_standby` of a server has to be at login; null: either. */
  standby?: boolean | null;
  /**
   * Names the cluster (its system identifier), where known: a client that asks the nameless realm
   * for the very database of another realm is led to that one, so that its rules hold.
   */
  cluster?: string;
  /** Looks up a role's SCRAM verifier, where logins may be ended at the proxy. */
  verifierOf?: ScramOptions['verifierOf'];
}

/** What all realms of a proxy share. */
export interface RealmHouse {
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly cancels: Cancels;
  readonly out: Outbox;
  readonly makeRewriter: (rules: RuleSet) => StatementRewriter;
  loggedIn(session: Session): void;
  gone(session: Session): void;
  failed(kind: string, detail: string, from: string): void;
}

/** The server could not be reached; the message is for the client. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** A server, until it is doubted. */
interface Place {
  readonly upstream: Upstream;
  readonly ruled: SessionContext<Session>;
  readonly elsewhere: SessionContext<Session>;
  /** Aborts when it is not the place any more. */
  readonly left: AbortController;
}

/** How often it is asked at most where the server is, milliseconds. */
const DOUBT_MS = 250;

const MOVED = 'the database has moved to another server';

/** Sessions and rules of one database. */
export class Realm {
  readonly name: string | null;
  readonly database: string;
  private readonly seen = new Sightings();
  private control = this.makeControl(Force.none);
  private readonly sessions = new Set<Session>();
  /** Those that have logged in since `takeNewcomers`. */
  private readonly newcomers = new Set<Session>();
  private readonly drains = new Set<Drain<Session>>();
  private place: Place | null = null;
  private readonly waiting = new Set<() => void>();
  private lastFailure = '';
  private doubtedAt = Number.NEGATIVE_INFINITY;
  private asking: NodeJS.Timeout | undefined;
  private longestHoldMs = 0;

  constructor(
    private readonly options: RealmOptions,
    private readonly house: RealmHouse,
  ) {
    this.name = options.name;
    this.database = options.database;
    if (options.upstream) this.settle(options.upstream);
  }

  /** Where new sessions go now; null while that is in doubt. */
  get upstream(): Upstream | null {
    return this.place?.upstream ?? null;
  }

  get verifierOf(): ScramOptions['verifierOf'] {
    return this.options.verifierOf;
  }

  get cluster(): string | undefined {
    return this.options.cluster;
  }

  /** Whether it may go over to another server. */
  get moves(): boolean {
    return this.options.doubt !== undefined;
  }

  /**
   * Sessions go to this server, which is the same database with the same history as before.
   * @param started when the server was started: what touches a table under migration waits in a
   *   session whose server says another time, and such a session is ended when this is told anew.
   */
  settle(upstream: Upstream, started: string | null = null): void {
    this.control.started = started;
    for (const session of this.ruled()) {
      if (session.view.isElsewhere) session.leave(MOVED);
      else session.rulesChanged();
    }
    const before = this.place;
    if (before && describeUpstream(before.upstream) === describeUpstream(upstream)) return;
    this.leave();
    this.place = this.makePlace(upstream);
    for (const go of [...this.waiting]) go();
  }

  /**
   * Sessions go to this server, and what was in force before counts no more: its history is not
   * the one known up to now (a standby was promoted, or commits were lost). Sessions that are open
   * end: they are of a server that nobody should write to. The rules are in force before the first
   * new session.
   * @throws Error when the rewriter cannot be made; then clients wait, or are refused.
   */
  begin(upstream: Upstream, rules: RuleSet, started: string | null = null): void {
    this.leave();
    const force =
      rules.epoch > 0 ? Force.none.followedBy(rules, this.house.makeRewriter) : Force.none;
    const old = [...this.sessions];
    this.control = this.makeControl(force);
    this.showEpoch();
    for (const session of old) session.leave(MOVED);
    const last = setTimeout(() => {
      for (const session of old) if (this.sessions.has(session)) session.destroy();
    }, this.house.limits.connectTimeoutMs);
    last.unref();
    this.settle(upstream, started);
  }

  private makeControl(force: Force, seen = this.seen): Control {
    return { force, fenced: false, started: null, schema: 0, seen };
  }

  /** @see Proxy.apply */
  async apply(rules: RuleSet): Promise<void> {
    const { control } = this;
    const before = control.force;
    if (rules.epoch <= before.epoch) {
      throw new Error(`Epoch ${rules.epoch} is not above ${before.epoch}, which is in force.`);
    }
    const force = before.followedBy(rules, this.house.makeRewriter);
    control.force = force;
    this.showEpoch();
    const sessions = this.ruled();
    const added = force.oids.filter((oid) => !before.has(oid));
    if (added.length > 0) for (const session of sessions) session.unknownBefore(added);
    const drains: Drain<Session>[] = [];
    if (!before.differsInHoldingOnly(force)) {
      drains.push(new Drain<Session>(sessions, { over: 'everything' }));
    }
    if (force.held.size > 0) {
      drains.push(new Drain<Session>(sessions, { over: 'touching', oids: [...force.held] }));
    }
    for (const drain of drains) this.drains.add(drain);
    for (const session of sessions) session.rulesChanged();
    for (const drain of drains) {
      await drain.done;
      this.drains.delete(drain);
    }
  }

  /** @see Proxy.fence */
  fence(on: boolean): void {
    if (this.control.fenced === on) return;
    this.control.fenced = on;
    if (!on) for (const session of this.ruled()) session.rulesChanged();
  }

  /** @see Proxy.closeTouching */
  closeTouching(reason: string): void {
    for (const session of this.ruled()) session.closeTouching(this.control.force.oids, reason);
  }

  stats(): { connections: number; held: number; longestHoldMs: number } {
    let held = 0;
    for (const session of this.sessions) if (session.isHeld) held++;
    return { connections: this.sessions.size, held, longestHoldMs: this.longestHoldMs };
  }

  /** Whether there are rules, so that what is not seen is not there. */
  get isWatched(): boolean {
    return this.control.force.oids.length > 0;
  }

  /**
   * How long requests took on the tables on which a migration is under way, by `pg_class.oid` and
   * bucket, since this began; null: there is none.
   */
  latencies(): Record<string, Counts> | null {
    const { migrating } = this.control.force;
    return migrating.length > 0 ? this.seen.latencies.of(migrating) : null;
  }

  /** The server's processes of the sessions that have begun since the last call. */
  takeNewcomers(): number[] {
    const pids = [...this.newcomers].flatMap((session) => pidOf(session.keyData) ?? []);
    this.newcomers.clear();
    return pids;
  }

  /** Ends the sessions of these processes, which are at another server. @returns false: there are none. */
  endStrangers(pids: readonly number[]): boolean {
    const strangers = this.all.filter((session) => pids.includes(pidOf(session.keyData) ?? 0));
    if (strangers.length > 0) this.leave();
    for (const session of strangers) session.leave(MOVED);
    return strangers.length > 0;
  }

  /** The statements that were seen on its tables since the last call. */
  takeSightings(): Sighting[] {
    return this.seen.take(this.house.metrics);
  }

  get all(): readonly Session[] {
    return [...this.sessions];
  }

  get size(): number {
    return this.sessions.size;
  }

  /** @param context of `reach`; it may have moved since. */
  admit(session: Session, context: SessionContext<Session>): void {
    this.sessions.add(session);
    const { place } = this;
    if (context !== place?.ruled && context !== place?.elsewhere) session.leave(MOVED);
  }

  /**
   * Connects to the server, wherever it is; while that is not known it waits.
   * @param database that the client asks for, in latin1.
   * @throws UnreachableError after `connectTimeoutMs`, or at once where there is one server only.
   */
  async reach(
    database: string | undefined,
    signal: AbortSignal,
  ): Promise<{ server: Socket; context: SessionContext<Session> }> {
    const deadline = performance.now() + this.house.limits.connectTimeoutMs;
    for (;;) {
      const place = await this.located(deadline, signal);
      const left = either(signal, place.left.signal);
      try {
        const server = await dial(place.upstream, this.house.limits, left.signal);
        if (place === this.place) return { server, context: this.contextOf(database, place) };
        server.destroy();
      } catch (error) {
        if (signal.aborted) throw error;
        this.lastFailure = `${describeUpstream(place.upstream)}: ${(error as Error).message}`;
        if (!this.moves) throw this.unreachable();
        this.suspect(place);
      } finally {
        left.release();
      }
    }
  }

  private contextOf(database: string | undefined, place: Place): SessionContext<Session> {
    if (this.options.isRuled === false) return place.elsewhere;
    const here = this.name !== null || sameDatabase(database, this.database);
    return here ? place.ruled : place.elsewhere;
  }

  /** Waits until it is known where the server is. */
  private async located(deadline: number, signal: AbortSignal): Promise<Place> {
    for (;;) {
      if (this.place) return this.place;
      const left = deadline - performance.now();
      if (left <= 0 || signal.aborted) throw this.unreachable();
      await new Promise<void>((resolve) => {
        const go = () => {
          clearTimeout(timer);
          this.waiting.delete(go);
          signal.removeEventListener('abort', go);
          resolve();
        };
        const timer = setTimeout(go, left);
        this.waiting.add(go);
        signal.addEventListener('abort', go);
      });
    }
  }

  /** The server does not answer, or is not of the wanted kind: new clients wait for the answer. */
  private suspect(place: Place): void {
    if (place !== this.place) return;
    this.leave();
    const { doubt } = this.options;
    if (!doubt || this.asking) return;
    const soon = Math.max(0, this.doubtedAt + DOUBT_MS - performance.now());
    this.asking = setTimeout(() => {
      this.asking = undefined;
      this.doubtedAt = performance.now();
      doubt();
    }, soon);
  }

  private leave(): void {
    this.place?.left.abort();
    this.place = null;
  }

  private unreachable(): UnreachableError {
    const tried = this.lastFailure;
    const where = tried || 'no server of the target is known to be right';
    return new UnreachableError(`could not connect to the PostgreSQL server (${where})`);
  }

  private makePlace(upstream: Upstream): Place {
    const { limits, metrics, cancels, out } = this.house;
    const ruled: SessionContext<Session> = {
      upstream,
      control: this.control,
      limits,
      metrics,
      cancels,
      out,
      standby: this.options.standby ?? null,
      loggedIn: (session) => {
        if (this.options.isRuled !== false) this.newcomers.add(session);
        this.house.loggedIn(session);
      },
      misplaced: () => {
        this.lastFailure = `${describeUpstream(upstream)} is a server of the wrong kind`;
        if (this.moves) this.suspect(place);
      },
      strayed: () => this.options.stray?.(),
      progressed: (session) => {
        for (const drain of this.drains) drain.progressed(session);
      },
      gone: (session) => this.forget(session),
      held: (ms) => {
        this.longestHoldMs = Math.max(this.longestHoldMs, ms);
      },
      failed: (...what) => this.house.failed(...what),
    };
    const control = this.makeControl(Force.none, new Sightings());
    const elsewhere = { ...ruled, control };
    const place = { upstream, ruled, elsewhere, left: new AbortController() };
    return place;
  }

  /** The sessions to which the rules apply. */
  private ruled(): Session[] {
    return this.all.filter((session) => !session.isRaw && session.isUnder(this.control));
  }

  private forget(session: Session): void {
    if (!this.sessions.delete(session)) return;
    this.newcomers.delete(session);
    for (const drain of this.drains) drain.gone(session);
    this.house.gone(session);
  }

  private showEpoch(): void {
    const labels = { database: this.name ?? this.database };
    this.house.metrics.set('pgtandem_epoch', labels, this.control.force.epoch);
  }
}
