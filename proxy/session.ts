import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { Backend } from './backend.js';
import { Backlog } from './backlog.js';
import type { Upstream } from './dial.js';
import { Dialogue } from './dialogue.js';
import type { DrainView } from './drain.js';
import { Frontend } from './frontend.js';
import type { Control } from './gate.js';
import { KeyReader } from './key-data.js';
import { STARTUP } from './kinds.js';
import { IDLE } from './ledger.js';
import { TERMINATE, writeError } from './messages.js';
import { openWire } from './open-wire.js';
import type { Outbox } from './outbox.js';
import type { SessionContext } from './session-context.js';
import type { Wire, WireListener } from './wire.js';

/** What a client is told that has to prepare its statement anew to see a value. */
const MISFIT = 'a value does not fit the type that its column had when the statement was described';

/**
 * One client socket and one server socket, from the StartupMessage on. It reads, asks `Frontend`
 * or `Backend`, writes what they leave, and waits where they wait.
 */
export class Session {
  private readonly client: Wire;
  private readonly server: Wire;
  private readonly d: Dialogue;
  private readonly frontend: Frontend;
  private readonly backend: Backend;
  private clientEnded = false;
  private clientGone = false;
  isGone = false;
  private ending = false;
  /** Why the client is not listened to any more; what it said before is still answered. */
  private unreadable: string | null = null;
  /** Ends as soon as it is idle. */
  private draining = false;
  private readonly backlog = new Backlog();
  private heldSince = 0;
  private discarded = 0;
  private loginTimer: NodeJS.Timeout | undefined;
  /** Of a raw session, until its login is over. */
  private login: KeyReader | null = null;
  private lingerTimer: NodeJS.Timeout | undefined;
  private readonly from: string;

  /**
   * @param client and `server`, both connected and paused.
   * @param start the StartupMessage, empty when the server has it; `rest` what came behind it.
   * @param raw messages are passed without being read (replication).
   */
  constructor(
    client: Socket,
    server: Socket,
    start: { packet: Buffer; rest: Buffer; loginTimer: NodeJS.Timeout; from: string; user: string },
    private readonly raw: boolean,
    private readonly context: SessionContext<Session>,
  ) {
    const { control, limits, metrics, out } = context;
    this.loginTimer = start.loginTimer;
    this.from = start.from;
    this.d = new Dialogue(limits, control.force.rewriter !== null, control, start.user);
    this.frontend = new Frontend(this.d, control, limits, metrics, out);
    this.backend = new Backend(this.d, metrics, this.frontend.reader, out, context.standby);
    this.d.ledger.push(STARTUP);
    if (raw) {
      this.loggedIn();
      this.login = new KeyReader();
    }
    this.client = openWire(client, this.ofClient());
    this.server = openWire(server, this.ofServer());
    if (start.packet.length > 0) this.say(this.server, start.packet);
    if (start.rest.length > 0) this.fromClient(start.rest);
    this.client.resume();
    this.server.resume();
  }

  private ofClient(): WireListener {
    return {
      data: (chunk) => this.fromClient(chunk),
      ended: () => this.clientEnds(),
      drained: () => this.server.resume(),
      closed: () => {
        clearTimeout(this.lingerTimer);
        this.abandon();
      },
    };
  }

  private ofServer(): WireListener {
    return {
      data: (chunk) => this.fromServer(chunk),
      ended: () => this.serverEnds(),
      drained: () => this.mayRead(),
      closed: () => {
        this.serverEnds();
        this.d.schema.gone();
        this.isGone = true;
        this.context.gone(this);
      },
    };
  }

  /** Sends a message of our own, or bytes that are not looked at. */
  private say(wire: Wire, bytes: Buffer): boolean {
    const { out } = this.context;
    out.add(bytes);
    return wire.send(out);
  }

  /** What a drain looks at. */
  get view(): DrainView {
    return this.d;
  }

  /** Of replication nothing is known. */
  get isRaw(): boolean {
    return this.raw;
  }

  /** Process id and secret key, as its server gave them. */
  get keyData(): Buffer | null {
    return this.raw ? (this.login?.keyData ?? null) : this.backend.keyData;
  }

  get upstream(): Upstream {
    return this.context.upstream;
  }

  isUnder(control: Control): boolean {
    return this.context.control === control;
  }

  get isHeld(): boolean {
    return this.heldSince > 0;
  }

  private fromClient(chunk: Buffer): void {
    if (this.ending || this.clientGone || this.unreadable !== null) return;
    if (this.raw) {
      if (!this.say(this.server, chunk)) this.client.pause();
      return;
    }
    if (this.d.waiting !== null) {
      this.backlog.push(chunk);
      if (this.backlog.bytes > this.context.limits.backlogBytes) this.client.pause();
      return;
    }
    this.frontend.reader.feed(chunk);
    this.pump();
  }

  /** Lets the client's messages through until one waits, or no more are here. */
  private pump(): void {
    const { reader } = this.frontend;
    for (;;) {
      const result = reader.run();
      if (!this.server.send(reader.out)) this.client.pause();
      if (result === 'more') {
        const next = this.backlog.shift();
        if (!next) break;
        reader.feed(next);
      } else if (result === 'wait') {
        break;
      } else {
        this.protocolError('invalid message from the client');
        return;
      }
    }
    this.noteHold();
    if (this.d.waiting === null && this.clientEnded) this.server.end();
    this.mayRead();
  }

  private mayRead(): void {
    if (!this.server.flowing) return;
    if (this.backlog.bytes <= this.context.limits.backlogBytes) this.client.resume();
  }

  private fromServer(chunk: Buffer): void {
    if (this.raw) {
      if (this.login && !this.login.done) this.followLogin(chunk, this.login);
      if (!this.clientGone && !this.say(this.client, chunk)) this.server.pause();
      return;
    }
    const { backend, d } = this;
    backend.reader.feed(chunk);
    const result = backend.reader.run();
    this.toClient(backend.reader.out);
    if (result !== 'more') {
      if (backend.misplaced) this.misplaced();
      else if (backend.misfit) this.endWith('22003', MISFIT);
      else this.outOfSync();
      return;
    }
    if (backend.becameReady) {
      backend.becameReady = false;
      if (this.loginTimer && backend.loggedIn) {
        this.loggedIn();
        this.context.loggedIn(this);
      }
      this.context.progressed(this);
      if (this.draining) this.endWhenIdle();
    }
    if (d.waiting !== null) this.resumeWaiting();
  }

  private followLogin(chunk: Buffer, login: KeyReader): void {
    login.feed(chunk);
    if (login.done) this.context.loggedIn(this);
  }

  private toClient(out: Outbox): void {
    if (this.clientGone || this.ending) {
      this.discarded += out.length;
      out.clear();
      if (this.discarded > this.context.limits.bufferBytes) this.server.destroy();
    } else if (!this.client.send(out)) this.server.pause();
  }

  private resumeWaiting(): void {
    const { waiting, ledger, lookup } = this.d;
    if (this.clientGone || this.ending) return;
    if (waiting === 'replay') {
      if (this.frontend.replay()) this.pump();
      else this.server.send(this.frontend.reader.out);
      return;
    }
    const settled = waiting === 'settle' && (ledger.pending === 0 || ledger.copyOpen);
    if (settled || (waiting === 'lookup' && lookup?.done)) this.pump();
  }

  /** The rules or the fence have changed. */
  rulesChanged(): void {
    if (this.context.control.force.rewriter) this.d.attentive = true;
    if (this.d.waiting === 'hold' && !this.ending) this.pump();
  }

  /** What this session has sent before these tables had rules is not known to leave them alone. */
  unknownBefore(oids: readonly number[]): void {
    const { ledger, status, touches } = this.d;
    const quiet = ledger.pending === 0 && !ledger.openBatch && (status === IDLE || status === 0);
    if (!quiet && this.backend.loggedIn) touches.unknownBefore(oids, ledger.pushed);
  }

  /** Ends it if something of it that has not ended touches these tables, or if it is held. */
  closeTouching(oids: Iterable<number>, reason: string): void {
    if (!this.isHeld && !this.d.touches.touching(oids)) return;
    this.leave(reason);
  }

  /** Ends it, and what it has running on the server. */
  leave(reason: string): void {
    const { keyData } = this.backend;
    if (this.d.ledger.pending > 0 && keyData) {
      this.context.cancels.order(keyData, this.context.upstream);
    }
    this.endWith('57P01', reason);
  }

  /** Ends it now if it is idle, else as soon as it is. */
  drainAndEnd(): void {
    this.draining = true;
    this.endWhenIdle();
  }

  private endWhenIdle(): void {
    if (!this.raw && this.d.isIdle) this.shutDown();
  }

  /** While it is idle: a number that is another one the next time that it is. */
  get idleMark(): number | null {
    return this.raw ? null : this.d.idleMark(!this.frontend.reader.atBoundary);
  }

  shutDown(): void {
    this.endWith('57P01', 'terminating connection due to administrator command');
  }

  timeOut(): void {
    this.endWith('57P05', 'terminating connection due to idle-session timeout');
  }

  destroy(): void {
    this.client.destroy();
    this.server.destroy();
  }

  private loggedIn(): void {
    clearTimeout(this.loginTimer);
    this.loginTimer = undefined;
  }

  private noteHold(): void {
    const { metrics } = this.context;
    if (this.d.waiting === 'hold' && !this.clientGone) {
      if (this.heldSince > 0) return;
      this.heldSince = performance.now();
      metrics.add('pgtandem_held_statements', {}, 1);
      if (this.clientEnded) this.abandon();
    } else if (this.heldSince > 0) {
      const ms = performance.now() - this.heldSince;
      this.heldSince = 0;
      metrics.add('pgtandem_held_statements', {}, -1);
      metrics.observe('pgtandem_hold_seconds', {}, ms / 1000);
      this.context.held(ms);
    }
  }

  /** The client has no more to say; what it said before is still answered, unless it is held. */
  private clientEnds(): void {
    this.clientEnded = true;
    if (this.ending) this.client.destroy();
    else if (this.d.waiting === 'hold') this.abandon();
    else if (this.d.waiting === null) this.server.end();
  }

  /**
   * The client is gone. The server is told at once, and its answers are still read until it has
   * closed: only then is it certain that nothing more of this session can commit.
   */
  private abandon(): void {
    if (this.clientGone) return;
    this.clientGone = true;
    this.loggedIn();
    this.noteHold();
    this.backlog.clear();
    this.client.destroy();
    this.server.end();
    this.server.resume();
  }

  /** The server is gone: the client has what it said, and nothing is added. */
  private serverEnds(): void {
    if (this.unreadable !== null && !this.backend.saidWhy) this.endWith('08P01', this.unreadable);
    this.ending = true;
    this.loggedIn();
    this.server.destroy();
    this.closeClient();
  }

  /** The client has been told by `Backend`, in place of the rest of the login. */
  private misplaced(): void {
    this.context.misplaced(this);
    this.ending = true;
    this.loggedIn();
    this.closeClient();
    this.say(this.server, TERMINATE);
    this.server.end();
    this.server.resume();
  }

  private outOfSync(): void {
    this.context.metrics.count('pgtandem_out_of_sync_total', {});
    this.context.failed('out_of_sync', 'a reply of the server did not match the ledger', this.from);
    this.endWith('08P01', 'pgtandem lost track of the conversation with the server');
  }

  /**
   * The client's messages cannot be told apart any more. The server would close after it has
   * answered what came before, and so it does: to it this is the client's end.
   */
  private protocolError(detail: string): void {
    this.context.failed('protocol', detail, this.from);
    this.unreadable = detail;
    this.backlog.clear();
    this.server.end();
    this.mayRead();
  }

  /** Ends both sides, the client with a FATAL error if it is not in the middle of a message. */
  private endWith(code: string, message: string): void {
    if (this.ending) return;
    this.ending = true;
    this.loggedIn();
    if (this.backend.reader.atBoundary && !this.client.over && !this.clientGone) {
      const error = { severity: 'FATAL', code, message } as const;
      this.say(this.client, writeError(error, this.d.resolver.utf8));
    }
    this.closeClient();
    if (!this.server.over && this.frontend.reader.atBoundary) this.say(this.server, TERMINATE);
    this.server.end();
    this.server.resume();
  }

  /** Sends what is left and the end, and lets a client that keeps talking have it. */
  private closeClient(): void {
    this.backlog.clear();
    if (this.isHeld) this.d.waiting = null;
    this.noteHold();
    if (this.client.over) return;
    this.client.end();
    this.client.resume();
    const { connectTimeoutMs } = this.context.limits;
    this.lingerTimer = setTimeout(() => this.client.destroy(), connectTimeoutMs);
  }
}
