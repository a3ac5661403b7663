import { createServer, type Server, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Metrics } from '../metrics/registry.js';
import type { StatementRewriter } from '../sql/outcome.js';
import type { RuleSet } from '../sql/rules.js';
import { Cancels, type Keys } from './cancel.js';
import { sameDatabase } from './database-name.js';
import { Door } from './door.js';
import { IdleWatch } from './idle.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import type { ScramOptions } from './login.js';
import { Outbox } from './outbox.js';
import { Realm, type RealmOptions } from './realm.js';
import type { Seat } from './seat.js';
import type { Session } from './session.js';
import { type ClientTls, TlsFront } from './tls.js';

/** Where the proxy tells what happened; pino fits. */
export interface ProxyLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The realm without a name, and what is the proxy's own. */
export interface ProxyOptions extends Omit<RealmOptions, 'name'> {
  /** Where `listen` listens; port 0: the kernel gives one. */
  listen?: { host: string; port: number };
  /** Databases that clients are led to by the name they ask for. */
  targets?: readonly RealmOptions[];
  /** Asks the other processes of this proxy to cancel what has this key; see `Keys`. */
  askOthers?: (key: Buffer) => Promise<boolean>;
  /** Asks whether there may be one more session, of all processes; absent: there are no others. */
  askForRoom?: () => Promise<boolean>;
  metrics: Metrics;
  log: ProxyLog;
  /** Makes the rewriter of a rule set that has tables; called once for each. */
  makeRewriter: (rules: RuleSet) => StatementRewriter;
  limits?: Partial<Limits>;
  /** TLS for clients; without it a request for TLS is answered with N. */
  tls?: ClientTls | undefined;
  /** What is done about SCRAM; `auto` by default. */
  scram?: ScramOptions['mode'] | undefined;
}

/** Idle sessions are looked for so many times within the time that they may be idle. */
const LOOKS = 5;
/** In a gentle end: after so long nobody is thought to be just about to use a session. */
const UNUSED_MS = 1_000;

/** The relay between PostgreSQL clients and the servers of their databases. */
class Relay {
  /** Databases by the name that a client asks for; null: all other names. */
  private readonly realms = new Map<string | null, Realm>();
  private readonly main: Realm;
  private readonly server: Server;
  private readonly door: Door;
  private readonly tls: TlsFront | null;
  private readonly cancels: Cancels;
  /** Sessions by process id and secret key, in latin1. */
  private readonly keys = new Map<string, Session>();
  private closed: (() => void) | undefined;
  /** Who waits for a session to be gone. */
  private readonly departures = new Map<Session, () => void>();
  private readonly idleTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: ProxyOptions) {
    const { metrics, log, makeRewriter } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const failed = (kind: string, detail: string, client: string) => {
      metrics.count('pgtandem_errors_total', { kind });
      log.error({ kind, client }, detail);
    };
    const cancels = new Cancels(this.keysKnown(), limits);
    this.cancels = cancels;
    const house = {
      limits,
      metrics,
      cancels,
      out: new Outbox(),
      makeRewriter,
      failed,
      loggedIn: (session: Session) => {
        const { keyData } = session;
        if (keyData) this.keys.set(keyData.toString('latin1'), session);
      },
      gone: (session: Session) => this.forget(session),
    };
    const warned = (kind: string, detail: string, client?: string) =>
      log.warn({ kind, client }, detail);
    this.tls = options.tls
      ? new TlsFront(options.tls, limits.loginTimeoutMs, (detail) =>
          warned('tls', `a client's TLS handshake failed: ${detail}`),
        )
      : null;
    this.main = new Realm({ ...options, name: null }, house);
    this.realms.set(null, this.main);
    for (const target of options.targets ?? []) {
      this.realms.set(target.name, new Realm(target, house));
    }
    const size = () => this.size;
    this.door = new Door({
      limits,
      metrics,
      cancels,
      tls: this.tls,
      scram: options.scram ?? 'auto',
      realmOf: (database) => this.realmOf(database),
      admitted: (session, context, realm) => {
        metrics.add('pgtandem_client_connections', {}, 1);
        realm.admit(session, context);
      },
      get size() {
        return size();
      },
      hasRoom: options.askForRoom ?? (async () => false),
      failed,
      warned,
    });
    this.server = createServer(
      {
        noDelay: true,
        keepAlive: limits.keepAliveMs > 0,
        keepAliveInitialDelay: limits.keepAliveMs,
        highWaterMark: limits.bufferBytes,
      },
      (socket) => void this.accept(socket, { full: false, announced: false }),
    );
    const { idleTimeoutMs } = limits;
    if (idleTimeoutMs > 0) {
      this.idleTimer = this.whenIdle(idleTimeoutMs, (session) => session.timeOut());
      this.idleTimer.unref();
    }
  }

  /**
   * Takes over a client's connection that somebody else has accepted; nothing has been read of it.
   * Never throws. Resolves when nothing of it is left: socket and session are closed.
   */
  async accept(socket: Socket, seat: Seat): Promise<void> {
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.allowHalfOpen = true;
    const session = await this.door.enter(socket, seat);
    if (session && !session.isGone) {
      await new Promise<void>((resolve) => this.departures.set(session, resolve));
    } else {
      this.checkEmpty();
    }
    await closed;
  }

  /** Starts to accept clients. @throws Error of the operating system when it cannot listen. */
  listen(): Promise<{ host: string; port: number }> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port: 0, host: '127.0.0.1', ...this.options.listen }, () => {
        this.server.removeListener('error', reject);
        // A failed accept (out of file descriptors) costs that client only.
        this.server.on('error', (error) => {
          this.options.log.error({ error: error.message }, 'could not accept a connection');
        });
        const address = this.server.address();
        if (address === null || typeof address === 'string') reject(new Error('no address'));
        else resolve({ host: address.address, port: address.port });
      });
    });
  }

  /**
   * Shows another certificate to clients to come; sessions stay.
   * @throws Error of OpenSSL when it cannot be used: the old one is shown as before.
   */
  reloadTls(tls: ClientTls): void {
    this.tls?.reload(tls);
  }

  /**
   * Puts a rule set in force at once: whatever a client sends from now on is judged by it.
   * Resolves when, as far as this proxy knows, nothing that was planned under an older one can
   * still commit; for held tables, when no statement that touches them is in flight except in
   * sessions that are bound to go on. Calls come with growing epochs; a later call may come
   * before an earlier one has resolved.
   * @throws Error when the epoch does not grow, or the rewriter cannot be made.
   */
  async apply(rules: RuleSet, target: string | null = null): Promise<void> {
    await this.realm(target).apply(rules);
  }

  /**
   * While on, every statement that touches a table under migration is held: the lease is in
   * doubt. No session is excepted, not even one within a transaction.
   */
  fence(on: boolean, target: string | null = null): void {
    this.realm(target).fence(on);
  }

  /**
   * Ends the sessions that have a statement held, or whose present transaction or statement in
   * flight touches a table under migration (or may): their client gets FATAL 57P01 with this
   * reason, and what still runs on the server is cancelled.
   */
  closeTouching(reason: string, target: string | null = null): void {
    this.realm(target).closeTouching(reason);
  }

  /** The realm that clients are led to by this name. @throws Error when there is none. */
  realm(name: string | null): Realm {
    const realm = this.realms.get(name);
    if (!realm) throw new Error(`There is no target "${name}".`);
    return realm;
  }

  /**
   * Cancels what a session of this process runs, for another process that a client has sent its
   * CancelRequest to. Resolves when its server has seen to it.
   * @param key process id and secret key, as in BackendKeyData.
   * @returns false when no session here has this key.
   */
  cancelHere(key: Buffer): Promise<boolean> {
    return this.cancels.relayHere(key);
  }

  /** Places that are taken: sessions, and clients that are about to have one. */
  get taken(): number {
    return this.door.taken;
  }

  /** Sessions open now, those of them that are held, and the longest hold since the start. */
  stats(): { connections: number; held: number; longestHoldMs: number } {
    const all = [...this.realms.values()].map((realm) => realm.stats());
    return {
      connections: all.reduce((sum, { connections }) => sum + connections, 0),
      held: all.reduce((sum, { held }) => sum + held, 0),
      longestHoldMs: Math.max(...all.map(({ longestHoldMs }) => longestHoldMs)),
    };
  }

  /**
   * Stops accepting, ends idle sessions with 57P01, and gives the others `graceMs` to finish
   * what they are doing. Resolves when all are gone.
   * @param gently others take the new clients, so there is no hurry: who is on the way in still
   *   gets in, and for the first half of the grace only sessions that have not been used for a
   *   second are ended, not those that are just between two statements.
   */
  async close(graceMs: number, gently = false): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()));
    clearInterval(this.idleTimer);
    const empty = new Promise<void>((resolve) => {
      this.closed = resolve;
    });
    const unused = gently ? this.whenIdle(UNUSED_MS, (session) => session.shutDown()) : undefined;
    const shut = () => {
      clearInterval(unused);
      this.door.close();
      for (const session of this.sessions()) session.drainAndEnd();
      this.checkEmpty();
    };
    const half = gently ? setTimeout(shut, graceMs / 2) : shut();
    this.checkEmpty();
    const timer = setTimeout(() => {
      for (const session of this.sessions()) session.shutDown();
    }, graceMs);
    const last = setTimeout(() => {
      for (const session of this.sessions()) session.destroy();
    }, graceMs + 1_000);
    await empty;
    // A client that does not close its side in turn is not waited for.
    this.door.clear();
    await stopped;
    clearInterval(unused);
    if (half) clearTimeout(half);
    clearTimeout(timer);
    clearTimeout(last);
  }

  /** Looks for sessions that have been idle for so long, now and then. */
  private whenIdle(limitMs: number, end: (session: Session) => void): NodeJS.Timeout {
    const watch = new IdleWatch<Session>();
    const look = () => {
      for (const session of watch.look(this.sessions(), performance.now(), limitMs)) end(session);
    };
    return setInterval(look, Math.ceil(limitMs / LOOKS));
  }

  private checkEmpty(): void {
    if (this.size === 0 && this.door.expected === 0) this.closed?.();
  }

  private get size(): number {
    let size = 0;
    for (const realm of this.realms.values()) size += realm.size;
    return size;
  }

  private sessions(): Session[] {
    return [...this.realms.values()].flatMap((realm) => realm.all);
  }

  private realmOf(database: string | undefined): Realm {
    for (const realm of this.realms.values()) {
      if (realm.name !== null && sameDatabase(database, realm.name)) return realm;
    }
    // The very database of another target, by its own name: its rules hold for whoever gets there.
    const { cluster } = this.main;
    for (const realm of this.realms.values()) {
      const same = cluster !== undefined && realm.cluster === cluster;
      if (same && sameDatabase(database, realm.database)) return realm;
    }
    return this.main;
  }

  private keysKnown(): Keys {
    const only = () => (this.realms.size === 1 ? this.main.upstream : null);
    // Of several hosts a session may be at another one than new sessions go to.
    const sure = () => (this.main.moves ? null : only());
    return {
      find: (key) => this.keys.get(key.toString('latin1'))?.upstream ?? null,
      askOthers: this.options.askOthers,
      get only() {
        return sure();
      },
      get likely() {
        return only();
      },
    };
  }

  private forget(session: Session): void {
    const key = session.keyData?.toString('latin1');
    if (key !== undefined && this.keys.get(key) === session) this.keys.delete(key);
    this.options.metrics.add('pgtandem_client_connections', {}, -1);
    this.departures.get(session)?.();
    this.departures.delete(session);
    this.checkEmpty();
  }
}

export { Relay as Proxy };
