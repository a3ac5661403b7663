import type { Socket } from 'node:net';

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
