import { type CopyRows, integerBounds } from '../sql/copy-rows.js';

/** Up to so many bytes, any integer that is written fits a type of 2 or 4 bytes. */
const SAFE: Readonly<Record<number, number>> = { 2: 4, 4: 9 };

const INTEGER =
  /^[ \t\n\v\f\r]*([-+]?)(\d+(?:_\d+)*|0x(?:_?[\da-f])+|0o(?:_?[0-7])+|0b(?:_?[01])+)[ \t\n\v\f\r]*$/i;

/**
 * A field of text or CSV for a narrower integer: itself, or NULL when its value does not fit. One
 * that is no integer is given again: the server has refused it before.
 *
 * @param bytes of the narrower type.
 */
export function narrowed(field: Buffer, bytes: number, rows: CopyRows): Buffer {
  if (field.length <= SAFE[bytes]!) return field;
  const raw = field.toString('latin1');
  if (raw === rows.nullText) return field;
  const text = rows.format === 'csv' ? unquote(raw, rows) : unescapeText(raw);
  const [, sign, digits] = INTEGER.exec(text) ?? [];
  if (digits === undefined) return field;
  const size = BigInt(digits.replaceAll('_', ''));
  const value = sign === '-' ? -size : size;
  const { min, max } = integerBounds(bytes);
  return value >= min && value <= max ? field : Buffer.from(rows.nullText, 'latin1');
}

const CONTROLS: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

function unescapeText(raw: string): string {
  return raw.replace(/\\(?:x([\da-fA-F]{1,2})|([0-7]{1,3})|([\s\S]))/g, (_, hex, octal, byte) => {
    if (hex) return String.fromCharCode(Number.parseInt(hex, 16));
    if (octal) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
    return CONTROLS[byte] ?? byte;
  });
}

function unquote(raw: string, { quote, escapeBy }: CopyRows): string {
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
