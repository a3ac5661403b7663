import type { Socket } from 'node:net';

/** A message as it came: `bytes` with its header. */
export interface Letter {
  type: number;
  body: Buffer;
  bytes: Buffer;
}

/** The other side has gone, or speaks no messages. */
export class Unreadable extends Error {}

/** Longest message of a login, bytes (the server's own PG_MAX_AUTH_TOKEN_LENGTH). */
const LONGEST = 65_535;

/** Reads a paused socket message by message, and leaves what it has not given away. */
export class Mailbox {
  private bytes: Buffer;
  private fault: Unreadable | null = null;
  private wake: (() => void) | null = null;
  private readonly onData = (chunk: Buffer) => {
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    // One chunk at a time: an end behind it is not to be seen before whoever is next listens.
    this.socket.pause();
    this.wake?.();
  };
  private readonly onEnd = () => this.fail('it has closed the connection');
  private readonly onError = (error: Error) => this.fail(error.message);

  /** @param first what has been read already. */
  constructor(
    private readonly socket: Socket,
    first: Buffer = Buffer.alloc(0),
  ) {
    this.bytes = first;
    socket.on('data', this.onData);
    socket.on('end', this.onEnd);
    socket.on('close', this.onEnd);
    socket.on('error', this.onError);
    socket.pause();
    if (socket.destroyed) this.onEnd();
  }

  /** @throws Unreadable */
  async next(): Promise<Letter> {
    for (;;) {
      const letter = this.cut();
      if (letter) return letter;
      if (this.fault) throw this.fault;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        this.socket.resume();
      });
      this.wake = null;
    }
  }

  /** Stops reading. @returns what came behind the last message. */
  leave(): Buffer {
    const { socket } = this;
    socket.pause();
    socket.removeListener('data', this.onData);
    socket.removeListener('end', this.onEnd);
    socket.removeListener('close', this.onEnd);
    // The next owner adds its own before anything can happen.
    setImmediate(() => socket.removeListener('error', this.onError));
    return this.bytes;
  }

  private cut(): Letter | null {
    const { bytes } = this;
    if (bytes.length < 5) return null;
    const length = bytes.readInt32BE(1);
    if (length < 4 || length > LONGEST) throw new Unreadable('it sent an invalid message');
    if (bytes.length < length + 1) return null;
    this.bytes = bytes.subarray(length + 1);
    return {
      type: bytes[0]!,
      body: bytes.subarray(5, length + 1),
      bytes: bytes.subarray(0, length + 1),
    };
  }

  private fail(detail: string): void {
    this.fault ??= new Unreadable(detail);
    this.wake?.();
  }
}
