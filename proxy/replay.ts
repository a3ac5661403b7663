import { FRONTEND } from './messages.js';

/** How often one batch is sent again before its error is passed on. */
const ATTEMPTS = 3;
const NONE = Buffer.alloc(0);
/** Up to this many bytes a loop is faster than a call of the runtime. */
const SHORT = 128;
/** Memory above this is not kept for the next batch. */
const KEPT = 4096;

/**
 * The bytes of a client's batch while it is in flight alone, so that it can be sent again when it
 * failed in its first message. They are copied to where the batches before it have been.
 */
export class Retained {
  /** Sequence number of its first message in the ledger; 0: nothing is kept. */
  seq = 0;
  /** It has failed: its ReadyForQuery is waited for, then it is sent again. */
  replaying = false;
  private bytes: Buffer = NONE;
  private length = 0;
  private ended = false;
  private attempts = 0;

  /** @param maxBytes of one batch. */
  constructor(private readonly maxBytes: number) {}

  /** The message that is sent next, with this number, begins a batch that may be sent again. */
  begin(seq: number): void {
    this.clear();
    this.seq = seq;
  }

  /** A message goes on, from `start` to `end` in `buf`. */
  add(buf: Buffer, start: number, end: number, type: number): void {
    const length = this.length + end - start;
    // What comes behind the batch would be overtaken by it.
    if (this.ended || length > this.maxBytes) {
      this.clear();
      return;
    }
    if (length > this.bytes.length) this.grow(length);
    const { bytes } = this;
    if (end - start > SHORT) buf.copy(bytes, this.length, start, end);
    else for (let from = start, to = this.length; from < end; from++) bytes[to++] = buf[from]!;
    this.length = length;
    this.ended = type === FRONTEND.sync || type === FRONTEND.query;
  }

  /** Whether the batch can be sent again, having failed at message `seq`. */
  canReplay(seq: number): boolean {
    return this.seq === seq && this.attempts < ATTEMPTS;
  }

  take(): Buffer {
    const bytes = Buffer.from(this.bytes.subarray(0, this.length));
    this.clear();
    this.replaying = false;
    this.attempts++;
    return bytes;
  }

  /** It has been answered. */
  done(): void {
    this.clear();
    this.attempts = 0;
  }

  clear(): void {
    this.seq = 0;
    this.length = 0;
    this.ended = false;
    if (this.bytes.length > KEPT) this.bytes = NONE;
  }

  private grow(needed: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length, 256));
    this.bytes.copy(bytes, 0, 0, this.length);
    this.bytes = bytes;
  }
}
