/** A PROXY v2 header, as a load balancer sends it. */
export function proxyHeader(
  command: number,
  family: number,
  body: Buffer,
  length = body.length,
): Buffer {
  const fixed = Buffer.from('\r\n\r\n\0\r\nQUIT\n\0\0\0\0', 'latin1');
  fixed[12] = command;
  fixed[13] = family;
  fixed.writeUInt16BE(length, 14);
  return Buffer.concat([fixed, body]);
}

export const TCP4_BODY = Buffer.from([192, 0, 2, 7, 10, 0, 0, 1, 0xc0, 0x01, 0x15, 0x38]);
export const TCP6_BODY = Buffer.concat([
  Buffer.from('20010db8000000000000000000000007', 'hex'),
  Buffer.alloc(16),
  Buffer.from([0xc0, 0x01, 0x15, 0x38]),
]);

export const TCP4 = proxyHeader(0x21, 0x11, TCP4_BODY);
export const TCP6 = proxyHeader(0x21, 0x21, TCP6_BODY);
export const LOCAL = proxyHeader(0x20, 0x00, Buffer.alloc(0));
