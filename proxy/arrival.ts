import type { Socket } from 'node:net';
import { quiesce } from './handle-wire.js';
import type { Limits } from './limits.js';
import { type Encryption, StartupReader, type StartupStep } from './startup.js';
import type { TlsFront } from './tls.js';

/** What a client turns out to want, once its start-up packet is here. */
export type Arrival = (
  | Extract<StartupStep, { step: 'cancel' | 'start' | 'bad' }>
  /** Its certificate is missing, or not good. */
  | { step: 'untrusted'; reason: string }
) & {
  /** What to talk to it through from now on; paused. */
  client: Socket;
  encrypted: boolean;
};

type Spoken = Exclude<StartupStep, { step: 'more' | 'decline' }>;

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
): Promise<Arrival | null> {
  const spoken = await hear(socket, limits, tls ? 'offered' : 'none');
  if (spoken === null) return null;
  if (spoken.step !== 'secure' && spoken.step !== 'direct') {
    return { ...spoken, client: socket, encrypted: false };
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
  if (refused !== null) return { step: 'untrusted', reason: refused, client, encrypted: true };
  const within = await hear(client, limits, 'on');
  if (within === null) return null;
  if (within.step === 'secure' || within.step === 'direct') {
    client.destroy();
    return null;
  }
  return { ...within, client, encrypted: true };
}

/** Reads up to a packet that decides something, and leaves the socket paused. */
function hear(socket: Socket, limits: Limits, encryption: Encryption): Promise<Spoken | null> {
  return new Promise((resolve) => {
    const reader = new StartupReader(limits.startupPacketBytes, encryption);
    const onData = (chunk: Buffer) => {
      const step = reader.feed(chunk);
      if (step.step === 'more') return;
      if (step.step === 'decline') {
        socket.write('N');
        return;
      }
      leave(step);
      // The handshake is read by who does it.
      if (step.step === 'direct') socket.unshift(chunk);
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
