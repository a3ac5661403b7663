import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Metrics } from '../metrics/registry.js';
import { Backend } from './backend.js';
import { type Cancels, cancelRequest } from './cancel.js';
import type { Upstream } from './dial.js';
import { Dialogue } from './dialogue.js';
import type { DrainView } from './drain.js';
import { Frontend } from './frontend.js';
import type { Control } from './gate.js';
import { IDLE, STARTUP } from './ledger.js';
import type { Limits } from './limits.js';
import { TERMINATE, writeError } from './messages.js';
import { writeAll } from './sockets.js';

/** What a session has of its proxy. */
export interface SessionContext {
  readonly upstream: Upstream;
  readonly control: Control;
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly cancels: Cancels;
  /** A ReadyForQuery has come. */
  progressed(session: Session): void;
  /** Its server connection is closed: nothing of it can happen any more. */
  gone(session: Session): void;
  held(ms: number): void;
  failed(kind: string, detail: string): void;
}

/**
 * One client socket and one server socket, from the StartupMessage on. It reads, asks `Frontend`
 * or `Backend`, writes what they leave, and waits where they wait.
 */
export class Session {
  private readonly d: Dialogue;
  private readonly frontend: Frontend;
  private readonly backend: Backend;
  private clientEnded = false;
  private clientGone = false;
  private ending = false;
  /** Why the client is not listened to any more; what it said before is still answered. */
  private unreadable: string | null = null;
  /** Ends as soon as it is idle. */
  private draining = false;
  /** What the client has sent behind a message that waits. */
  private backlog: Buffer[] = [];
  private backlogBytes = 0;
  private heldSince = 0;
  private discarded = 0;
  private loginTimer: NodeJS.Timeout | undefined;

  /**
   * @param client and `server`, both connected and paused.
   * @param start the StartupMessage, `rest` what came behind it.
   * @param raw messages are passed without being read (replication).
   */
  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    start: { packet: Buffer; rest: Buffer; loginTimer: NodeJS.Timeout },
    private readonly raw: boolean,
    private readonly context: SessionContext,
  ) {
    const { control, limits, metrics } = context;
    this.loginTimer = start.loginTimer;
    this.d = new Dialogue(limits, control.force.rewriter !== null);
    this.frontend = new Frontend(this.d, control, limits, metrics);
    this.backend = new Backend(this.d, metrics);
    this.d.ledger.push(STARTUP);
    if (raw) this.loggedIn();
    this.listen();
    server.write(start.packet);
    if (start.rest.length > 0) this.fromClient(start.rest);
    client.resume();
    server.resume();
  }

  private listen(): void {
    const { client, server } = this;
    client.on('data', (chunk) => this.fromClient(chunk));
    client.on('drain', () => server.resume());
    client.on('end', () => this.clientEnds());
    client.on('error', () => this.abandon());
    client.on('close', () => this.abandon());
    server.on('data', (chunk) => this.fromServer(chunk));
    server.on('drain', () => this.mayRead());
    server.on('end', () => this.serverEnds());
    // Its 'close' follows.
    server.on('error', () => undefined);
    server.on('close', () => {
      this.serverEnds();
      this.context.gone(this);
    });
  }

  /** What a drain looks at. */
  get view(): DrainView {
    return this.d;
  }

  /** Replication: nothing is known of what it does. */
  get isRaw(): boolean {
    return this.raw;
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
      if (!this.server.write(chunk)) this.client.pause();
      return;
    }
    if (this.d.waiting !== null) {
      this.backlog.push(chunk);
      this.backlogBytes += chunk.length;
      if (this.backlogBytes > this.context.limits.backlogBytes) this.client.pause();
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
      if (!writeAll(this.server, reader.take())) this.client.pause();
      if (result === 'more') {
        const next = this.backlog.shift();
        if (!next) break;
        this.backlogBytes -= next.length;
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
    if (this.server.writableNeedDrain) return;
    if (this.backlogBytes <= this.context.limits.backlogBytes) this.client.resume();
  }

  private fromServer(chunk: Buffer): void {
    if (this.raw) {
      if (!this.clientGone && !this.client.write(chunk)) this.server.pause();
      return;
    }
    const { backend, d } = this;
    backend.reader.feed(chunk);
    const result = backend.reader.run();
    this.toClient(backend.reader.take());
    if (result !== 'more') {
      this.outOfSync();
      return;
    }
    if (backend.becameReady) {
      backend.becameReady = false;
      if (this.loginTimer && backend.loggedIn) this.loggedIn();
      this.context.progressed(this);
      if (this.draining) this.endWhenIdle();
    }
    if (d.waiting !== null) this.resumeWaiting();
  }

  private toClient(buffers: readonly Buffer[]): void {
    if (this.clientGone || this.ending) {
      for (const buffer of buffers) this.discarded += buffer.length;
      if (this.discarded > this.context.limits.bufferBytes) this.server.destroy();
    } else if (!writeAll(this.client, buffers)) this.server.pause();
  }

  private resumeWaiting(): void {
    const { waiting, ledger, lookup } = this.d;
    if (this.clientGone || this.ending) return;
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
    const { keyData } = this.backend;
    if (this.d.ledger.pending > 0 && keyData) {
      this.context.cancels.relay(cancelRequest(keyData), null);
    }
    this.endWith('57P01', reason);
  }

  /** Ends it now if it is idle, else as soon as it is. */
  drainAndEnd(): void {
    this.draining = true;
    this.endWhenIdle();
  }

  private endWhenIdle(): void {
    const { ledger, status, waiting } = this.d;
    const idle =
      !this.raw && ledger.pending === 0 && !ledger.openBatch && status === IDLE && waiting === null;
    if (idle) this.shutDown();
  }

  shutDown(): void {
    this.endWith('57P01', 'terminating connection due to administrator command');
  }

  /** Ends both sides at once. */
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
    this.backlog = [];
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

  private outOfSync(): void {
    this.context.metrics.count('pgtandem_out_of_sync_total', {});
    this.context.failed('out_of_sync', 'a reply of the server did not match the ledger');
    this.endWith('08P01', 'pgtandem lost track of the conversation with the server');
  }

  /**
   * The client's messages cannot be told apart any more. The server would close after it has
   * answered what came before, and so it does: to it this is the client's end.
   */
  private protocolError(detail: string): void {
    this.context.failed('protocol', detail);
    this.unreadable = detail;
    this.backlog = [];
    this.backlogBytes = 0;
    this.server.end();
    this.mayRead();
  }

  /** Ends both sides, the client with a FATAL error if it is not in the middle of a message. */
  private endWith(code: string, message: string): void {
    if (this.ending) return;
    this.ending = true;
    this.loggedIn();
    if (this.backend.reader.atBoundary && this.client.writable && !this.clientGone) {
      this.client.write(writeError({ severity: 'FATAL', code, message }, this.d.resolver.utf8));
    }
    this.closeClient();
    if (this.server.writable && this.frontend.reader.atBoundary) this.server.write(TERMINATE);
    this.server.end();
    this.server.resume();
  }

  /** Sends what is left and the end, and lets a client that keeps talking have it. */
  private closeClient(): void {
    this.backlog = [];
    if (this.heldSince > 0) {
      this.d.waiting = null;
      this.noteHold();
    }
    if (this.client.destroyed || this.client.writableEnded) return;
    this.client.end();
    this.client.resume();
    const timer = setTimeout(() => this.client.destroy(), this.context.limits.connectTimeoutMs);
    this.client.once('close', () => clearTimeout(timer));
  }
}
