import { connect, type NetConnectOpts, type Socket } from 'node:net';

export type Upstream = { host: string; port: number } | { path: string };

/** Opens a connection to the server; `bufferBytes` as in `Limits`. */
export function connectUpstream(upstream: Upstream, bufferBytes: number): Socket {
  const options: NetConnectOpts & { highWaterMark: number } = {
    ...upstream,
    noDelay: true,
    allowHalfOpen: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    highWaterMark: bufferBytes,
  };
  return connect(options);
}

/** Writes several buffers with one system call; false when no more should be written for now. */
export function writeAll(socket: Socket, buffers: readonly Buffer[]): boolean {
  if (buffers.length === 0) return !socket.writableNeedDrain;
  if (!socket.writable) return true;
  if (buffers.length === 1) return socket.write(buffers[0]!);
  socket.cork();
  for (const buffer of buffers) socket.write(buffer);
  socket.uncork();
  return !socket.writableNeedDrain;
}

/** For messages: where the server is looked for. */
export function describeUpstream(upstream: Upstream): string {
  return 'path' in upstream ? upstream.path : `${upstream.host}:${upstream.port}`;
}
