/** Room for what one read of 64 KiB leads to, in most cases. */
const ROOM = 128 * 1024;
/** Above this the memory is not kept for the next time. */
const KEPT = 1024 * 1024;

/** Up to this many bytes a loop is faster than a call of the runtime. */
const SHORT = 128;
/** How many views are kept: those of short answers and requests. */
const VIEWS = 2048;
/** Room for a message's type and length. */
const HEADER = Buffer.alloc(5);

/**
 * What is to be written next to one socket. All sessions share one, since each empties it in the
 * turn in which it filled it: bytes are copied once, into memory that is always warm, and go to the
 * operating system with one call.
 */
export class Outbox {
  private bytes: Buffer = Buffer.allocUnsafeSlow(ROOM);
  /** Views of its first bytes, by their number: the same lengths come again and again. */
  private views: Buffer[] = [];
  length = 0;
  /** Another one whenever it has been emptied. */
  turn = 0;

  /** Appends `buf[from..to)`. */
  add(buf: Buffer, from = 0, to = buf.length): void {
    const end = this.length + to - from;
    if (end > this.bytes.length) this.grow(end);
    const { bytes } = this;
    if (to - from > SHORT) buf.copy(bytes, this.length, from, to);
    else for (let i = from, at = this.length; i < to; i++, at++) bytes[at] = buf[i]!;
    this.length = end;
  }

  /** Makes room for so many bytes, which whoever asks writes. @returns where in `memory`. */
  room(length: number): number {
    const at = this.length;
    if (at + length > this.bytes.length) this.grow(at + length);
    this.length = at + length;
    return at;
  }

  get memory(): Buffer {
    return this.bytes;
  }

  /** Begins a message whose length is not known yet. @returns where it is. */
  open(): number {
    const at = this.length;
    this.add(HEADER);
    return at;
  }

  /** The message at `at` goes to here, or is none if it is empty. @returns where it ends. */
  close(at: number, type: number): number {
    const bodyBytes = this.length - at - HEADER.length;
    if (bodyBytes === 0) this.length = at;
    else {
      this.bytes[at] = type;
      this.bytes.writeInt32BE(bodyBytes + 4, at + 1);
    }
    return this.length;
  }

  /** What is in it, valid until it is filled again. */
  view(): Buffer {
    const { length } = this;
    if (length >= VIEWS) return this.bytes.subarray(0, length);
    const known = this.views[length];
    if (known) return known;
    const view = this.bytes.subarray(0, length);
    this.views[length] = view;
    return view;
  }

  /** What is in it, as bytes of their own; it is empty then. */
  take(): Buffer {
    const bytes = Buffer.from(this.view());
    this.clear();
    return bytes;
  }

  clear(): void {
    this.length = 0;
    this.turn++;
    if (this.bytes.length > KEPT) this.giveAway();
  }

  /** Leaves its memory, with what is in it, to whoever has a view. */
  giveAway(): void {
    this.use(Buffer.allocUnsafeSlow(ROOM));
    this.length = 0;
    this.turn++;
  }

  private grow(needed: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(bytes, 0, 0, this.length);
    this.use(bytes);
  }

  private use(bytes: Buffer): void {
    this.bytes = bytes;
    this.views = [];
  }
}
