import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { Limits } from './limits.js';

/** Where the server is: an address, or the path of its Unix socket. */
export type Upstream = { host: string; port: number } | { path: string };

/**
 * Opens a connection to the server. It is paused: nothing is read until somebody resumes it.
 * @param signal gives up and leaves nothing behind.
 * @throws Error of the operating system; `timed out` after `connectTimeoutMs`.
 */
export function dial(upstream: Upstream, limits: Limits, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const options: NetConnectOpts & { highWaterMark: number } = {
      ...upstream,
      noDelay: true,
      allowHalfOpen: true,
      keepAlive: limits.keepAliveMs > 0,
      keepAliveInitialDelay: limits.keepAliveMs,
      highWaterMark: limits.bufferBytes,
    };
    const socket = connect(options);
    const timer = setTimeout(() => giveUp(new Error('timed out')), limits.connectTimeoutMs);
    const aborted = () => giveUp(new Error('given up'));
    const release = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
      socket.removeListener('error', giveUp);
    };
    const giveUp = (error: Error) => {
      release();
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    socket.once('error', giveUp);
    socket.once('connect', () => {
      release();
      resolve(socket.pause());
    });
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted);
  });
}

/** For messages: where the server is looked for. */
export function describeUpstream(upstream: Upstream): string {
  return 'path' in upstream ? upstream.path : `${upstream.host}:${upstream.port}`;
}
