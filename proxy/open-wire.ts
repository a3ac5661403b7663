import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { handleOf, PlainHandleWire } from './handle-wire.js';
import type { Outbox } from './outbox.js';
import { TlsHandleWire } from './tls-handle-wire.js';
import type { Wire, WireListener } from './wire.js';

/** Takes over a connected, paused socket. */
export function openWire(socket: Socket, listener: WireListener): Wire {
  const handle = handleOf(socket);
  if (!handle) return new StreamWire(socket, listener);
  const Handled = socket instanceof TLSSocket ? TlsHandleWire : PlainHandleWire;
  return new Handled(socket, handle, listener);
}

/** Any socket of Node's, by what is documented of it. */
class StreamWire implements Wire {
  constructor(
    private readonly socket: Socket,
    listener: WireListener,
  ) {
    socket.on('data', (chunk) => listener.data(chunk));
    socket.on('end', () => listener.ended());
    socket.on('drain', () => listener.drained());
    // Its 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => listener.closed());
    socket.pause();
  }

  get flowing(): boolean {
    return !this.socket.writableNeedDrain;
  }

  get over(): boolean {
    return !this.socket.writable;
  }

  send(out: Outbox): boolean {
    if (this.over) {
      out.clear();
      return true;
    }
    return out.length === 0 ? this.flowing : this.socket.write(out.take());
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }
}
