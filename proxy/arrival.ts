import type { Socket } from 'node:net';
import { quiesce } from './handle-wire.js';
import type { Limits } from './limits.js';
import { StartupReader, type StartupStep } from './startup.js';

/** What a client turns out to want, once its start-up packet is here. */
export type Arrival = Exclude<StartupStep, { step: 'more' | 'decline' }> & {
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
export function arrive(socket: Socket, limits: Limits): Promise<Arrival | null> {
  return new Promise((resolve) => {
    const from = describePeer(socket);
    const reader = new StartupReader(limits.startupPacketBytes);
    const onData = (chunk: Buffer) => {
      const step = reader.feed(chunk);
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

/** Who is at the other end, as long as the socket is open; PostgreSQL's word for a Unix socket. */
function describePeer({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress === undefined ? '[local]' : `${remoteAddress}:${remotePort}`;
}
