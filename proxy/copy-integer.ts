import { type CopyRows, integerBounds } from '../sql/copy-rows.js';
import { readField } from './copy-field.js';

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
  const [, sign, digits] = INTEGER.exec(readField(raw, rows)) ?? [];
  if (digits === undefined) return field;
  const size = BigInt(digits.replaceAll('_', ''));
  const value = sign === '-' ? -size : size;
  const { min, max } = integerBounds(bytes);
  return value >= min && value <= max ? field : Buffer.from(rows.nullText, 'latin1');
}
