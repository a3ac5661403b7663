import { createHash } from 'node:crypto';

/**
 * The hash that a certificate's signature algorithm uses, by the algorithm's object identifier
 * (DER, hex). MD5 and SHA-1 stand for SHA-256: https://www.rfc-editor.org/rfc/rfc5929#section-4.1
 */
const HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256', // sha256WithRSAEncryption
  '2a864886f70d01010c': 'sha384', // sha384WithRSAEncryption
  '2a864886f70d01010d': 'sha512', // sha512WithRSAEncryption
  '2a864886f70d01010e': 'sha224', // sha224WithRSAEncryption
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224', // ecdsa-with-SHA224
  '2a8648ce3d040302': 'sha256', // ecdsa-with-SHA256
  '2a8648ce3d040303': 'sha384', // ecdsa-with-SHA384
  '2a8648ce3d040304': 'sha512', // ecdsa-with-SHA512
};

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;

/**
 * Channel binding data of the type `tls-server-end-point` for a server's certificate.
 * @param certificate in DER.
 * @returns null when its algorithm names no single hash (Ed25519, RSASSA-PSS): RFC 5929 leaves
 *   those undefined, and servers and clients differ about them.
 */
export function endPointHash(certificate: Buffer): Buffer | null {
  const outer = element(certificate, 0, SEQUENCE);
  const signed = outer && element(certificate, outer.at, SEQUENCE);
  const algorithm = signed && element(certificate, signed.end, SEQUENCE);
  const id = algorithm && element(certificate, algorithm.at, OBJECT_IDENTIFIER);
  const hash = id && HASHES[certificate.toString('hex', id.at, id.end)];
  return hash ? createHash(hash).update(certificate).digest() : null;
}

/** Where the contents of the DER element at `pos` begin and end; null when it is not of this type. */
function element(der: Buffer, pos: number, type: number): { at: number; end: number } | null {
  if (pos + 2 > der.length || der[pos] !== type) return null;
  const short = der[pos + 1]!;
  const extra = short < 0x80 ? 0 : short & 0x7f;
  if (extra > 4 || pos + 2 + extra > der.length) return null;
  const length = extra === 0 ? short : der.readUIntBE(pos + 2, extra);
  const at = pos + 2 + extra;
  return at + length > der.length ? null : { at, end: at + length };
}
