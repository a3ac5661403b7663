import { createServer, type Server, type Socket } from 'node:net';
import type { Metrics } from '../metrics/registry.js';
import type { StatementRewriter } from '../sql/outcome.js';
import type { RuleSet } from '../sql/rules.js';
import { Cancels } from './cancel.js';
import type { Upstream } from './dial.js';
import { Door } from './door.js';
import { Drain } from './drain.js';
import { Force } from './force.js';
import type { Control } from './gate.js';
import { IdleWatch } from './idle.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { Outbox } from './outbox.js';
import type { Seat } from './seat.js';
import type { Session, SessionContext } from './session.js';

/** Where the proxy tells what happened; pino fits. */
export interface ProxyLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ProxyOptions {
  /** The server: an address, or the path of its Unix socket. */
  upstream: Upstream;
  /** Where `listen` listens; port 0: the kernel gives one. */
  listen?: { host: string; port: number };
  /**
   * The database that the rules are of. Sessions of another one are relayed and never rewritten:
   * a table of the same name, even of the same oid, is not the same table there.
   */
  database: string;
  metrics: Metrics;
  log: ProxyLog;
  /** Makes the rewriter of a rule set that has tables; called once for each. */
  makeRewriter: (rules: RuleSet) => StatementRewriter;
  limits?: Partial<Limits>;
}

/** Idle sessions are looked for so many times within the time that they may be idle. */
const LOOKS = 5;
/** In a gentle end: after so long nobody is thought to be just about to use a session. */
const UNUSED_MS = 1_000;

/** The relay between PostgreSQL clients and one server. */
class Relay {
  private readonly server: Server;
  private readonly control: Control = { force: Force.none, fenced: false };
  private readonly sessions = new Set<Session>();
  private readonly door: Door;
  private readonly drains = new Set<Drain<Session>>();
  private readonly context: SessionContext;
  /** The same for sessions of other databases, for which there never is a rule. */
  private readonly elsewhere: SessionContext;
  private longestHoldMs = 0;
  private closed: (() => void) | undefined;
  /** Who waits for a session to be gone. */
  private readonly departures = new Map<Session, () => void>();
  private readonly idleTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: ProxyOptions) {
    const { metrics, log, upstream } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.context = {
      upstream,
      control: this.control,
      limits,
      metrics,
      cancels: new Cancels(upstream, limits),
      out: new Outbox(),
      progressed: (session) => {
        for (const drain of this.drains) drain.progressed(session);
      },
      gone: (session) => this.forget(session),
      held: (ms) => {
        this.longestHoldMs = Math.max(this.longestHoldMs, ms);
      },
      failed: (kind, detail, client) => {
        metrics.count('pgtandem_errors_total', { kind });
        log.error({ kind, client }, detail);
      },
    };
    this.elsewhere = { ...this.context, control: { force: Force.none, fenced: false } };
    const { sessions, context } = this;
    this.door = new Door({
      limits,
      metrics,
      cancels: context.cancels,
      contextOf: (parameters) => this.contextOf(parameters),
      admitted: (session) => {
        sessions.add(session);
        metrics.add('pgtandem_client_connections', {}, 1);
      },
      get size() {
        return sessions.size;
      },
      failed: (...what) => context.failed(...what),
      noticed: (detail, client) => log.warn({ client }, detail),
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
      const watch = new IdleWatch<Session>();
      this.idleTimer = setInterval(
        () => {
          const long = watch.look(sessions, performance.now(), idleTimeoutMs);
          for (const session of long) session.timeOut();
        },
        Math.ceil(idleTimeoutMs / LOOKS),
      );
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
    if (session && this.sessions.has(session)) {
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
   * Puts a rule set in force at once: whatever a client sends from now on is judged by it.
   * Resolves when, as far as this proxy knows, nothing that was planned under an older one can
   * still commit; for held tables, when no statement that touches them is in flight except in
   * sessions that are bound to go on. Calls come with growing epochs; a later call may come
   * before an earlier one has resolved.
   * @throws Error when the epoch does not grow, or the rewriter cannot be made.
   */
  async apply(rules: RuleSet): Promise<void> {
    const before = this.control.force;
    if (rules.epoch <= before.epoch) {
      throw new Error(`Epoch ${rules.epoch} is not above ${before.epoch}, which is in force.`);
    }
    const force = before.followedBy(rules, this.options.makeRewriter);
    this.control.force = force;
    this.options.metrics.set('pgtandem_epoch', {}, rules.epoch);
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

  /**
   * While on, every statement that touches a table under migration is held: the lease is in
   * doubt. No session is excepted, not even one within a transaction.
   */
  fence(on: boolean): void {
    if (this.control.fenced === on) return;
    this.control.fenced = on;
    if (!on) for (const session of this.ruled()) session.rulesChanged();
  }

  /**
   * Ends the sessions that have a statement held, or whose present transaction or statement in
   * flight touches a table under migration (or may): their client gets FATAL 57P01 with this
   * reason, and what still runs on the server is cancelled.
   */
  closeTouching(reason: string): void {
    for (const session of this.ruled()) {
      session.closeTouching(this.control.force.oids, reason);
    }
  }

  /** The sessions to which the rules apply. */
  private ruled(): Session[] {
    return [...this.sessions].filter((session) => !session.isRaw && session.isUnder(this.control));
  }

  /** Sessions open now, those of them that are held, and the longest hold since the start. */
  stats(): { connections: number; held: number; longestHoldMs: number } {
    let held = 0;
    for (const session of this.sessions) if (session.isHeld) held++;
    return { connections: this.sessions.size, held, longestHoldMs: this.longestHoldMs };
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
    const unused = gently ? this.endUnused() : undefined;
    const shut = () => {
      clearInterval(unused);
      this.door.close();
      for (const session of [...this.sessions]) session.drainAndEnd();
      this.checkEmpty();
    };
    const half = gently ? setTimeout(shut, graceMs / 2) : shut();
    this.checkEmpty();
    const timer = setTimeout(() => {
      for (const session of [...this.sessions]) session.shutDown();
    }, graceMs);
    const last = setTimeout(() => {
      for (const session of [...this.sessions]) session.destroy();
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

  private endUnused(): NodeJS.Timeout {
    const watch = new IdleWatch<Session>();
    return setInterval(() => {
      const unused = watch.look(this.sessions, performance.now(), UNUSED_MS);
      for (const session of unused) session.shutDown();
    }, UNUSED_MS / LOOKS);
  }

  private checkEmpty(): void {
    if (this.sessions.size === 0 && this.door.expected === 0) this.closed?.();
  }

  private contextOf(parameters: ReadonlyMap<string, string>): SessionContext {
    const database = parameters.get('database') ?? parameters.get('user');
    const here = database === Buffer.from(this.options.database).toString('latin1');
    return here ? this.context : this.elsewhere;
  }

  private forget(session: Session): void {
    if (!this.sessions.delete(session)) return;
    this.options.metrics.add('pgtandem_client_connections', {}, -1);
    for (const drain of this.drains) drain.gone(session);
    this.departures.get(session)?.();
    this.departures.delete(session);
    this.checkEmpty();
  }
}

export { Relay as Proxy };
