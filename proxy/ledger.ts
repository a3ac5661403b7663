import { performance } from 'node:perf_hooks';
import {
  BIND,
  CLOSE,
  CONSUMED,
  COPY_END,
  DESCRIBE_STATEMENT,
  EXECUTE,
  FUNCTION_CALL,
  isDescribe,
  isExtended,
  KIND_MASK,
  type Kind,
  type LedgerListener,
  NAMED_BIT,
  PARSE,
  QUERY,
  STARTUP,
  SWALLOW_BIT,
  SYNC,
} from './kinds.js';
import { BACKEND } from './messages.js';
import { consume, endOfCopy, executeBehindSyncs, Ring } from './ring.js';

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

/** What becomes of a reply. */
export type Fate = 0 | 1 | 2;
export const FORWARD = 0;
/** The reply is to a message of ours; an error is forwarded all the same. */
export const SWALLOW = 1;
/** No message that was sent can have this reply. */
export const MISMATCH = 2;

/** Transaction status in ReadyForQuery. */
export const IDLE = 0x49;
export const IN_TRANSACTION = 0x54;
export const FAILED = 0x45;

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

  private ring = new Ring<Side>();
  /** The head's answers have begun (a ReadyForQuery may end it). */
  private begun = false;
  /** The head is a COPY FROM STDIN, and its CopyDone or CopyFail has not been sent. */
  copyOpen = false;
  private inCopy = false;
  /** Syncs that the COPY at the head may have consumed. */
  private maybe = 0;
  /** ReadyForQuery that may come without an entry: a COPY failed before it consumed its Syncs. */
  private spare = 0;
  /** How many of these have come. */
  unentered = 0;
  /** The Execute that may be a COPY which has ended, and has consumed Syncs. */
  private ended = 0;

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

  /**
   * Whether only its answers tell what the server makes of a message that is sent now, unless that
   * is Sync: a COPY that fails before it has read the Sync ahead of its CopyDone leaves that Sync
   * to end the batch, and what follows is read; one that fails later has consumed it, and what
   * follows is thrown away to the next Sync.
   */
  get isUnsure(): boolean {
    return this.answered < this.ended || (this.skipping && this.spare > 0);
  }

  get pending(): number {
    return this.pushed - this.answered;
  }

  /** Fate of replies to the head; FORWARD when nothing is pending. */
  get headFate(): Fate {
    const entry = this.ring.entries[this.headIndex]!;
    return this.pending > 0 && entry & SWALLOW_BIT ? SWALLOW : FORWARD;
  }

  get headSide(): Side | undefined {
    return this.pending > 0 ? this.ring.sides[this.headIndex] : undefined;
  }

  get headKind(): Kind {
    return this.pending > 0 ? this.ring.entries[this.headIndex]! & KIND_MASK : 0;
  }

  /** The answer to the head, a Query or Sync, is not for the client. False: there is no head. */
  swallowHead(): boolean {
    if (this.pending === 0) return false;
    this.ring.entries[this.headIndex]! |= SWALLOW_BIT;
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
    if (this.copyOpen && kind !== SYNC && kind !== COPY_END) this.copyIsNotMeant();
    if (isExtended(kind)) {
      this.openBatch = true;
      this.lastExtended = this.pushed + 1;
    } else if (kind === SYNC) {
      this.openBatch = false;
      if (!this.copyOpen) this.ended = 0;
    }
    if (this.skipping) {
      if (kind !== SYNC) {
        if (side !== undefined) this.listener.dropped(kind, side);
        return;
      }
      this.skipping = false;
    }
    if (this.copyOpen && (kind === SYNC || kind === COPY_END)) {
      if (kind === SYNC) this.maybe++;
      else this.copyOpen = false;
      if (this.headKind === EXECUTE) {
        this.openBatch = true;
        if (!this.copyOpen && this.maybe > 0) this.ended = this.answered + 1;
      }
      return;
    }
    const { ring } = this;
    if (this.pending === ring.entries.length) ring.grow(this.answered + 1, this.pushed);
    const index = ring.index(++this.pushed);
    ring.entries[index] = kind | (fate === SWALLOW ? SWALLOW_BIT : 0) | (named ? NAMED_BIT : 0);
    if (side !== undefined) ring.sides[index] = side;
    if (kind === SYNC || kind === QUERY || kind === FUNCTION_CALL) {
      this.batchStart = this.pushed;
      this.batchesInFlight++;
      ring.times[index] = performance.now();
    } else if (kind === COPY_END) {
      this.ended = executeBehindSyncs(ring, this.answered, this.pushed) || this.ended;
      this.settleHead();
    }
  }

  /**
   * What comes now cannot be in a COPY: it is the end of the session, unless the COPY has failed
   * before it has read the Syncs before this, which are answered then.
   */
  private copyIsNotMeant(): void {
    this.copyOpen = false;
    for (; this.maybe > 0; this.maybe--) this.push(SYNC);
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
    this.spare = 0;
    if (this.pending === 0) return MISMATCH;
    const entry = this.ring.entries[this.headIndex]!;
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
    return this.ring.index(this.answered + 1);
  }

  private commandEnds(type: number, kind: Kind, fate: Fate): Fate {
    this.endCopy(false);
    if (kind === QUERY) {
      this.begun = true;
      return fate;
    }
    if (!(this.ring.entries[this.headIndex]! & NAMED_BIT)) this.unnamedPortal = false;
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
    const entry = this.ring.entries[index]!;
    const side = this.ring.sides[index];
    this.pop(index);
    if (side !== undefined) this.listener.answered(entry & KIND_MASK, side);
    this.settleHead();
    return entry & SWALLOW_BIT ? SWALLOW : FORWARD;
  }

  private pop(index: number): void {
    this.ring.sides[index] = undefined;
    this.answered++;
    this.begun = false;
    if (this.ring.isLarge && this.answered === this.pushed) this.ring = new Ring();
  }

  /** Nothing answers a CopyDone on its own, nor what a COPY has consumed. */
  private settleHead(): void {
    while (this.pending > 0) {
      const kind = this.ring.entries[this.headIndex]! & KIND_MASK;
      if (kind !== CONSUMED && kind !== COPY_END) return;
      this.pop(this.headIndex);
    }
  }

  private ready(status: number): Fate {
    const index = this.headIndex;
    const entry = this.pending > 0 ? this.ring.entries[index]! : 0;
    const kind = entry & KIND_MASK;
    const ends =
      kind === SYNC ||
      kind === STARTUP ||
      ((kind === QUERY || kind === FUNCTION_CALL) && this.begun);
    if (!ends) {
      if (this.spare === 0) return MISMATCH;
      this.spare--;
      this.unentered++;
      this.skipping = false;
      // All that is answered came before that Sync, and nothing that came behind it is.
      if (this.lastExtended <= this.answered) this.openBatch = false;
      this.lastReady = this.answered;
      return FORWARD;
    }
    if (kind !== STARTUP) this.batchesInFlight--;
    const seq = this.answered + 1;
    if (kind === SYNC || status === IDLE) this.ran = this.bound = this.committedSince = false;
    if (status === IDLE && this.lastExtended < seq) this.openBatch = false;
    this.readySince = this.ring.times[index]!;
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
    const kind = this.ring.entries[index]! & KIND_MASK;
    const side = this.ring.sides[index];
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
      const kind = this.ring.entries[index]! & KIND_MASK;
      if (kind === SYNC) return;
      const side = this.ring.sides[index];
      this.pop(index);
      if (kind === QUERY || kind === FUNCTION_CALL) this.batchesInFlight--;
      if (side !== undefined) this.listener.dropped(kind, side);
    }
    this.skipping = true;
  }

  /** COPY FROM STDIN has begun: it consumes the Syncs before the next CopyDone or CopyFail. */
  private copyBegins(): void {
    const { ring, answered, pushed } = this;
    this.inCopy = true;
    this.maybe = 0;
    const end = endOfCopy(ring, answered, pushed);
    if (end === null) return;
    this.copyOpen = end === 0;
    this.maybe = consume(ring, answered + 2, end || pushed);
    this.batchesInFlight -= this.maybe;
    // The batch whose Sync was consumed goes on, unless another batch has been sent meanwhile.
    const last = (end || pushed) >= this.batchStart;
    if (last && this.maybe > 0 && this.headKind === EXECUTE) this.openBatch = true;
  }

  private endCopy(failed: boolean): void {
    if (!this.inCopy) return;
    this.inCopy = false;
    this.copyOpen = false;
    if (failed) this.spare = this.maybe;
    this.maybe = 0;
  }
}
