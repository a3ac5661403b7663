import { connect, isIP, type NetConnectOpts, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  type SecureContext,
  type TLSSocket,
  connect as tlsConnect,
} from 'node:tls';
import type { Limits } from './limits.js';
import { ALPN } from './tls.js';

/** TLS towards the server; the modes are libpq's. Without it the connection is plain. */
export interface ServerTls {
  /** `prefer`: plain if the server has no TLS. `require`: whoever it is. */
  mode: 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** TLS from the first byte on, without a request (PostgreSQL 17 and later). */
  direct: boolean;
  /** Whether the server is told the name by which it is called. */
  sni: boolean;
  /** Whom to trust, and what to show; may be replaced, for connections to come. */
  context: SecureContext;
}

/** Where the server is: an address, or the path of its Unix socket. */
export type Upstream =
  | { host: string; port: number; tls?: ServerTls | undefined }
  | { path: string };

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const LETTER_S = 0x53;
const LETTER_N = 0x4e;

/**
 * Opens a connection to the server, within TLS as `upstream` says. It is paused: nothing is read
 * until somebody resumes it.
 * @param signal gives up and leaves nothing behind.
 * @throws Error of the operating system, or of TLS; `timed out` after `connectTimeoutMs`.
 */
export function dial(upstream: Upstream, limits: Limits, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const tls = 'path' in upstream ? undefined : upstream.tls;
    const options: NetConnectOpts & { highWaterMark: number } = {
      ...('path' in upstream ? upstream : { host: upstream.host, port: upstream.port }),
      noDelay: true,
      allowHalfOpen: true,
      keepAlive: limits.keepAliveMs > 0,
      keepAliveInitialDelay: limits.keepAliveMs,
      highWaterMark: limits.bufferBytes,
    };
    const socket = connect(options);
    let secured: TLSSocket | undefined;
    const timer = setTimeout(() => giveUp(new Error('timed out')), limits.connectTimeoutMs);
    const aborted = () => giveUp(new Error('given up'));
    const closed = () => giveUp(new Error('the server closed the connection'));
    const release = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
      for (const each of [socket, secured]) {
        each?.removeListener('error', giveUp);
        each?.removeListener('close', closed);
      }
    };
    const giveUp = (error: Error) => {
      release();
      for (const each of [secured, socket]) {
        each?.on('error', () => undefined);
        each?.destroy();
      }
      reject(error);
    };
    const done = (connected: Socket) => {
      release();
      resolve(connected.pause());
    };
    const handshake = (wanted: ServerTls, host: string) => {
      // Whatever happens to it closes the one within, and is told there.
      socket.on('error', () => undefined);
      secured = secure(socket, wanted, host, limits.bufferBytes);
      secured.once('error', giveUp);
      secured.once('close', closed);
      secured.once('secureConnect', () => {
        if (wanted.direct && secured!.alpnProtocol !== ALPN) {
          giveUp(
            new Error('the server does not take TLS without a request (sslnegotiation=direct)'),
          );
        } else done(secured!);
      });
    };
    socket.once('error', giveUp);
    socket.once('close', closed);
    socket.once('connect', () => {
      if (!tls || 'path' in upstream) done(socket);
      else if (tls.direct) handshake(tls, upstream.host);
      else {
        socket.once('end', closed);
        socket.once('data', (answer) => {
          socket.pause();
          socket.removeListener('end', closed);
          // More than a byte would be somebody's who is not within TLS (CVE-2021-23222).
          const letter = answer.length === 1 ? answer[0] : undefined;
          if (letter === LETTER_S) handshake(tls, upstream.host);
          else if (letter === LETTER_N && tls.mode === 'prefer') done(socket);
          else giveUp(new Error(refusal(letter, tls.mode)));
        });
        socket.write(SSL_REQUEST);
      }
    });
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted);
  });
}

function refusal(letter: number | undefined, mode: string): string {
  return letter === LETTER_N
    ? `the server does not support TLS, and sslmode=${mode} asks for it`
    : 'the server did not understand the request for TLS';
}

function secure(socket: Socket, tls: ServerTls, host: string, highWaterMark: number): TLSSocket {
  const options: ConnectionOptions & { highWaterMark: number } = {
    socket,
    host,
    highWaterMark,
    secureContext: tls.context,
    rejectUnauthorized: tls.mode === 'verify-ca' || tls.mode === 'verify-full',
    ALPNProtocols: [ALPN],
    ...(tls.sni && isIP(host) === 0 ? { servername: host } : {}),
    ...(tls.mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  };
  return tlsConnect(options);
}

/** For messages: where the server is looked for. */
export function describeUpstream(upstream: Upstream): string {
  return 'path' in upstream ? upstream.path : `${upstream.host}:${upstream.port}`;
}
