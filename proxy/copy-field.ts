import type { CopyRows } from '../sql/copy-rows.js';
import { type Printed, printed } from '../sql/printed.js';

const CONTROLS: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** What a field of text or CSV stands for, as the server reads it; it is not NULL. */
export function readField(raw: string, rows: CopyRows): string {
  return rows.format === 'csv' ? unquote(raw, rows) : unescapeText(raw);
}

function unescapeText(raw: string): string {
  if (!raw.includes('\\')) return raw;
  return raw.replace(/\\(?:x([\da-fA-F]{1,2})|([0-7]{1,3})|([\s\S]))/g, (_, hex, octal, byte) => {
    if (hex) return String.fromCharCode(Number.parseInt(hex, 16));
    if (octal) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
    return CONTROLS[byte] ?? byte;
  });
}

function unquote(raw: string, { quote, escapeBy }: CopyRows): string {
  if (!raw.includes(quote)) return raw;
  let text = '';
  let inside = false;
  for (let i = 0; i < raw.length; i++) {
    const byte = raw[i]!;
    const next = raw[i + 1];
    if (inside && byte === escapeBy && (next === quote || next === escapeBy)) {
      text += next;
      i++;
    } else if (byte === quote) inside = !inside;
    else text += byte;
  }
  return text;
}

/** A value as a field of text or CSV: other than NULL and the default, wherever that is possible. */
export function writeField(value: string, rows: CopyRows): string {
  const { format, delimiter, nullText, defaultText } = rows;
  const isPlain = !/[\\\r\n\t\0]/.test(value) && !value.includes(delimiter);
  const isMark = value === nullText || value === defaultText;
  if (format === 'csv') {
    const { quote, escapeBy } = rows;
    if (isPlain && !isMark && !value.includes(quote) && !value.includes(escapeBy)) return value;
    const bytes = [...value].map((c) => (c === quote || c === escapeBy ? escapeBy + c : c));
    return quote + bytes.join('') + quote;
  }
  if (isPlain && !isMark) return value;
  return value.replace(/[\0-\x7f]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** A value of an integer type as it is printed, of at most 15 digits: the usual field. */
function isPlainInteger(field: Buffer): boolean {
  const start = field[0] === 0x2d ? 1 : 0;
  const digits = field.length - start;
  if (digits < 1 || digits > 15 || field[start]! < 0x31) return false;
  for (let i = start; i < field.length; i++) if (field[i]! < 0x30 || field[i]! > 0x39) return false;
  return true;
}

/**
 * A field of text or CSV as the text that the server prints its value as; where that is not
 * certain, `rows.unsure`.
 */
export function printedField(field: Buffer, type: Printed, rows: CopyRows): Buffer {
  if (type.kind === 'integer' && isPlainInteger(field)) return field;
  const raw = field.toString('latin1');
  if (raw === rows.nullText) return field;
  const text = readField(raw, rows);
  const value = printed(type, text);
  if (value === text) return field;
  // A byte that was written as an escape is in the server's encoding, any other in the client's.
  const mixed = raw !== text && rows.format === 'text' && /[\x80-\xff]/.test(text);
  const written = value === null || mixed ? null : writeField(value, rows);
  const isMark = written === rows.nullText || written === rows.defaultText;
  return Buffer.from(written === null || isMark ? rows.unsure : written, 'latin1');
}

/** The same of a field of binary COPY; null: it is not certain. */
export function printedBinary(value: Buffer, { kind, limit }: Printed): Buffer | null {
  const { length } = value;
  if (kind === 'integer') {
    if (length !== 2 && length !== 4 && length !== 8) return value;
    const number = length === 8 ? value.readBigInt64BE() : value.readIntBE(0, length);
    return Buffer.from(String(number));
  }
  if (kind === 'boolean') return length === 1 ? Buffer.from(String(value[0] !== 0)) : value;
  const text = value.toString(kind === 'uuid' ? 'hex' : 'latin1');
  const made = printed({ kind, limit }, text);
  return made === null ? null : Buffer.from(made, 'latin1');
}
