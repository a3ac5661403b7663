import { performance } from 'node:perf_hooks';
import { BACKEND } from './messages.js';

/**
 * The reply ledger: one entry for each message that went to the server and is answered, in order.
 * All of pipelining, COPY and error recovery is here. Entries are small integers in a ring; a side
 * value exists only where somebody wants to know how the message ended.
 *
 * The rules are PostgreSQL's (src/backend/tcop/postgres.c): an error in an extended message makes
 * the server drop all messages, simple ones too, until Sync; an error in a simple Query or a
 * FunctionCall drops nothing; each Sync and each Query that was not dropped ends with one
 * ReadyForQuery; COPY FROM STDIN swallows the Syncs that come before its CopyDone or CopyFail.
 */

/** What a message is, as far as its answers go. */
export type Kind = number;
export const STARTUP = 1;
export const PARSE = 2;
export const BIND = 3;
export const DESCRIBE_STATEMENT = 4;
export const DESCRIBE_PORTAL = 5;
export const EXECUTE = 6;
export const CLOSE = 7;
export const QUERY = 8;
export const FUNCTION_CALL = 9;
export const SYNC = 10;
export const COPY_END = 11;
/** A Sync or CopyDone that a COPY has consumed: no answer comes. */
const CONSUMED = 12;
const KIND_MASK = 0x0f;

/** What becomes of a reply. */
export type Fate = 0 | 1 | 2;
export const FORWARD = 0;
/** The reply is to a message of ours; an error is forwarded all the same. */
export const SWALLOW = 1;
/** No message that was sent can have this reply. */
export const MISMATCH = 2;
const SWALLOW_BIT = 0x10;
/** Bind or Execute of a named portal. */
const NAMED_BIT = 0x20;

/** Transaction status in ReadyForQuery. */
export const IDLE = 0x49;
export const IN_TRANSACTION = 0x54;
export const FAILED = 0x45;

export interface LedgerListener<Side> {
  /** The message succeeded; for Query, FunctionCall and Sync: its ReadyForQuery came. */
  answered(kind: Kind, side: Side): void;
  /** The error response is about this message. */
  failed(kind: Kind, side: Side): void;
  /** The server threw the message away, because one before it had failed. */
  dropped(kind: Kind, side: Side): void;
}

const isExtended = (kind: Kind) => kind >= PARSE && kind <= CLOSE;

export class Ledger<Side> {
  /** Sequence number of the last message that was sent, from 1. */
  pushed = 0;
  /** Sequence number of the last message that was answered. */
  answered = 0;
  /** Sequence number of the last message that a ReadyForQuery answered. */
  lastReady = 0;
  /** Sequence number of the last Query, FunctionCall or Sync: where the present batch begins. */
  batchStart = 0;
  /** Queries, FunctionCalls and Syncs that have not had their ReadyForQuery. */
  batchesInFlight = 0;
  /**
   * Extended messages were sent and no Sync after them. A simple Query among them ends the batch
   * only if the server says so, by not being in a transaction after it.
   */
  openBatch = false;
  private lastExtended = 0;
  /** Since the last ReadyForQuery or commit: a command has been run, a portal bound. */
  private ran = false;
  private bound = false;
  /** A command has committed at once since the last ReadyForQuery. */
  private committedSince = false;
  /** The server is throwing messages away, and no Sync has been sent. */
  skipping = false;
  /** Portals that may be alive: named ones (until the transaction ends), the unnamed one. */
  namedPortal = false;
  unnamedPortal = false;
  /** When the message whose ReadyForQuery came last had been pushed, `performance.now()`. */
  readySince = 0;

  private entries = new Uint8Array(16);
  private sides: (Side | undefined)[] = new Array(16).fill(undefined);
  private times = new Float64Array(16);
  /** The head's answers have begun (a ReadyForQuery may end it). */
  private begun = false;
  /** The head is a COPY FROM STDIN, and its CopyDone or CopyFail has not been sent. */
  copyOpen = false;
  private inCopy = false;
  /** Syncs that the COPY at the head may have consumed. */
  private maybe = 0;
  /** ReadyForQuery that may come without an entry: a COPY failed before it consumed its Syncs. */
  private spare = 0;

  constructor(private readonly listener: LedgerListener<Side>) {}

  /**
   * Whether a Sync sent now, when all is answered, would end nothing of the client's: no batch is
   * open, or it has run nothing but what was committed at once, and has no portal (or has it in a
   * transaction that goes on, or is about to send a simple Query, which ends it as well).
   */
  harmlessSync(status: number, forQuery: boolean): boolean {
    if (!this.openBatch) return true;
    const stays = status === IN_TRANSACTION && !this.committedSince;
    return !this.ran && (!this.bound || stays || forQuery);
  }

  /** The reply to an Execute that was answered last was of a command that commits at once. */
  committed(): void {
    this.ran = this.bound = false;
    this.committedSince = true;
  }

  get pending(): number {
    return this.pushed - this.answered;
  }

  /** Fate of replies to the head; FORWARD when nothing is pending. */
  get headFate(): Fate {
    const entry = this.entries[this.headIndex]!;
    return this.pending > 0 && entry & SWALLOW_BIT ? SWALLOW : FORWARD;
  }

  get headSide(): Side | undefined {
    return this.pending > 0 ? this.sides[this.headIndex] : undefined;
  }

  get headKind(): Kind {
    return this.pending > 0 ? this.entries[this.headIndex]! & KIND_MASK : 0;
  }

  /** The answer to the head, a Query or Sync, is not for the client. False: there is no head. */
  swallowHead(): boolean {
    if (this.pending === 0) return false;
    this.entries[this.headIndex]! |= SWALLOW_BIT;
    return true;
  }

  /** The head, a Query, has had an answer already. */
  get headBegun(): boolean {
    return this.begun;
  }

  /**
   * Enters a message that is being sent.
   * @param named for Bind and Execute: whether the portal has a name.
   */
  push(kind: Kind, fate: Fate = FORWARD, side?: Side, named = false): void {
    if (isExtended(kind)) {
      this.openBatch = true;
      this.lastExtended = this.pushed + 1;
    } else if (kind === SYNC) this.openBatch = false;
    if (this.skipping) {
      if (kind !== SYNC) {
        if (side !== undefined) this.listener.dropped(kind, side);
        return;
      }
      this.skipping = false;
    }
    if (this.copyOpen && (kind === SYNC || kind === COPY_END)) {
      if (kind === COPY_END) this.copyOpen = false;
      else this.maybe++;
      if (this.headKind === EXECUTE) this.openBatch = true;
      return;
    }
    if (this.pending === this.entries.length) this.grow();
    const index = ++this.pushed & (this.entries.length - 1);
    this.entries[index] = kind | (fate === SWALLOW ? SWALLOW_BIT : 0) | (named ? NAMED_BIT : 0);
    if (side !== undefined) this.sides[index] = side;
    if (kind === SYNC || kind === QUERY || kind === FUNCTION_CALL) {
      this.batchStart = this.pushed;
      this.batchesInFlight++;
      this.times[index] = performance.now();
    } else if (kind === COPY_END) this.settleHead();
  }

  /** Enters a reply of the server, and says what becomes of it. */
  reply(type: number, status = 0): Fate {
    switch (type) {
      case BACKEND.notification:
      case BACKEND.parameterStatus:
        return FORWARD;
      case BACKEND.notice:
        return this.headFate;
      case BACKEND.error:
        return this.error();
      case BACKEND.readyForQuery:
        return this.ready(status);
    }
    if (this.pending === 0) return MISMATCH;
    const entry = this.entries[this.headIndex]!;
    const kind = entry & KIND_MASK;
    const fate = entry & SWALLOW_BIT ? SWALLOW : FORWARD;
    const runs = kind === EXECUTE || kind === QUERY;
    switch (type) {
      case BACKEND.dataRow:
      case BACKEND.copyData:
      case BACKEND.copyDone:
      case BACKEND.copyOut:
        return runs ? fate : MISMATCH;
      case BACKEND.rowDescription:
        if (kind === QUERY) return fate;
        return isDescribe(kind) ? this.complete() : MISMATCH;
      case BACKEND.noData:
        return isDescribe(kind) ? this.complete() : MISMATCH;
      case BACKEND.parameterDescription:
        return kind === DESCRIBE_STATEMENT ? fate : MISMATCH;
      case BACKEND.commandComplete:
      case BACKEND.emptyQuery:
        return runs ? this.commandEnds(type, kind, fate) : MISMATCH;
      case BACKEND.portalSuspended:
        this.ran = true;
        return kind === EXECUTE ? this.complete() : MISMATCH;
      case BACKEND.parseComplete:
        return kind === PARSE ? this.complete() : MISMATCH;
      case BACKEND.bindComplete:
        return kind === BIND ? this.bindComplete(entry) : MISMATCH;
      case BACKEND.closeComplete:
        return kind === CLOSE ? this.complete() : MISMATCH;
      case BACKEND.copyIn:
        if (runs) this.copyBegins();
        return runs ? fate : MISMATCH;
      case BACKEND.functionResult:
        this.begun = true;
        return kind === FUNCTION_CALL ? fate : MISMATCH;
      case BACKEND.authentication:
      case BACKEND.backendKeyData:
      case BACKEND.negotiateProtocolVersion:
        return kind === STARTUP ? fate : MISMATCH;
      default:
        return MISMATCH;
    }
  }

  private get headIndex(): number {
    return (this.answered + 1) & (this.entries.length - 1);
  }

  private commandEnds(type: number, kind: Kind, fate: Fate): Fate {
    this.endCopy(false);
    if (kind === QUERY) {
      this.begun = true;
      return fate;
    }
    if (!(this.entries[this.headIndex]! & NAMED_BIT)) this.unnamedPortal = false;
    if (type === BACKEND.commandComplete) this.ran = true;
    return this.complete();
  }

  private bindComplete(entry: number): Fate {
    if (!(entry & SWALLOW_BIT)) {
      this.bound = true;
      if (entry & NAMED_BIT) this.namedPortal = true;
      else this.unnamedPortal = true;
    }
    return this.complete();
  }

  /** Takes the head off as answered. */
  private complete(): Fate {
    const index = this.headIndex;
    const entry = this.entries[index]!;
    const side = this.sides[index];
    this.pop(index);
    if (side !== undefined) this.listener.answered(entry & KIND_MASK, side);
    this.settleHead();
    return entry & SWALLOW_BIT ? SWALLOW : FORWARD;
  }

  private pop(index: number): void {
    this.sides[index] = undefined;
    this.answered++;
    this.begun = false;
  }

  /** Nothing answers a CopyDone on its own, nor what a COPY has consumed. */
  private settleHead(): void {
    while (this.pending > 0) {
      const kind = this.entries[this.headIndex]! & KIND_MASK;
      if (kind !== CONSUMED && kind !== COPY_END) return;
      this.pop(this.headIndex);
    }
  }

  private ready(status: number): Fate {
    const index = this.headIndex;
    const entry = this.pending > 0 ? this.entries[index]! : 0;
    const kind = entry & KIND_MASK;
    const ends =
      kind === SYNC ||
      kind === STARTUP ||
      ((kind === QUERY || kind === FUNCTION_CALL) && this.begun);
    if (!ends) {
      if (this.spare === 0) return MISMATCH;
      this.spare--;
      this.skipping = false;
      this.openBatch = false;
      return FORWARD;
    }
    if (kind !== STARTUP) this.batchesInFlight--;
    const seq = this.answered + 1;
    if (kind === SYNC || status === IDLE) this.ran = this.bound = this.committedSince = false;
    if (status === IDLE && this.lastExtended < seq) this.openBatch = false;
    this.readySince = this.times[index]!;
    this.lastReady = seq;
    if (status === IDLE) {
      this.namedPortal = false;
      this.unnamedPortal = false;
    }
    return this.complete();
  }

  private error(): Fate {
    this.endCopy(true);
    if (this.pending === 0) return FORWARD;
    const index = this.headIndex;
    const kind = this.entries[index]! & KIND_MASK;
    const side = this.sides[index];
    if (!isExtended(kind)) {
      this.begun = true;
      if (side !== undefined) this.listener.failed(kind, side);
      return FORWARD;
    }
    this.pop(index);
    if (side !== undefined) this.listener.failed(kind, side);
    this.dropToSync();
    return FORWARD;
  }

  private dropToSync(): void {
    while (this.pending > 0) {
      const index = this.headIndex;
      const kind = this.entries[index]! & KIND_MASK;
      if (kind === SYNC) return;
      const side = this.sides[index];
      this.pop(index);
      if (kind === QUERY || kind === FUNCTION_CALL) this.batchesInFlight--;
      if (side !== undefined) this.listener.dropped(kind, side);
    }
    this.skipping = true;
  }

  /** COPY FROM STDIN has begun: it consumes the Syncs before the next CopyDone or CopyFail. */
  private copyBegins(): void {
    this.inCopy = true;
    this.maybe = 0;
    const mask = this.entries.length - 1;
    for (let seq = this.answered + 2; seq <= this.pushed; seq++) {
      const kind = this.entries[seq & mask]! & KIND_MASK;
      if (kind === CONSUMED) continue;
      if (kind !== SYNC && kind !== COPY_END) return;
      this.entries[seq & mask] = CONSUMED;
      // The batch whose Sync was consumed goes on, unless another batch has been sent meanwhile.
      if (seq >= this.batchStart && this.headKind === EXECUTE) this.openBatch = true;
      if (kind === COPY_END) return;
      this.batchesInFlight--;
      this.maybe++;
    }
    this.copyOpen = true;
  }

  private endCopy(failed: boolean): void {
    if (!this.inCopy) return;
    this.inCopy = false;
    this.copyOpen = false;
    if (failed) this.spare += this.maybe;
    this.maybe = 0;
  }

  private grow(): void {
    const size = this.entries.length;
    const entries = new Uint8Array(size * 2);
    const sides: (Side | undefined)[] = new Array(size * 2).fill(undefined);
    const times = new Float64Array(size * 2);
    for (let seq = this.answered + 1; seq <= this.pushed; seq++) {
      const from = seq & (size - 1);
      const to = seq & (size * 2 - 1);
      entries[to] = this.entries[from]!;
      sides[to] = this.sides[from];
      times[to] = this.times[from]!;
    }
    this.entries = entries;
    this.sides = sides;
    this.times = times;
  }
}

function isDescribe(kind: Kind): boolean {
  return kind === DESCRIBE_STATEMENT || kind === DESCRIBE_PORTAL;
}
