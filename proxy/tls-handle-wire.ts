import { HandleWire, makeRequest } from './handle-wire.js';
import type { Outbox } from './outbox.js';

/** How much may wait behind a write before the sender is told to wait. */
const ROOM = 64 * 1024;

/**
 * A socket within TLS, by its handle. Node encrypts a write at once, so that its bytes are free
 * again, but says only later that it is done, and takes no other one until then: what is to be
 * sent meanwhile goes with the next. When a write fails, what the other end has said before is
 * still read: a stream of Node's would throw away the server's reason for having closed.
 */
export class TlsHandleWire extends HandleWire {
  private busy = false;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  /** The sender has been told to wait. */
  private choked = false;
  private ending = false;

  get flowing(): boolean {
    return !this.choked;
  }

  send(out: Outbox): boolean {
    if (this.over) {
      out.clear();
      return true;
    }
    if (out.length === 0) return this.flowing;
    if (this.busy) {
      this.waitingBytes += out.length;
      this.waiting.push(out.take());
      if (this.waitingBytes > ROOM) this.choked = true;
    } else {
      this.write(out.view());
      out.clear();
    }
    return this.flowing;
  }

  /** Sends what waits, then the end; reading goes on. */
  override end(): void {
    this.over = true;
    if (this.busy) this.ending = true;
    else this.socket.end();
  }

  written(status: number): void {
    this.busy = false;
    if (status < 0) {
      this.forget();
      this.cannotWrite();
      return;
    }
    if (this.waitingBytes > 0) {
      const bytes = this.waiting.length === 1 ? this.waiting[0]! : Buffer.concat(this.waiting);
      this.forget();
      this.write(bytes);
    }
    if (this.busy) return;
    if (this.ending) this.socket.end();
    else if (this.choked) {
      this.choked = false;
      this.listener.drained();
    }
  }

  private write(bytes: Buffer): void {
    const request = makeRequest();
    request.handle = this.handle;
    this.busy = this.handle.writeBuffer(request, bytes) === 0;
    if (!this.busy) this.cannotWrite();
  }

  private forget(): void {
    this.waiting = [];
    this.waitingBytes = 0;
  }
}
