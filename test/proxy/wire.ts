import { message, readFields, writeBind, writeParse, writeQuery } from '../../proxy/messages.js';
import type { Message } from './harness.js';

export const PROTOCOL_3_0 = 0x30000;
export const PROTOCOL_3_2 = 0x30002;

export function startupPacket(parameters: Record<string, string>, version = PROTOCOL_3_0): Buffer {
  const words = Object.entries(parameters).flat();
  const body = Buffer.from(`${words.map((word) => `${word}\0`).join('')}\0`);
  const header = Buffer.alloc(8);
  header.writeInt32BE(8 + body.length, 0);
  header.writeInt32BE(version, 4);
  return Buffer.concat([header, body]);
}

export const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
export const GSS_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);

const byte = (letter: string) => letter.charCodeAt(0);

export const Q = (text: string) => writeQuery(Buffer.from(text));
export const P = (name: string, text: string, types: number[] = []) =>
  writeParse(
    name,
    Buffer.from(text),
    Buffer.concat(
      types.map((oid) => {
        const four = Buffer.alloc(4);
        four.writeUInt32BE(oid);
        return four;
      }),
    ).toString('latin1'),
  );
/** Bind with parameters in text format. */
export const B = (portal: string, statement: string, values: (string | Buffer | null)[] = []) => {
  if (values.length === 0) return writeBind(portal, statement);
  const int16 = (n: number) => Buffer.from([n >> 8, n & 255]);
  const encoded = values.map((value) => {
    const length = Buffer.alloc(4);
    if (value === null) {
      length.writeInt32BE(-1);
      return length;
    }
    const bytes = Buffer.from(value as string);
    length.writeInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  const formats = values.map((value) => int16(Buffer.isBuffer(value) ? 1 : 0));
  return message(
    byte('B'),
    `${portal}\0${statement}\0`,
    int16(values.length),
    ...formats,
    int16(values.length),
    ...encoded,
    int16(0),
  );
};
export const E = (portal = '', limit = 0) => {
  const rows = Buffer.alloc(4);
  rows.writeInt32BE(limit);
  return message(byte('E'), `${portal}\0`, rows);
};
export const D = (kind: 'S' | 'P', name = '') => message(byte('D'), `${kind}${name}\0`);
export const C = (kind: 'S' | 'P', name = '') => message(byte('C'), `${kind}${name}\0`);
export const S = message(byte('S'));
export const H = message(byte('H'));
export const X = message(byte('X'));
export const copyData = (data: string | Buffer) => message(byte('d'), Buffer.from(data as string));
export const copyDone = message(byte('c'));
export const copyFail = (why: string) => message(byte('f'), `${why}\0`);

/** `A` for a message of type A, with what tells it apart: the tag, the SQLSTATE, the status. */
export function brief(messages: readonly Message[]): string {
  return messages
    .filter(({ type }) => type !== 'N' && type !== 'S')
    .map(({ type, body }) => {
      if (type === 'E') return `E:${error({ type, body }).code}`;
      if (type === 'C') return `C:${body.toString('latin1', 0, body.length - 1)}`;
      if (type === 'Z') return `Z:${body.toString('latin1')}`;
      if (type === 'D') return `D:${row(body).join('|')}`;
      return type;
    })
    .join(' ');
}

export function error({ body }: Message): { code: string; message: string; position: number } {
  const fields = readFields(body, 0, body.length);
  const text = (letter: string) => Buffer.from(fields.get(letter) ?? '', 'latin1').toString();
  return { code: text('C'), message: text('M'), position: Number(text('P') || 0) };
}

export function row(body: Buffer): string[] {
  const values: string[] = [];
  let pos = 2;
  for (let i = body.readUInt16BE(0); i > 0; i--) {
    const length = body.readInt32BE(pos);
    pos += 4;
    values.push(length < 0 ? 'NULL' : body.toString('utf8', pos, pos + length));
    pos += Math.max(0, length);
  }
  return values;
}
