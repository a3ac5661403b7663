import { BACKEND } from './messages.js';

/** Longest login message that is read; the next of the same session is not looked for then. */
const LONGEST = 30_000;

/** Finds the BackendKeyData of a session whose messages are otherwise not read (replication). */
export class KeyReader {
  keyData: Buffer | null = null;
  /** The login is over, or not to be followed. */
  done = false;
  private bytes: Buffer = Buffer.alloc(0);

  feed(chunk: Buffer): void {
    if (this.done) return;
    this.bytes = Buffer.concat([this.bytes, chunk]);
    let at = 0;
    while (!this.done && this.bytes.length - at >= 5) {
      const type = this.bytes[at]!;
      const length = this.bytes.readInt32BE(at + 1);
      if (length < 4 || length > LONGEST || type === BACKEND.readyForQuery) this.done = true;
      else if (this.bytes.length - at <= length) break;
      else if (type === BACKEND.backendKeyData) {
        this.keyData = Buffer.from(this.bytes.subarray(at + 5, at + 1 + length));
      }
      at += 1 + length;
    }
    this.bytes = this.done ? Buffer.alloc(0) : this.bytes.subarray(at);
  }
}

/** The server's process, of BackendKeyData; null: the server has not said. */
export function pidOf(keyData: Buffer | null): number | null {
  return keyData && keyData.length >= 4 ? keyData.readInt32BE(0) : null;
}
