import type { Socket } from 'node:net';
import { quiesce } from './handle-wire.js';
import type { Limits } from './limits.js';
import { ProxyHeader } from './proxy-protocol.js';
import type { Seat } from './seat.js';
import { StartupReader, type StartupStep } from './startup.js';

/** What a client turns out to want, once its start-up packet is here. */
export type Arrival = (
  | Exclude<StartupStep, { step: 'more' | 'decline' }>
  /** The load balancer does not say who the client is; nothing may be said to it. */
  | { step: 'malformed'; message: string }
) & {
  /** What to talk to it through from now on; paused. */
  client: Socket;
  /** Where it is, for the log: `address:port`, or `[local]`. */
  from: string;
};

/**
 * Reads what a client says before it speaks messages, and answers its requests for encryption.
 * @returns null when it has gone without a word, or was silent for too long (the caller's
 *   `loginTimeoutMs` runs on).
 */
export function arrive(socket: Socket, limits: Limits, seat: Seat): Promise<Arrival | null> {
  return new Promise((resolve) => {
    let header = seat.announced ? new ProxyHeader() : null;
    let from = describePeer(socket.remoteAddress, socket.remotePort);
    const reader = new StartupReader(limits.startupPacketBytes);
    const onData = (chunk: Buffer) => {
      let bytes = chunk;
      if (header) {
        const step = header.feed(bytes);
        if (step.step === 'more') return;
        if (step.step === 'bad') {
          leave({ step: 'malformed', message: step.message, client: socket, from });
          return;
        }
        if (step.source) from = describePeer(step.source.address, step.source.port);
        header = null;
        bytes = step.rest;
        if (bytes.length === 0) return;
      }
      const step = reader.feed(bytes);
      if (step.step === 'more') return;
      if (step.step === 'decline') socket.write('N');
      else leave({ ...step, client: socket, from });
    };
    const onEnd = () => socket.destroy();
    const onError = () => socket.destroy();
    const onClose = () => leave(null);
    const leave = (arrival: Arrival | null) => {
      quiesce(socket);
      socket.removeListener('data', onData);
      socket.removeListener('end', onEnd);
      socket.removeListener('close', onClose);
      // The next owner adds its own before anything can happen: this promise is all it awaits.
      setImmediate(() => socket.removeListener('error', onError));
      resolve(arrival);
    };
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
  });
}

/** PostgreSQL's word for a client that has no address, since it came by a Unix socket. */
function describePeer(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return '[local]';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
