/**
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides of it, as PostgreSQL speaks them.
 * https://www.rfc-editor.org/rfc/rfc5802, https://www.rfc-editor.org/rfc/rfc7677,
 * https://www.postgresql.org/docs/current/sasl-authentication.html
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

export const SCRAM = 'SCRAM-SHA-256';
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS';

const BINDING = 'tls-server-end-point';
const KEY_BYTES = 32;

/** What a server keeps of a password. */
export interface Verifier {
  iterations: number;
  /** base64 */
  salt: string;
  storedKey: Buffer;
  serverKey: Buffer;
}

/** The other side does not keep to the rules; code is a SQLSTATE. */
export class ScramError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint?: string,
  ) {
    super(message);
  }
}

/** Reads a `rolpassword` of pg_authid; null when it is not a SCRAM verifier. */
export function readVerifier(text: string | null): Verifier | null {
  const match = /^SCRAM-SHA-256\$(\d{1,10}):([^$]+)\$([^:]+):(.+)$/.exec(text ?? '');
  if (!match) return null;
  const storedKey = Buffer.from(match[3]!, 'base64');
  const serverKey = Buffer.from(match[4]!, 'base64');
  if (storedKey.length !== KEY_BYTES || serverKey.length !== KEY_BYTES) return null;
  return { iterations: Number(match[1]), salt: match[2]!, storedKey, serverKey };
}

/** What a client says of channel binding: not able to, able if the server were, or uses it. */
export type BindingFlag = 'n' | 'y' | 'p';

/** The flag of a SASLInitialResponse; null when it is not one of SCRAM. */
export function bindingFlag(body: Buffer): BindingFlag | null {
  const { data } = readInitialResponse(body);
  const flag = data[0];
  return flag === 'n' || flag === 'y' || flag === 'p' ? flag : null;
}

function readInitialResponse(body: Buffer): { mechanism: string; data: string } {
  const nul = body.indexOf(0);
  if (nul < 0 || nul + 5 > body.length) return { mechanism: '', data: '' };
  return { mechanism: body.toString('latin1', 0, nul), data: body.toString('latin1', nul + 5) };
}

/** The server's side of one login. Messages are latin1 strings of bytes. */
export class ScramServer {
  private gs2 = '';
  private bare = '';
  private binding: BindingFlag = 'n';
  private nonce = '';
  private serverFirst = '';
  private authMessage = '';

  /** @param endPoint hash of the certificate that this client was shown; null: no channel binding. */
  constructor(private readonly endPoint: Buffer | null) {}

  get mechanisms(): string[] {
    return this.endPoint ? [SCRAM_PLUS, SCRAM] : [SCRAM];
  }

  /** Reads a SASLInitialResponse. @throws ScramError */
  begin(body: Buffer): void {
    const { mechanism, data } = readInitialResponse(body);
    if (!this.mechanisms.includes(mechanism)) {
      throw new ScramError('08P01', 'client selected an invalid SASL authentication mechanism');
    }
    const match = /^(?:(n|y)|p=([A-Za-z0-9.-]+)),([^,]*),(.*)$/s.exec(data);
    if (!match) throw malformed();
    const [, flag, type, identity, bare] = match;
    if (identity !== '') {
      const what = 'client uses authorization identity, but it is not supported';
      throw new ScramError('0A000', what);
    }
    if ((type !== undefined) !== (mechanism === SCRAM_PLUS)) throw malformed();
    if (type !== undefined && type !== BINDING) {
      throw new ScramError('08P01', `unsupported SCRAM channel-binding type "${type}"`);
    }
    if (flag === 'y' && this.endPoint) {
      // Somebody between has taken PLUS out of the list.
      throw new ScramError('28000', 'SCRAM channel binding negotiation error');
    }
    if (bare!.startsWith('m=')) {
      throw new ScramError('0A000', 'client requires an unsupported SCRAM extension');
    }
    const nonce = /^n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?$/s.exec(bare!)?.[1];
    if (nonce === undefined) throw malformed();
    this.binding = type === undefined ? (flag as BindingFlag) : 'p';
    this.gs2 = data.slice(0, data.length - bare!.length);
    this.bare = bare!;
    this.nonce = nonce;
  }

  /** The first message to the client. @param salt base64 */
  challenge(salt: string, iterations: number): string {
    this.nonce += randomBytes(18).toString('base64');
    this.serverFirst = `r=${this.nonce},s=${salt},i=${iterations}`;
    return this.serverFirst;
  }

  /**
   * Reads the client's final message.
   * @returns its ClientKey, or null when the proof is not one of this verifier's password.
   * @throws ScramError
   */
  prove(body: Buffer, verifier: Verifier | null): Buffer | null {
    const data = body.toString('latin1');
    const match = /^c=([^,]+),r=([^,]+)((?:,[^,]*)*),p=([^,]+)$/s.exec(data);
    if (!match) throw malformed();
    const wanted = Buffer.concat([
      Buffer.from(this.gs2, 'latin1'),
      this.binding === 'p' ? this.endPoint! : Buffer.alloc(0),
    ]);
    if (!same(Buffer.from(match[1]!, 'latin1'), Buffer.from(wanted.toString('base64')))) {
      if (this.binding !== 'p') throw malformed();
      throw new ScramError('28000', 'SCRAM channel binding check failed');
    }
    if (match[2] !== this.nonce) throw new ScramError('08P01', 'invalid SCRAM response');
    const proof = Buffer.from(match[4]!, 'base64');
    if (proof.length !== KEY_BYTES) throw malformed();
    const without = data.slice(0, data.length - match[4]!.length - 3);
    this.authMessage = `${this.bare},${this.serverFirst},${without}`;
    const storedKey = verifier?.storedKey ?? randomBytes(KEY_BYTES);
    const clientKey = xor(proof, hmac(storedKey, this.authMessage));
    return same(sha256(clientKey), storedKey) && verifier ? clientKey : null;
  }

  /** The last message to the client, once it has proved itself. */
  outcome(verifier: Verifier): string {
    return `v=${hmac(verifier.serverKey, this.authMessage).toString('base64')}`;
  }
}

/** The client's side of one login, with a ClientKey in place of a password. */
export class ScramClient {
  readonly mechanism: string;
  private readonly gs2: string;
  private readonly nonce = randomBytes(18).toString('base64');
  private readonly bound: Buffer;
  private serverFirst = '';
  private serverNonce = '';
  private authMessage = '';

  /** @param endPoint hash of the server's certificate; null: no TLS, or no channel binding. */
  constructor(offered: readonly string[], endPoint: Buffer | null) {
    const plus = endPoint !== null && offered.includes(SCRAM_PLUS);
    this.mechanism = plus ? SCRAM_PLUS : SCRAM;
    this.gs2 = plus ? `p=${BINDING},,` : endPoint ? 'y,,' : 'n,,';
    this.bound = Buffer.concat([Buffer.from(this.gs2), plus ? endPoint : Buffer.alloc(0)]);
  }

  private get bare(): string {
    return `n=,r=${this.nonce}`;
  }

  first(): string {
    return this.gs2 + this.bare;
  }

  /** Reads the server's first message. @throws ScramError */
  challenged(body: Buffer): { salt: string; iterations: number } {
    this.serverFirst = body.toString('latin1');
    const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([^,]+),i=(\d{1,10})/.exec(this.serverFirst);
    const [, nonce, salt, iterations] = match ?? [];
    if (!nonce?.startsWith(this.nonce) || nonce === this.nonce) {
      throw new ScramError('08P01', "the server's SCRAM message is malformed");
    }
    this.serverNonce = nonce;
    return { salt: salt!, iterations: Number(iterations) };
  }

  /** @param clientKey null: a proof that is wrong for certain. */
  answer(clientKey: Buffer | null): string {
    const without = `c=${this.bound.toString('base64')},r=${this.serverNonce}`;
    this.authMessage = `${this.bare},${this.serverFirst},${without}`;
    const proof = clientKey
      ? xor(clientKey, hmac(sha256(clientKey), this.authMessage))
      : randomBytes(KEY_BYTES);
    return `${without},p=${proof.toString('base64')}`;
  }

  /** Whether the server's last message proves that it has this verifier. */
  confirms(body: Buffer, verifier: Verifier): boolean {
    const wanted = `v=${hmac(verifier.serverKey, this.authMessage).toString('base64')}`;
    return same(body, Buffer.from(wanted));
  }
}

function malformed(): ScramError {
  return new ScramError('08P01', 'malformed SCRAM message');
}

function sha256(data: Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest();
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ b[i]!));
}

/** In a time that does not tell where they differ. */
function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
