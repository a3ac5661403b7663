import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { handleOf, PlainHandleWire } from './handle-wire.js';
import type { Outbox } from './outbox.js';
import { TlsHandleWire } from './tls-handle-wire.js';

/** Who is told what happens on a wire. */
export interface WireListener {
  /** @param chunk belongs to the listener only until it returns. */
  data(chunk: Buffer): void;
  /** The other end has no more to say. */
  ended(): void;
  /** More may be sent, after `send` has said no. */
  drained(): void;
  /** It is over, for whatever reason. Called once, and last. */
  closed(): void;
}

/** One socket of a session: bytes both ways, half-close, backpressure. Begins paused. */
export interface Wire {
  /** Sends and empties what is in `out`; false when no more should be sent until `drained`. */
  send(out: Outbox): boolean;
  /** False while what was sent waits for the other end. */
  readonly flowing: boolean;
  /** Nothing more can be sent. */
  readonly over: boolean;
  pause(): void;
  resume(): void;
  /** Sends what waits, then the end; reading goes on. */
  end(): void;
  destroy(): void;
}

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
