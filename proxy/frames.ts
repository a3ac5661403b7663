import { Outbox } from './outbox.js';

/**
 * Cuts one direction of a connection into messages by their headers, and collects what goes on.
 * It owns no socket: it is fed chunks, split in any way, and leaves in `out` the bytes to write.
 * Of a chunk it keeps nothing: what has to wait is copied.
 */

/** What becomes of a message. */
export type Verdict = 0 | 1 | 2 | 3 | 4 | 5;
/** It goes on as it came. */
export const PASS = 0;
/** It goes no further. */
export const DROP = 1;
/** Its body is needed first: gather up to `holdBytes`, then ask again. */
export const HOLD = 2;
/** It, and all behind it, stays until `run` is called again. */
export const WAIT = 3;
/** The connection cannot go on. */
export const FAIL = 4;
/** Its body is given to `body` as it comes, and goes no further. */
export const TAKE = 5;

export interface FrameSink {
  /**
   * Asked once for each message, and again after HOLD or WAIT.
   * @param length the header's length: that of the body plus 4.
   * @param at where the body begins in `buf`; -1 when it is not here (answer by the header, or HOLD).
   * @param end where the part of the body that is here ends; short of the whole only after a HOLD
   *   that hit `holdBytes`.
   */
  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict;
  /** Bytes `from` to `to` of the body of a message that is taken; what comes of them is in `out`. */
  body?(buf: Buffer, from: number, to: number): void;
  /** How many bytes of a message are gathered at most, its header included. */
  holdBytes(type: number): number;
  /**
   * Whether the verdict on a message of this type is also that on all of the type that follow it
   * at once, so that they need not be asked about (rows of a result, data of a COPY).
   */
  steady(type: number): boolean;
  /** Whether a header can be right; when not, `run` says `bad`. */
  valid(type: number, length: number): boolean;
}

export type RunResult = 'more' | 'wait' | 'fail' | 'bad';

const EMPTY = Buffer.alloc(0);
const HEADER = 5;
/** Room for a message that is gathered, at first: that of most. */
const FIRST_BYTES = 128 * 1024;
/** From so many bytes on it is not part of a pool. */
const OWN_BYTES = 4_096;

export class FrameReader {
  private chunk: Buffer = EMPTY;
  private pos = 0;
  /** Start of the bytes of the chunk that pass and are not in `out` yet; -1: none. */
  private span = -1;
  /** Bytes still to come of a message whose verdict is known. */
  private rest = 0;
  private restPasses = false;
  private restIsTaken = false;
  /** A header that came in several chunks. */
  private readonly header = Buffer.allocUnsafe(HEADER);
  private headerBytes = 0;
  /** Memory of a message being gathered, how much of it there is, and how many bytes are wanted. */
  private gathering: Buffer = EMPTY;
  private gathered = 0;
  private wanted = 0;
  /** A gathered message that the sink has to be asked about. */
  private message: Buffer | null = null;
  private type = 0;
  private length = 0;

  /** @param out gets what is to be written, in order; whoever writes it empties it. */
  constructor(
    private readonly sink: FrameSink,
    readonly out = new Outbox(),
  ) {}

  /** The next chunk; only after `run` has said `more`. */
  feed(chunk: Buffer): void {
    this.chunk = chunk;
    this.pos = 0;
  }

  /** True when what was passed so far ends with a whole message. */
  get atBoundary(): boolean {
    return this.rest === 0 || !this.restPasses;
  }

  /** Whether `rewind` is possible: no message has gone on in part. */
  get canRewind(): boolean {
    return this.rest === 0;
  }

  /** Puts bytes before all that has not been judged yet. */
  rewind(bytes: Buffer): void {
    const gathered = this.message ?? this.gathering.subarray(0, this.gathered);
    const header = this.header.subarray(0, this.headerBytes);
    this.chunk = Buffer.concat([bytes, header, gathered, this.chunk.subarray(this.pos)]);
    this.pos = 0;
    this.headerBytes = 0;
    this.message = null;
    this.gathering = EMPTY;
    this.gathered = 0;
    this.wanted = 0;
  }

  /** Puts a message of our own before the one that the sink is being asked about. */
  emit(bytes: Buffer): void {
    this.endSpan();
    this.out.add(bytes);
  }

  /** Where messages of our own are to be written. */
  get tail(): Outbox {
    this.endSpan();
    return this.out;
  }

  /** Whether the message that the sink is being asked about lies in memory that is its alone, and stays. */
  get isOwn(): boolean {
    return this.message !== null && this.message.length >= OWN_BYTES;
  }

  /** Goes on until the chunk is used up, or the sink stops it. */
  run(): RunResult {
    const result = this.loop();
    this.endSpan();
    if (result === 'more') this.chunk = EMPTY;
    else if (result === 'wait' && this.pos < this.chunk.length) {
      this.chunk = Buffer.from(this.chunk.subarray(this.pos));
      this.pos = 0;
    }
    return result;
  }

  private loop(): RunResult {
    for (;;) {
      if (this.rest > 0 && !this.finishMessage()) return 'more';
      if (this.wanted > 0 && !this.gather()) return 'more';
      if (this.message) {
        const stop = this.judgeGathered(this.message);
        if (stop) return stop;
        continue;
      }
      if (this.pos >= this.chunk.length) return 'more';
      const stop =
        this.headerBytes === 0 && this.chunk.length - this.pos >= HEADER
          ? this.judgeInPlace()
          : this.readSplitHeader();
      if (stop) return stop;
    }
  }

  private endSpan(): void {
    if (this.span < 0) return;
    this.out.add(this.chunk, this.span, this.pos);
    this.span = -1;
  }

  private finishMessage(): boolean {
    const n = Math.min(this.rest, this.chunk.length - this.pos);
    this.step(n, this.restPasses);
    if (this.restIsTaken) this.sink.body?.(this.chunk, this.pos - n, this.pos);
    this.rest -= n;
    if (this.rest === 0) this.restIsTaken = false;
    return this.rest === 0;
  }

  /** Leaves `n` bytes of the chunk behind, passing or not. */
  private step(n: number, passes: boolean): void {
    if (!passes) this.endSpan();
    else if (this.span < 0 && n > 0) this.span = this.pos;
    this.pos += n;
  }

  private judgeInPlace(): RunResult | null {
    const { chunk, pos } = this;
    const type = chunk[pos]!;
    const length = readLength(chunk, pos + 1);
    if (!this.sink.valid(type, length)) return 'bad';
    const total = length + 1;
    const available = chunk.length - pos;
    const whole = available >= total;
    const at = whole ? pos + HEADER : -1;
    const verdict = this.sink.frame(type, length, chunk, at, pos + total);
    switch (verdict) {
      case PASS:
      case DROP: {
        let n = whole ? total : available;
        if (whole && this.sink.steady(type)) n += this.following(type, pos + total);
        this.step(n, verdict === PASS);
        this.rest = whole ? 0 : total - n;
        this.restPasses = verdict === PASS;
        return null;
      }
      case TAKE:
        this.step(HEADER, false);
        this.take(length - 4);
        return null;
      case HOLD:
        this.endSpan();
        this.startGathering(type, length, EMPTY);
        return null;
      case WAIT:
        return 'wait';
      default:
        return 'fail';
    }
  }

  /** How many bytes of whole messages of this type there are from `at` on. */
  private following(type: number, at: number): number {
    const { chunk, sink } = this;
    let pos = at;
    while (pos + HEADER <= chunk.length && chunk[pos] === type) {
      const length = readLength(chunk, pos + 1);
      if (pos + 1 + length > chunk.length || !sink.valid(type, length)) break;
      pos += 1 + length;
    }
    return pos - at;
  }

  private readSplitHeader(): RunResult | null {
    const { chunk, header } = this;
    this.endSpan();
    const n = Math.min(HEADER - this.headerBytes, chunk.length - this.pos);
    chunk.copy(header, this.headerBytes, this.pos, this.pos + n);
    this.headerBytes += n;
    this.pos += n;
    if (this.headerBytes < HEADER) return null;
    this.headerBytes = 0;
    const type = header[0]!;
    const length = readLength(header, 1);
    if (!this.sink.valid(type, length)) return 'bad';
    if (length === 4) {
      this.type = type;
      this.length = length;
      this.message = Buffer.from(header);
      return null;
    }
    const verdict = this.sink.frame(type, length, header, -1, -1);
    if (verdict === PASS || verdict === DROP) {
      if (verdict === PASS) this.out.add(header);
      this.rest = length - 4;
      this.restPasses = verdict === PASS;
      return null;
    }
    if (verdict === TAKE) {
      this.take(length - 4);
      return null;
    }
    if (verdict !== HOLD) return 'fail';
    this.startGathering(type, length, Buffer.from(header));
    return null;
  }

  private startGathering(type: number, length: number, first: Buffer): void {
    this.type = type;
    this.length = length;
    this.wanted = Math.min(length + 1, Math.max(this.sink.holdBytes(type), HEADER + 1));
    const room = Math.min(this.wanted, FIRST_BYTES);
    this.gathering = room < OWN_BYTES ? Buffer.allocUnsafe(room) : Buffer.allocUnsafeSlow(room);
    this.gathered = first.copy(this.gathering);
  }

  private gather(): boolean {
    const n = Math.min(this.wanted - this.gathered, this.chunk.length - this.pos);
    const end = this.gathered + n;
    if (end > this.gathering.length) this.enlarge(end);
    this.chunk.copy(this.gathering, this.gathered, this.pos, this.pos + n);
    this.pos += n;
    this.gathered = end;
    if (end < this.wanted) return false;
    this.message = this.gathering.subarray(0, end);
    this.gathering = EMPTY;
    this.gathered = 0;
    this.wanted = 0;
    return true;
  }

  /** A length that a peer has only claimed takes no memory: it grows with what is there. */
  private enlarge(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.min(this.wanted, 2 * needed));
    this.gathering.copy(larger, 0, 0, this.gathered);
    this.gathering = larger;
  }

  private judgeGathered(message: Buffer): RunResult | null {
    const verdict = this.sink.frame(this.type, this.length, message, HEADER, message.length);
    if (verdict === WAIT) return 'wait';
    if (verdict !== PASS && verdict !== DROP && verdict !== TAKE) return 'fail';
    if (verdict === PASS) this.out.add(message);
    this.message = null;
    const rest = this.length + 1 - message.length;
    if (verdict === TAKE) {
      this.sink.body?.(message, HEADER, message.length);
      this.take(rest);
    } else this.rest = rest;
    this.restPasses = verdict === PASS;
    return null;
  }

  /** The next so many bytes are the body of a message that is taken. */
  private take(bytes: number): void {
    this.rest = bytes;
    this.restPasses = false;
    this.restIsTaken = bytes > 0;
  }
}

function readLength(buf: Buffer, at: number): number {
  return (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!;
}
