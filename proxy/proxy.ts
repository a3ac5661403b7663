import { createServer, type Server, type Socket } from 'node:net';
import type { Metrics } from '../metrics/registry.js';
import type { StatementRewriter } from '../sql/outcome.js';
import type { RuleSet } from '../sql/rules.js';
import { Cancels } from './cancel.js';
import { Drain } from './drain.js';
import { Force } from './force.js';
import type { Control } from './gate.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';
import { writeError } from './messages.js';
import { Session, type SessionContext } from './session.js';
import type { Upstream } from './sockets.js';
import { StartupReader, type StartupStep } from './startup.js';

/** Where the proxy tells what happened; pino fits. */
export interface ProxyLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ProxyOptions {
  /** The server: an address, or the path of its Unix socket. */
  upstream: Upstream;
  /** Port 0: the kernel gives one. */
  listen: { host: string; port: number };
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

/** Connections that are not yet sessions (or are cancels), beyond the limit on sessions. */
const CONNECTIONS_BEYOND = 200;

/** The relay between PostgreSQL clients and one server. */
class Relay {
  private readonly limits: Limits;
  private readonly server: Server;
  private readonly control: Control = { force: Force.none, fenced: false };
  private readonly sessions = new Set<Session>();
  /** Clients that have not sent their StartupMessage yet. */
  private readonly strangers = new Set<Socket>();
  /** All client sockets that are open. */
  private readonly sockets = new Set<Socket>();
  private readonly drains = new Set<Drain<Session>>();
  private readonly context: SessionContext;
  /** The same for sessions of other databases, for which there never is a rule. */
  private readonly elsewhere: SessionContext;
  private longestHoldMs = 0;
  private closed: (() => void) | undefined;

  constructor(private readonly options: ProxyOptions) {
    const { metrics, log, upstream } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.limits = limits;
    this.context = {
      upstream,
      control: this.control,
      limits,
      metrics,
      cancels: new Cancels(upstream, limits),
      progressed: (session) => {
        for (const drain of this.drains) drain.progressed(session);
      },
      gone: (session) => this.forget(session),
      held: (ms) => {
        this.longestHoldMs = Math.max(this.longestHoldMs, ms);
      },
      failed: (_session, kind, detail) => {
        metrics.count('pgtandem_errors_total', { kind });
        log.error({ kind }, detail);
      },
    };
    this.elsewhere = { ...this.context, control: { force: Force.none, fenced: false } };
    this.server = createServer(
      {
        noDelay: true,
        allowHalfOpen: true,
        keepAlive: true,
        keepAliveInitialDelay: 60_000,
        highWaterMark: limits.bufferBytes,
      },
      (socket) => this.accept(socket),
    );
  }

  /** Starts to accept clients. @throws Error of the operating system when it cannot listen. */
  listen(): Promise<{ host: string; port: number }> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(this.options.listen.port, this.options.listen.host, () => {
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
   */
  async close(graceMs: number): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.strangers) socket.destroy();
    const empty = new Promise<void>((resolve) => {
      this.closed = resolve;
    });
    for (const session of [...this.sessions]) session.drainAndEnd();
    if (this.sessions.size === 0) this.closed?.();
    const timer = setTimeout(() => {
      for (const session of [...this.sessions]) session.shutDown();
    }, graceMs);
    const last = setTimeout(() => {
      for (const session of [...this.sessions]) session.destroy();
      for (const socket of this.sockets) socket.destroy();
    }, graceMs + 1_000);
    await empty;
    // A client that does not close its side in turn is not waited for.
    for (const socket of this.sockets) socket.destroySoon();
    await stopped;
    clearTimeout(timer);
    clearTimeout(last);
  }

  private forget(session: Session): void {
    if (!this.sessions.delete(session)) return;
    this.options.metrics.add('pgtandem_client_connections', {}, -1);
    for (const drain of this.drains) drain.gone(session);
    if (this.sessions.size === 0) this.closed?.();
  }

  private accept(socket: Socket): void {
    const { limits, strangers, sockets } = this;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (strangers.size + this.sessions.size >= limits.connections + CONNECTIONS_BEYOND) {
      this.refuse(socket, '53300', 'sorry, too many clients already');
      return;
    }
    strangers.add(socket);
    const reader = new StartupReader(limits.startupPacketBytes);
    const loginTimer = setTimeout(() => socket.destroy(), limits.loginTimeoutMs);
    const onData = (chunk: Buffer) => {
      const step = reader.feed(chunk);
      if (step.step === 'more') return;
      if (step.step === 'decline') {
        socket.write('N');
        return;
      }
      socket.removeListener('data', onData);
      socket.removeListener('end', onEnd);
      strangers.delete(socket);
      this.admit(socket, step, loginTimer);
    };
    const onEnd = () => socket.destroy();
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(loginTimer);
      strangers.delete(socket);
    });
  }

  private admit(
    socket: Socket,
    step: Exclude<StartupStep, { step: 'more' | 'decline' }>,
    loginTimer: NodeJS.Timeout,
  ): void {
    const { metrics } = this.options;
    if (step.step === 'bad') {
      this.refuse(socket, '08P01', step.message);
    } else if (step.step === 'cancel') {
      clearTimeout(loginTimer);
      const sent = this.context.cancels.relay(Buffer.from(step.packet), socket);
      const outcome = sent ? 'cancel' : 'refused';
      metrics.count('pgtandem_client_connections_total', { outcome });
    } else if (this.closed) {
      this.refuse(socket, '57P03', 'the database system is shutting down');
    } else if (this.sessions.size >= this.limits.connections) {
      this.refuse(socket, '53300', 'sorry, too many clients already');
    } else {
      const { packet, rest, raw, parameters } = step;
      const database = parameters.get('database') ?? parameters.get('user');
      const here = database === Buffer.from(this.options.database).toString('latin1');
      const context = here ? this.context : this.elsewhere;
      this.sessions.add(new Session(socket, { packet, rest, loginTimer }, raw, context));
      metrics.count('pgtandem_client_connections_total', { outcome: 'relayed' });
      metrics.add('pgtandem_client_connections', {}, 1);
    }
  }

  private refuse(socket: Socket, code: string, message: string): void {
    this.options.metrics.count('pgtandem_client_connections_total', { outcome: 'refused' });
    socket.on('error', () => socket.destroy());
    socket.on('data', () => undefined);
    socket.on('end', () => socket.destroy());
    socket.end(writeError({ severity: 'FATAL', code, message }));
    const timer = setTimeout(() => socket.destroy(), this.limits.cancelTimeoutMs);
    socket.once('close', () => clearTimeout(timer));
  }
}

export { Relay as Proxy };
