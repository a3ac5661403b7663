import { SocketAddress } from 'node:net';

/**
 * Reads the header of the PROXY protocol, version 2, with which a load balancer says for whom it
 * has opened a connection. https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt, 2.2
 */

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED_BYTES = 16;
/** Addresses and what comes behind them (TLVs), which is skipped. */
const MAX_BYTES = FIXED_BYTES + 2_048;

const LOCAL = 0x20;
const PROXY = 0x21;

/** By family and transport; the others are of datagrams, or not assigned. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 0: 0, 17: 12, 33: 36, 49: 216 };
const TCP4 = 0x11;
const TCP6 = 0x21;

export interface Source {
  address: string;
  port: number;
}

export type HeaderStep =
  | { step: 'more' }
  /** `source` null: the connection is the load balancer's own, or it does not say whose. */
  | { step: 'done'; source: Source | null; rest: Buffer }
  | { step: 'bad'; message: string };

export class ProxyHeader {
  private bytes: Buffer = Buffer.alloc(0);

  /** @param chunk is kept. After another step than `more` it is not to be called again. */
  feed(chunk: Buffer): HeaderStep {
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    const { bytes } = this;
    // Told by its first byte: a client that speaks to us directly would wait for an answer.
    const begun = Math.min(bytes.length, SIGNATURE.length);
    if (!bytes.subarray(0, begun).equals(SIGNATURE.subarray(0, begun))) {
      return { step: 'bad', message: 'no PROXY protocol header (version 2)' };
    }
    if (bytes.length < FIXED_BYTES) return { step: 'more' };
    const command = bytes[12]!;
    const family = bytes[13]!;
    const end = FIXED_BYTES + bytes.readUInt16BE(14);
    const wanted = command === LOCAL ? 0 : ADDRESS_BYTES[family];
    const known = (command === LOCAL || command === PROXY) && wanted !== undefined;
    if (!known || end > MAX_BYTES || end - FIXED_BYTES < wanted) {
      return { step: 'bad', message: 'invalid PROXY protocol header' };
    }
    if (bytes.length < end) return { step: 'more' };
    const source = command === LOCAL ? null : readSource(bytes, family);
    return { step: 'done', source, rest: bytes.subarray(end) };
  }
}

function readSource(bytes: Buffer, family: number): Source | null {
  if (family === TCP4) {
    return { address: bytes.subarray(16, 20).join('.'), port: bytes.readUInt16BE(24) };
  }
  if (family !== TCP6) return null;
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(16 + 2 * i).toString(16));
  const { address } = new SocketAddress({ address: groups.join(':'), family: 'ipv6' });
  return { address, port: bytes.readUInt16BE(48) };
}
