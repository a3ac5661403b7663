import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Outbox } from './outbox.js';
import type { Wire, WireListener } from './wire.js';

/**
 * The fast way: a socket that is read and written by its handle, beneath Node's streams, which cost
 * as much as the system calls do. All reads share one buffer, and what a plain TCP or Unix socket
 * sends is almost always taken by the operating system at once, so that nothing is allocated for it.
 *
 * This and `tls-handle-wire.ts` are the only files that use what Node does not document (`_handle`,
 * the `stream_wrap` binding). It is the same in Node 20, 22 and 24; where anything of it is not as
 * expected, `handleOf` says null and the streams are used.
 */

/** What of Node's stream handle is used (lib/internal/stream_base_commons.js). */
export interface Handle {
  onread: (this: Handle) => void;
  reading: boolean;
  useUserBuffer(buffer: Buffer): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, bytes: Buffer): number;
  wire?: HandleWire;
}

export interface WriteRequest {
  handle: Handle | null;
  oncomplete: (this: WriteRequest, status: number) => void;
  buffer?: Buffer;
}

interface StreamWrap {
  WriteWrap: new () => WriteRequest;
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
}

const READ_BYTES = 64 * 1024;

const wrap = findStreamWrap();
/** What arrives is here until the listener returns; one is enough, since reads do not overlap. */
const arrived = Buffer.allocUnsafeSlow(READ_BYTES);
/** Views of its first bytes, by their number: short messages have few lengths. */
const arrivedViews: (Buffer | undefined)[] = new Array(2048).fill(undefined);
/** A request that was never used, because the write was done at once. */
let spare: WriteRequest | null = null;

function findStreamWrap(): StreamWrap | null {
  try {
    const { binding } = process as unknown as { binding(name: string): StreamWrap };
    const found = binding('stream_wrap');
    const whole =
      typeof found.WriteWrap === 'function' &&
      ArrayBuffer.isView(found.streamBaseState) &&
      Number.isInteger(found.kReadBytesOrError) &&
      Number.isInteger(found.kLastWriteWasAsync);
    return whole ? found : null;
  } catch {
    return null;
  }
}

/** The handle of a plain socket, or of one within TLS, that can be used; null: use the stream. */
export function handleOf(socket: Socket): Handle | null {
  const kind: unknown = Object.getPrototypeOf(socket);
  if (wrap === null || (kind !== Socket.prototype && kind !== TLSSocket.prototype)) return null;
  if (socket.readableLength > 0 || socket.writableLength > 0 || socket.destroyed) return null;
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  const methods = ['useUserBuffer', 'readStart', 'readStop', 'writeBuffer'] as const;
  return handle && methods.every((name) => typeof handle[name] === 'function') ? handle : null;
}

/**
 * Stops a socket's reading at once, not when its stream's buffer is full, so that nothing of it is
 * between the handle and the next owner. `resume` starts it again.
 */
export function quiesce(socket: Socket): void {
  socket.pause();
  const handle = handleOf(socket);
  if (!handle?.reading) return;
  handle.reading = false;
  handle.readStop();
}

/** What both kinds of sockets have in common: how they are read, and how they end. */
export abstract class HandleWire implements Wire {
  private reading = false;
  protected hasEnded = false;
  /** Nothing more can be sent. */
  over = false;

  constructor(
    protected readonly socket: Socket,
    protected readonly handle: Handle,
    protected readonly listener: WireListener,
  ) {
    handle.readStop();
    handle.useUserBuffer(arrived);
    handle.wire = this;
    handle.onread = onRead;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.over = true;
      listener.closed();
    });
    socket.on('finish', () => this.closeWhenBothEnded());
  }

  abstract readonly flowing: boolean;
  abstract send(out: Outbox): boolean;
  /** A write that was not done at once is: 0, or a negative error number. */
  abstract written(status: number): void;

  pause(): void {
    if (!this.reading) return;
    this.reading = false;
    if (!this.socket.destroyed) this.handle.readStop();
  }

  resume(): void {
    if (this.reading || this.hasEnded || this.socket.destroyed) return;
    this.reading = true;
    this.handle.readStart();
  }

  end(): void {
    this.over = true;
    this.socket.end();
  }

  destroy(): void {
    this.over = true;
    this.socket.destroy();
  }

  /** @param bytes read, or a negative error number. */
  read(bytes: number): void {
    if (bytes > 0) this.listener.data(firstOfArrived(bytes));
    else if (bytes < 0) this.readEnds(bytes);
  }

  /** The other end takes no more. What it said before it went, and its end, are still to be read. */
  protected cannotWrite(): void {
    this.over = true;
    if (this.hasEnded) this.destroy();
    else this.resume();
  }

  private readEnds(error: number): void {
    this.pause();
    this.hasEnded = true;
    if (error !== UV_EOF) {
      this.destroy();
      return;
    }
    this.listener.ended();
    this.closeWhenBothEnded();
  }

  private closeWhenBothEnded(): void {
    if (this.hasEnded && this.socket.writableFinished) this.destroy();
  }
}

/** A plain TCP or Unix socket. */
export class PlainHandleWire extends HandleWire {
  /** How many writes the operating system has not taken. */
  private writes = 0;

  get flowing(): boolean {
    return this.writes === 0;
  }

  send(out: Outbox): boolean {
    if (out.length === 0) return this.writes === 0;
    if (this.over) {
      out.clear();
      return true;
    }
    const request = spare ?? makeRequest();
    spare = null;
    const bytes = out.view();
    const failed = this.handle.writeBuffer(request, bytes);
    if (failed !== 0) {
      out.clear();
      this.cannotWrite();
      return true;
    }
    if (wrap!.streamBaseState[wrap!.kLastWriteWasAsync] !== 0) {
      request.handle = this.handle;
      // Nobody else keeps the bytes from the garbage collector until they are written.
      request.buffer = bytes;
      out.giveAway();
      this.writes++;
      return false;
    }
    out.clear();
    spare = request;
    return this.writes === 0;
  }

  written(status: number): void {
    this.writes--;
    if (status < 0) this.cannotWrite();
    else if (this.writes === 0) this.listener.drained();
  }
}

export function makeRequest(): WriteRequest {
  const request = new wrap!.WriteWrap();
  request.handle = null;
  request.oncomplete = onWritten;
  return request;
}

function firstOfArrived(bytes: number): Buffer {
  if (bytes >= arrivedViews.length) return arrived.subarray(0, bytes);
  arrivedViews[bytes] ??= arrived.subarray(0, bytes);
  return arrivedViews[bytes];
}

/** libuv's end of file. */
const UV_EOF = -4095;

function onRead(this: Handle): void {
  this.wire!.read(wrap!.streamBaseState[wrap!.kReadBytesOrError]!);
}

function onWritten(this: WriteRequest, status: number): void {
  this.handle!.wire!.written(status);
}
