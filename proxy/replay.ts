/** How often one batch is sent again before its error is passed on. */
const ATTEMPTS = 3;

/**
 * The bytes of a client's batch while it is in flight alone, so that it can be sent again when it
 * failed in its first message. They are parts of the chunks that the client sent, not copies.
 */
export class Retained {
  /** Sequence number of its first message in the ledger; 0: nothing is kept. */
  seq = 0;
  /** It has failed: its ReadyForQuery is waited for, then it is sent again. */
  replaying = false;
  private parts: Buffer[] = [];
  private bytes = 0;
  private ended = false;
  private attempts = 0;

  /** @param maxBytes of one batch. */
  constructor(private readonly maxBytes: number) {}

  /** The message that is sent next, with this number, begins a batch that may be sent again. */
  begin(seq: number): void {
    this.clear();
    this.seq = seq;
  }

  /** A message goes on, from `start` to `end` in `buf`. @param ends it is the batch's last. */
  add(buf: Buffer, start: number, end: number, ends: boolean): void {
    this.bytes += end - start;
    // What comes behind the batch would be overtaken by it.
    if (this.ended || this.bytes > this.maxBytes) {
      this.clear();
      return;
    }
    this.parts.push(buf.subarray(start, end));
    this.ended = ends;
  }

  /** Whether the batch can be sent again, having failed at message `seq`. */
  canReplay(seq: number): boolean {
    return this.seq === seq && this.attempts < ATTEMPTS;
  }

  take(): Buffer {
    const bytes = Buffer.concat(this.parts);
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
    this.parts = [];
    this.bytes = 0;
    this.ended = false;
  }
}
