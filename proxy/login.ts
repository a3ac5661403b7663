import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { endPointHash } from './certificate.js';
import { type Letter, Mailbox } from './mailbox.js';
import { BACKEND, FRONTEND, message } from './messages.js';
import {
  bindingFlag,
  readVerifier,
  SCRAM,
  SCRAM_PLUS,
  ScramClient,
  ScramError,
  ScramServer,
} from './scram.js';

/**
 * What the proxy does about SCRAM, and only SCRAM: pass it on; take channel binding out of what
 * the server offers; or end it here, and log in to the server with the key that the client's
 * proof yields.
 */
export type ScramWay = 'relay' | 'strip' | 'terminate';

export interface ScramOptions {
  /** `auto`: what works best for each connection. */
  mode: 'auto' | ScramWay;
  /** `rolpassword` of a role, null when there is none; absent: it cannot be looked up. */
  verifierOf?: ((user: string) => Promise<string | null>) | undefined;
}

/** How a connection is, on both sides. */
export interface Legs {
  clientTls: boolean;
  serverTls: boolean;
  /** The client is shown the very certificate that the server shows. */
  sameCertificate: boolean;
}

/** Which way a login goes. Pure. */
export function wayOf({ mode, verifierOf }: ScramOptions, legs: Legs): ScramWay {
  if (mode !== 'auto') return mode;
  if (!legs.serverTls) return 'relay';
  if (!legs.clientTls) return 'strip';
  if (legs.sameCertificate) return 'relay';
  return verifierOf ? 'terminate' : 'strip';
}

/**
 * The certificates, in DER, that this client was shown, and that this server has shown (not by
 * `getPeerX509Certificate`: Node 20 takes it out of the chain, and has none the second time).
 */
function certificates(client: Socket, server: Socket) {
  return {
    shown: client instanceof TLSSocket ? client.getX509Certificate()?.raw : undefined,
    seen: server instanceof TLSSocket ? server.getPeerCertificate().raw : undefined,
  };
}

/** How these two sockets are. */
export function legsOf(client: Socket, server: Socket): Legs {
  const { shown, seen } = certificates(client, server);
  return {
    clientTls: client instanceof TLSSocket,
    serverTls: server instanceof TLSSocket,
    sameCertificate: shown !== undefined && seen !== undefined && shown.equals(seen),
  };
}

const SASL = 10;
const SASL_CONTINUE = 11;
const SASL_FINAL = 12;

export const BINDING_HINT =
  'This proxy cannot relay channel binding. Set channel_binding=disable in the client, or let ' +
  'the proxy end SCRAM itself (--scram terminate).';

/**
 * Carries a login, of which the server has the StartupMessage, past its SCRAM exchange, or past
 * the word that there will be none. What comes then is for a session: it is put back on the
 * server's socket.
 * @param rest what the client has sent behind its StartupMessage.
 * @returns what the client has sent and nobody has read.
 * @throws ScramError for the client; Unreadable when one of them has gone; what `verifierOf` throws.
 */
export async function logIn(
  way: Exclude<ScramWay, 'relay'>,
  sockets: { client: Socket; server: Socket },
  rest: Buffer,
  verifierOf: () => Promise<string | null>,
): Promise<Buffer> {
  const { client, server } = sockets;
  const login = new Login(client, server, rest);
  try {
    for (;;) {
      const letter = await login.above.next();
      const offered = offeredBy(letter);
      if (offered) {
        if (way === 'strip') await login.strip(offered);
        else await login.terminate(offered, verifierOf);
        break;
      }
      if (letter.type === BACKEND.authentication || letter.type === BACKEND.error) {
        login.putBack(letter);
        break;
      }
      client.write(letter.bytes);
    }
  } finally {
    rest = login.leave();
  }
  return rest;
}

class Login {
  readonly above: Mailbox;
  private readonly below: Mailbox;
  private last: Letter | null = null;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    rest: Buffer,
  ) {
    this.above = new Mailbox(server);
    this.below = new Mailbox(client, rest);
  }

  /** This message ends our part, and is for the session. */
  putBack(letter: Letter): void {
    this.last = letter;
  }

  leave(): Buffer {
    const { server, last } = this;
    const behind = this.above.leave();
    const bytes = last ? Buffer.concat([last.bytes, behind]) : behind;
    if (bytes.length > 0 && !server.destroyed) server.unshift(bytes);
    return this.below.leave();
  }

  async strip(offered: readonly string[]): Promise<void> {
    const { client, server, below } = this;
    client.write(sasl(offered.filter((mechanism) => mechanism !== SCRAM_PLUS)));
    if (!offered.includes(SCRAM_PLUS)) return;
    // The server would take its answer for that of a client from whom PLUS was hidden, and be right.
    const { type, body, bytes } = await below.next();
    if (type === FRONTEND.password && bindingFlag(body) === 'y') {
      throw new ScramError('28000', 'SCRAM channel binding negotiation error', BINDING_HINT);
    }
    server.write(bytes);
  }

  async terminate(
    offered: readonly string[],
    verifierOf: () => Promise<string | null>,
  ): Promise<void> {
    const { client, server, above } = this;
    const looked = verifierOf();
    // It is awaited below; until then its failure is nobody's.
    looked.catch(() => undefined);
    const { shown, seen } = certificates(client, server);
    const own = new ScramServer(shown ? endPointHash(shown) : null);
    const upstream = new ScramClient(offered, seen ? endPointHash(seen) : null);
    client.write(sasl(own.mechanisms));
    server.write(initialResponse(upstream.mechanism, upstream.first()));
    own.begin(await this.response());
    const first = await above.next();
    if (first.type === BACKEND.error) return this.putBack(first);
    // The server's own salt, of a role or made up: who asks cannot tell, here as there.
    const { salt, iterations } = upstream.challenged(saslBody(first, SASL_CONTINUE));
    client.write(authentication(SASL_CONTINUE, own.challenge(salt, iterations)));
    const proof = await this.response();
    const found = readVerifier(await looked);
    const verifier = found?.salt === salt && found.iterations === iterations ? found : null;
    const clientKey = own.prove(proof, verifier);
    // A wrong proof becomes a wrong proof: the server refuses it in its own words, and logs it.
    server.write(message(FRONTEND.password, upstream.answer(clientKey)));
    const last = await above.next();
    if (last.type === BACKEND.error) return this.putBack(last);
    if (!clientKey || !verifier || !upstream.confirms(saslBody(last, SASL_FINAL), verifier)) {
      throw new ScramError('08006', 'the server has not proved that it knows the password');
    }
    client.write(authentication(SASL_FINAL, own.outcome(verifier)));
  }

  private async response(): Promise<Buffer> {
    const { type, body } = await this.below.next();
    if (type === FRONTEND.password) return body;
    throw new ScramError('08P01', `expected SASL response, got message type ${type}`);
  }
}

/** The mechanisms of a server's request for SCRAM; null when it asks for something else. */
function offeredBy({ type, body }: Letter): string[] | null {
  if (type !== BACKEND.authentication || body.length < 5 || body.readInt32BE(0) !== SASL)
    return null;
  const names = body.toString('latin1', 4).split('\0').filter(Boolean);
  return names.includes(SCRAM) ? names : null;
}

function saslBody({ type, body }: Letter, step: number): Buffer {
  if (type !== BACKEND.authentication || body.length < 4 || body.readInt32BE(0) !== step) {
    throw new ScramError('08P01', "the server's SCRAM message is malformed");
  }
  return body.subarray(4);
}

function int32(value: number): Buffer {
  const four = Buffer.allocUnsafe(4);
  four.writeInt32BE(value);
  return four;
}

function authentication(step: number, data: string): Buffer {
  return message(BACKEND.authentication, int32(step), data);
}

function sasl(mechanisms: readonly string[]): Buffer {
  return authentication(SASL, `${mechanisms.map((name) => `${name}\0`).join('')}\0`);
}

function initialResponse(mechanism: string, data: string): Buffer {
  return message(FRONTEND.password, `${mechanism}\0`, int32(data.length), data);
}
