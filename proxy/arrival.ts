import type { Socket } from 'node:net';
import { quiesce } from './handle-wire.js';
import type { Limits } from './limits.js';
import { type HeaderStep, ProxyHeader } from './proxy-protocol.js';
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

type Spoken = Exclude<StartupStep, { step: 'more' | 'decline' }>;
type Announcement = Exclude<HeaderStep, { step: 'more' }>;

const NOTHING = Buffer.alloc(0);

/**
 * Reads what a client says before it speaks messages, and answers its requests for encryption.
 * @param tls null: encryption is not to be had.
 * @param announced a load balancer says first, in a PROXY header, who the client is.
 * @returns null when it has gone without a word, failed at TLS, or was silent for too long (the
 *   caller's `loginTimeoutMs` runs on).
 */
export async function arrive(
  socket: Socket,
  limits: Limits,
  tls: TlsFront | null,
  announced: boolean,
): Promise<Arrival | null> {
  let from = describePeer(socket.remoteAddress, socket.remotePort);
  if (announced) {
    const header = await hearHeader(socket);
    if (header === null) return null;
    if (header.step === 'bad') {
      const { message } = header;
      return { step: 'malformed', message, client: socket, encrypted: false, from };
    }
    if (header.source) from = describePeer(header.source.address, header.source.port);
  }
  const spoken = await hear(socket, limits, tls ? 'offered' : 'none');
  if (spoken === null) return null;
  if (spoken.step !== 'secure' && spoken.step !== 'direct') {
    return { ...spoken, client: socket, encrypted: false, from };
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
    return { step: 'untrusted', reason: refused, client, encrypted: true, from };
  }
  const within = await hear(client, limits, 'on');
  if (within === null) return null;
  if (within.step === 'secure' || within.step === 'direct') {
    client.destroy();
    return null;
  }
  return { ...within, client, encrypted: true, from };
}

/** Reads up to a packet that decides something, and leaves the socket paused. */
function hear(socket: Socket, limits: Limits, encryption: Encryption): Promise<Spoken | null> {
  const reader = new StartupReader(limits.startupPacketBytes, encryption);
  return listen(socket, (chunk) => {
    const step = reader.feed(chunk);
    if (step.step === 'more') return null;
    if (step.step === 'decline') {
      socket.write('N');
      return null;
    }
    // The handshake is read by who does it.
    return { heard: step, rest: step.step === 'direct' ? chunk : NOTHING };
  });
}

/** Reads the header of a load balancer, and no more. */
function hearHeader(socket: Socket): Promise<Announcement | null> {
  const header = new ProxyHeader();
  return listen(socket, (chunk) => {
    const step = header.feed(chunk);
    if (step.step === 'more') return null;
    return { heard: step, rest: step.step === 'done' ? step.rest : NOTHING };
  });
}

/**
 * Gives what comes to `decide`, until that has heard enough, and leaves the socket paused, with
 * `rest` for who reads next. @returns null when the client has gone before.
 */
function listen<Heard>(
  socket: Socket,
  decide: (chunk: Buffer) => { heard: Heard; rest: Buffer } | null,
): Promise<Heard | null> {
  return new Promise((resolve) => {
    const onData = (chunk: Buffer) => {
      const decided = decide(chunk);
      if (!decided) return;
      leave(decided.heard);
      if (decided.rest.length > 0) socket.unshift(decided.rest);
    };
    const onEnd = () => socket.destroy();
    const onError = () => socket.destroy();
    const onClose = () => leave(null);
    const leave = (heard: Heard | null) => {
      quiesce(socket);
      socket.removeListener('data', onData);
      socket.removeListener('end', onEnd);
      socket.removeListener('close', onClose);
      // The next owner adds its own before anything can happen: this promise is all it awaits.
      setImmediate(() => socket.removeListener('error', onError));
      resolve(heard);
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
