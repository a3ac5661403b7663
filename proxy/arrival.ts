import type { Socket } from 'node:net';
import { quiesce } from './handle-wire.js';
import type { Limits } from './limits.js';
import { ProxyHeader } from './proxy-protocol.js';
import type { Seat } from './seat.js';
import { type Encryption, StartupReader, type StartupStep } from './startup.js';
import type { TlsFront } from './tls.js';

/** What a client turns out to want, once its start-up packet is here. */
export type Arrival = (
  | Extract<StartupStep, { step: 'cancel' | 'start' | 'bad' }>
  /** Its certificate is missing, or not good. */
  | { step: 'untrusted'; reason: string }
  /** The load balancer does not say who the client is; nothing may be said to it. */
  | { step: 'malformed'; message: string }
) & {
  /** What to talk to it through from now on; paused. */
  client: Socket;
  encrypted: boolean;
  /** Where it is, for the log: `address:port`, or `[local]`. */
  from: string;
};

type Spoken =
  | Exclude<StartupStep, { step: 'more' | 'decline' }>
  | { step: 'malformed'; message: string };

/**
 * Reads what a client says before it speaks messages, and answers its requests for encryption.
 * @param tls null: encryption is not to be had.
 * @returns null when it has gone without a word, failed at TLS, or was silent for too long (the
 *   caller's `loginTimeoutMs` runs on).
 */
export async function arrive(
  socket: Socket,
  limits: Limits,
  tls: TlsFront | null,
  seat: Seat,
): Promise<Arrival | null> {
  const caller = { from: describePeer(socket.remoteAddress, socket.remotePort) };
  const header = seat.announced ? new ProxyHeader() : null;
  const spoken = await hear(socket, limits, tls ? 'offered' : 'none', caller, header);
  if (spoken === null) return null;
  if (spoken.step !== 'secure' && spoken.step !== 'direct') {
    return { ...spoken, ...caller, client: socket, encrypted: false };
  }
  if (!tls) {
    // A client that speaks TLS would not understand a word.
    socket.destroy();
    return null;
  }
  // An error of the socket before its handshake is over closes it, and that is seen.
  socket.on('error', () => undefined);
  if (spoken.step === 'secure') socket.write('S');
  const wrapped = await tls.wrap(socket, spoken.step === 'direct');
  if (!wrapped) return null;
  const { client, refused } = wrapped;
  if (refused !== null) {
    return { step: 'untrusted', reason: refused, ...caller, client, encrypted: true };
  }
  const within = await hear(client, limits, 'on', caller, null);
  if (within === null) return null;
  if (within.step === 'secure' || within.step === 'direct') {
    client.destroy();
    return null;
  }
  return { ...within, ...caller, client, encrypted: true };
}

/**
 * Reads up to a packet that decides something, and leaves the socket paused.
 * @param caller corrected by what the header says.
 * @param header a PROXY header, which comes before all else.
 */
function hear(
  socket: Socket,
  limits: Limits,
  encryption: Encryption,
  caller: { from: string },
  header: ProxyHeader | null,
): Promise<Spoken | null> {
  return new Promise((resolve) => {
    let awaited = header;
    const reader = new StartupReader(limits.startupPacketBytes, encryption);
    const onData = (chunk: Buffer) => {
      let bytes = chunk;
      if (awaited) {
        const read = awaited.feed(chunk);
        if (read.step === 'more') return;
        if (read.step === 'bad') {
          leave({ step: 'malformed', message: read.message });
          return;
        }
        if (read.source) caller.from = describePeer(read.source.address, read.source.port);
        awaited = null;
        bytes = read.rest;
        if (bytes.length === 0) return;
      }
      const step = reader.feed(bytes);
      if (step.step === 'more') return;
      if (step.step === 'decline') {
        socket.write('N');
        return;
      }
      leave(step);
      // The handshake is read by who does it.
      if (step.step === 'direct') socket.unshift(bytes);
    };
    const onEnd = () => socket.destroy();
    const onError = () => socket.destroy();
    const onClose = () => leave(null);
    const leave = (step: Spoken | null) => {
      quiesce(socket);
      socket.removeListener('data', onData);
      socket.removeListener('end', onEnd);
      socket.removeListener('close', onClose);
      // The next owner adds its own before anything can happen: this promise is all it awaits.
      setImmediate(() => socket.removeListener('error', onError));
      resolve(step);
    };
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.resume();
  });
}

/** PostgreSQL's word for a client that has no address, since it came by a Unix socket. */
function describePeer(address: string | undefined, port: number | undefined): string {
  if (address === undefined) return '[local]';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
