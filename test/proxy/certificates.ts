import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate and its key, for tests only: made anew each time, good for a day. */
export interface TestCertificate {
  /** PEM */
  cert: string;
  /** PEM */
  key: string;
  der: Buffer;
  name: string;
  privateKey: KeyObject;
}

interface Wanted {
  name: string;
  /** DNS names and addresses for which it is good. */
  hosts?: string[];
  /** Signed by; itself when absent. */
  issuer?: TestCertificate;
  hash?: 'sha256' | 'sha384' | 'sha512';
}

const SIGNED_WITH = {
  sha256: '2a8648ce3d040302',
  sha384: '2a8648ce3d040303',
  sha512: '2a8648ce3d040304',
};

/** Makes an X.509 certificate (RFC 5280) over an elliptic curve key; without issuer, a CA's. */
export function makeCertificate({ name, hosts = [], issuer, hash = 'sha256' }: Wanted) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = seq(oid(SIGNED_WITH[hash]));
  const day = 86_400_000;
  const names = hosts.map((host) =>
    isIP(host) ? der(0x87, Buffer.from(host.split('.').map(Number))) : der(0x82, Buffer.from(host)),
  );
  const extensions = [
    seq(oid('551d13'), TRUE, der(0x04, seq(...(issuer ? [] : [TRUE])))), // basicConstraints
    ...(hosts.length > 0 ? [seq(oid('551d11'), der(0x04, seq(...names)))] : []), // subjectAltName
  ];
  const signed = seq(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(
      0x02,
      Buffer.concat([Buffer.from([1]), Buffer.from(`${process.hrtime.bigint()}`.slice(-6))]),
    ),
    algorithm,
    subject(issuer?.name ?? name),
    seq(time(Date.now() - day), time(Date.now() + day)),
    subject(name),
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    der(0xa3, seq(...extensions)),
  );
  const signature = sign(hash, signed, issuer?.privateKey ?? privateKey);
  const whole = seq(signed, algorithm, der(0x03, Buffer.from([0]), signature));
  const base64 = whole
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n');
  const made: TestCertificate = {
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    der: whole,
    name,
    privateKey,
  };
  return made;
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const TRUE = der(0x01, Buffer.from([0xff]));

function seq(...parts: Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

/** A distinguished name of a common name alone. */
function subject(name: string): Buffer {
  return seq(der(0x31, seq(oid('550403'), der(0x0c, Buffer.from(name)))));
}

function time(at: number): Buffer {
  const text = new Date(at).toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${text}Z`));
}
