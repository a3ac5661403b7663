import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';

/** TLS towards clients; texts are PEM. */
export interface ClientTls {
  /** The proxy's certificate, and the chain behind it. */
  cert: string;
  key: string;
  /** Who may sign the clients' certificates. */
  clientCa?: string | undefined;
  clientCert: 'none' | 'optional' | 'require';
  /** A client that comes over the network without TLS is refused. */
  required: boolean;
}

/** Protocol name in ALPN: https://www.postgresql.org/docs/current/protocol-flow.html */
export const ALPN = 'postgresql';

/** `refused`: over TLS, but the client's certificate will not do; it can be told. */
export type Wrapped = { client: TLSSocket; refused: string | null };

/** Does the TLS handshakes with clients; sockets that are secured stay so after a reload. */
export class TlsFront {
  private readonly server: Server;
  private readonly waiting = new Map<string, (client: TLSSocket) => void>();

  /**
   * @param failed is told why a handshake failed.
   * @throws Error of OpenSSL when certificate and key cannot be used.
   */
  constructor(
    private settings: ClientTls,
    loginTimeoutMs: number,
    failed: (detail: string) => void,
  ) {
    this.server = createServer({
      ...contextOf(settings),
      ALPNProtocols: [ALPN],
      // Whether it is good is decided below, where the client can be told.
      requestCert: settings.clientCert !== 'none',
      rejectUnauthorized: false,
      handshakeTimeout: loginTimeoutMs,
      allowHalfOpen: true,
    });
    this.server.on('secureConnection', (client) => {
      const resolve = this.waiting.get(nameOf(client));
      if (resolve) resolve(client);
      else client.destroy();
    });
    this.server.on('tlsClientError', (error) => failed(error.message));
  }

  get required(): boolean {
    return this.settings.required;
  }

  /**
   * Takes another certificate, for clients to come.
   * @throws Error of OpenSSL, and goes on with the one it has.
   */
  reload(settings: ClientTls): void {
    this.server.setSecureContext(contextOf(settings));
    this.settings = { ...settings, clientCert: this.settings.clientCert };
  }

  /**
   * Does the handshake; the socket is the caller's to end if it takes too long.
   * @param direct the handshake came without a request, so ALPN has to say what is spoken.
   * @returns null when it has failed and the socket is closed, or will be.
   */
  wrap(socket: Socket, direct: boolean): Promise<Wrapped | null> {
    // The one value that both sockets know: no two that are open have it in common.
    const name = nameOf(socket);
    return new Promise((resolve) => {
      const gone = () => {
        this.waiting.delete(name);
        resolve(null);
      };
      socket.once('close', gone);
      if (socket.destroyed) return gone();
      this.waiting.set(name, (client) => {
        this.waiting.delete(name);
        socket.removeListener('close', gone);
        client.pause();
        // libpq's asynchronous calls wait for the socket while OpenSSL has the rest of a record.
        client.setMaxSendFragment(8192);
        if (direct && client.alpnProtocol !== ALPN) {
          client.destroy();
          resolve(null);
        } else resolve({ client, refused: this.judge(client) });
      });
      this.server.emit('connection', socket);
    });
  }

  private judge(client: TLSSocket): string | null {
    const { clientCert } = this.settings;
    if (clientCert === 'none' || client.authorized) return null;
    const shown = client.getPeerCertificate().raw !== undefined;
    if (!shown && clientCert === 'optional') return null;
    return shown ? `${client.authorizationError}` : 'none was shown';
  }
}

function contextOf({ cert, key, clientCa }: ClientTls): SecureContextOptions {
  return {
    cert,
    key,
    minVersion: 'TLSv1.2',
    // As the server's own: no resumed sessions, whose client certificate is not asked for again.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
  };
}

function nameOf(socket: Socket): string {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
