/**
 * Reads what a client sends before it speaks messages: requests for encryption, a CancelRequest or
 * a StartupMessage, each a length and a body without a type.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

export type StartupStep =
  | { step: 'more' }
  /** A request for encryption that is not to be had: answer `N`, and go on feeding. */
  | { step: 'decline' }
  /** A request for TLS: answer `S`, and read on within TLS. */
  | { step: 'secure' }
  /** The first bytes of a TLS handshake, without a request. */
  | { step: 'direct' }
  | { step: 'cancel'; packet: Buffer }
  /** `rest` has come behind the packet. `raw`: the messages after it are not ours to read. */
  | {
      step: 'start';
      packet: Buffer;
      rest: Buffer;
      raw: boolean;
      parameters: ReadonlyMap<string, string>;
    }
  | { step: 'bad'; message: string };

/** Whether TLS is to be had, or is there already. */
export type Encryption = 'none' | 'offered' | 'on';

/** The first byte of a TLS handshake; a start-up packet that begins with it would be too long. */
const TLS_HANDSHAKE = 0x16;

export class StartupReader {
  private bytes: Buffer = Buffer.alloc(0);
  private readonly declined = new Set<number>();

  constructor(
    private readonly maxBytes: number,
    private readonly encryption: Encryption = 'none',
  ) {
    if (encryption === 'on') this.declined.add(SSL_REQUEST).add(GSS_REQUEST);
  }

  feed(chunk: Buffer): StartupStep {
    const first = this.bytes.length === 0 && this.declined.size === 0;
    if (first && chunk[0] === TLS_HANDSHAKE) return { step: 'direct' };
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    if (this.bytes.length < 4) return { step: 'more' };
    const length = this.bytes.readInt32BE(0);
    if (length < 8 || length > this.maxBytes) {
      return { step: 'bad', message: 'invalid length of startup packet' };
    }
    if (this.bytes.length < length) return { step: 'more' };
    const packet = this.bytes.subarray(0, length);
    const rest = this.bytes.subarray(length);
    this.bytes = Buffer.alloc(0);
    return this.decide(packet, rest);
  }

  private decide(packet: Buffer, rest: Buffer): StartupStep {
    const code = packet.readInt32BE(4);
    if (code === CANCEL_REQUEST) return { step: 'cancel', packet };
    if (code === SSL_REQUEST || code === GSS_REQUEST) {
      if (this.declined.has(code)) {
        return { step: 'bad', message: 'encryption was requested twice' };
      }
      // Bytes that came in the clear must not be taken for bytes of an encrypted channel, nor the
      // other way round (CVE-2021-23214): nothing may follow before the answer.
      if (rest.length > 0) {
        return { step: 'bad', message: 'received data after a request for encryption' };
      }
      if (code === SSL_REQUEST && this.encryption === 'offered') return { step: 'secure' };
      this.declined.add(code);
      return { step: 'decline' };
    }
    const parameters = readParameters(packet);
    const raw = code >> 16 !== 3 || isReplication(parameters.get('replication'));
    return { step: 'start', packet, rest, raw, parameters };
  }
}

/**
 * A StartupMessage with another database, all else as it was: the version, the options that are
 * not known here, the order. Pure.
 */
export function withDatabase(packet: Buffer, database: string): Buffer {
  const words = packet.toString('latin1', 8).split('\0');
  const wanted = Buffer.from(database).toString('latin1');
  let i = 0;
  let set = false;
  for (; i + 1 < words.length && words[i] !== ''; i += 2) {
    if (words[i] !== 'database') continue;
    words[i + 1] = wanted;
    set = true;
  }
  if (!set) words.splice(i, 0, 'database', wanted);
  const body = Buffer.from(words.join('\0'), 'latin1');
  const header = Buffer.from(packet.subarray(0, 8));
  header.writeInt32BE(8 + body.length, 0);
  return Buffer.concat([header, body]);
}

/** Name and value pairs of a StartupMessage, as latin1; what is not well formed is left out. */
function readParameters(packet: Buffer): Map<string, string> {
  const words = packet.toString('latin1', 8).split('\0');
  const parameters = new Map<string, string>();
  for (let i = 0; i + 1 < words.length && words[i] !== ''; i += 2) {
    parameters.set(words[i]!, words[i + 1]!);
  }
  return parameters;
}

/** `replication` is a boolean or `database`; whatever is not clearly off is taken as on. */
function isReplication(value: string | undefined): boolean {
  return value !== undefined && !/^\s*(f|fa|fal|fals|false|n|no|of|off|0)\s*$/i.test(value);
}
