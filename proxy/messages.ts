/**
 * The few messages that the relay reads or makes; all others go by with their headers only.
 * Shapes: https://www.postgresql.org/docs/current/protocol-message-formats.html
 *
 * Names, texts and type lists are carried as latin1 strings: one character for each byte, whatever
 * the client's encoding is, compact, and turned back into the same bytes. Messages that are all our
 * own are made by `pg-protocol`, whose strings are UTF-8.
 */
import { serialize } from 'pg-protocol';
import type { Rewrite } from '../sql/outcome.js';
import type { Outbox } from './outbox.js';

/** Message type bytes by name. Some letters mean one thing from the client, another from the server. */
export const FRONTEND = {
  bind: 0x42,
  close: 0x43,
  describe: 0x44,
  execute: 0x45,
  functionCall: 0x46,
  flush: 0x48,
  parse: 0x50,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58,
  copyDone: 0x63,
  copyData: 0x64,
  copyFail: 0x66,
  password: 0x70,
} as const;

export const BACKEND = {
  parseComplete: 0x31,
  bindComplete: 0x32,
  closeComplete: 0x33,
  notification: 0x41,
  commandComplete: 0x43,
  dataRow: 0x44,
  error: 0x45,
  copyIn: 0x47,
  copyOut: 0x48,
  emptyQuery: 0x49,
  backendKeyData: 0x4b,
  notice: 0x4e,
  authentication: 0x52,
  parameterStatus: 0x53,
  rowDescription: 0x54,
  functionResult: 0x56,
  copyBoth: 0x57,
  readyForQuery: 0x5a,
  copyDone: 0x63,
  copyData: 0x64,
  noData: 0x6e,
  portalSuspended: 0x73,
  parameterDescription: 0x74,
  negotiateProtocolVersion: 0x76,
} as const;

const NUL = Buffer.from([0]);

/** `S` of Describe and Close: a statement. */
export const STATEMENT = 0x53;

/** A message as bytes: type, length, body parts. */
export function message(type: number, ...parts: (Buffer | string)[]): Buffer {
  const bodies = parts.map((part) =>
    typeof part === 'string' ? Buffer.from(part, 'latin1') : part,
  );
  const length = bodies.reduce((sum, body) => sum + body.length, 4);
  const header = Buffer.allocUnsafe(5);
  header[0] = type;
  header.writeInt32BE(length, 1);
  return Buffer.concat([header, ...bodies]);
}

/** The bytes of a C string from `at`, its NUL left out; null when there is no NUL before `end`. */
export function cString(buf: Buffer, at: number, end: number): string | null {
  const nul = buf.indexOf(0, at);
  return nul < 0 || nul >= end ? null : buf.toString('latin1', at, nul);
}

export interface ParseBody {
  name: string;
  /** The statement's text. */
  text: string;
  /** The declared parameter types: 4 bytes each, big-endian, 0 for one left to the server. */
  types: string;
}

/** null when the body is not well formed (the server will say so). */
export function readParse(buf: Buffer, at: number, end: number): ParseBody | null {
  const name = cString(buf, at, end);
  if (name === null) return null;
  const text = cString(buf, at + name.length + 1, end);
  if (text === null) return null;
  const counted = at + name.length + text.length + 2;
  if (counted + 2 > end) return null;
  const types = counted + 2 + 4 * buf.readUInt16BE(counted);
  return types === end ? { name, text, types: buf.toString('latin1', counted + 2, end) } : null;
}

export function writeParse(name: string, text: Buffer | string, types: string): Buffer {
  const count = Buffer.allocUnsafe(2);
  count.writeUInt16BE(types.length / 4);
  return message(FRONTEND.parse, `${name}\0`, text, '\0', count, types);
}

export function writeQuery(text: Buffer | string): Buffer {
  return message(FRONTEND.query, text, '\0');
}

/** The same, put where it is sent from. */
export function addQuery(out: Outbox, rewrite: Rewrite): void {
  const at = out.open();
  if (rewrite.writeTo) rewrite.writeTo(out);
  else out.add(rewrite.text);
  out.add(NUL);
  out.close(at, FRONTEND.query);
}

/** Binds a statement of our own, without parameters, to a portal; results in text. */
export function writeBind(portal: string, statement: string): Buffer {
  return serialize.bind({ portal, statement });
}

/** Runs a portal of our own to its end. */
export function writeExecute(portal: string): Buffer {
  return serialize.execute({ portal });
}

export function writeClose(kind: 'S' | 'P', name: string): Buffer {
  return message(FRONTEND.close, `${kind}${name}\0`);
}

export function writeDescribe(name: string): Buffer {
  return message(FRONTEND.describe, `S${name}\0`);
}

export const FLUSH: Buffer = serialize.flush();
export const SYNC: Buffer = serialize.sync();
export const TERMINATE: Buffer = serialize.end();

/** The values of a DataRow in text format; null for NULL. */
export function readDataRow(buf: Buffer, at: number): (string | null)[] {
  const values: (string | null)[] = [];
  let pos = at + 2;
  for (let left = buf.readUInt16BE(at); left > 0; left--) {
    const length = buf.readInt32BE(pos);
    pos += 4;
    values.push(length < 0 ? null : buf.toString('latin1', pos, pos + length));
    if (length > 0) pos += length;
  }
  return values;
}

/** Fields of an ErrorResponse or NoticeResponse by their type letter, in order. */
export function readFields(buf: Buffer, at: number, end: number): Map<string, string> {
  const fields = new Map<string, string>();
  let pos = at;
  while (pos < end && buf[pos] !== 0) {
    const letter = String.fromCharCode(buf[pos]!);
    const value = cString(buf, pos + 1, end);
    if (value === null) break;
    fields.set(letter, value);
    pos += value.length + 2;
  }
  return fields;
}

/** An ErrorResponse (or notice) of these fields, in order; values are latin1 strings of bytes. */
export function writeFields(fields: Map<string, string>, type: number = BACKEND.error): Buffer {
  const parts = [...fields].map(([letter, value]) => `${letter}${value}\0`);
  return message(type, `${parts.join('')}\0`);
}

export interface OwnError {
  severity: 'ERROR' | 'FATAL';
  code: string;
  message: string;
  hint?: string | undefined;
  /** The server's function that would have said so: drivers look at it. */
  routine?: string | undefined;
}

/**
 * An ErrorResponse of the proxy's own.
 * @param utf8 whether the client reads UTF-8; when not, what is not ASCII becomes `?`.
 */
export function writeError(error: OwnError, utf8 = true): Buffer {
  const encode = (text: string) =>
    utf8
      ? Buffer.from(text, 'utf8').toString('latin1')
      : Array.from(text, (c) => (c.codePointAt(0)! < 0x80 ? c : '?')).join('');
  const fields = new Map([
    ['S', error.severity],
    ['V', error.severity],
    ['C', error.code],
    ['M', encode(error.message)],
  ]);
  if (error.hint) fields.set('H', encode(error.hint));
  if (error.routine) fields.set('R', error.routine);
  return writeFields(fields);
}
