/*
 * What a client was told of a statement's result when it described it, it goes on believing: a
 * driver that asks for binary results takes them for that type for as long as it has the statement.
 * When the type has changed since, values are turned back into the one it knows; where that is not
 * possible the statement fails as it does on a table that was altered directly.
 */

/** A value in binary format in the type that the client was told; null: it does not fit. */
export type Convert = (value: Buffer) => Buffer | null;

/** What the server says of a table that was altered directly; drivers know what to do then. */
export const STALE = {
  message: 'cached plan must not change result type',
  hint: 'Prepare the statement again.',
  routine: 'RevalidateCachedQuery',
};

const INT2 = 21;
const INT4 = 23;
const INT8 = 20;
const NUMERIC = 1700;
const FLOAT4 = 700;
const FLOAT8 = 701;
/** text, varchar, bpchar: one form. */
const TEXTS: ReadonlySet<number> = new Set([25, 1043, 1042]);
const INT_BYTES: Readonly<Record<number, 2 | 4 | 8>> = { [INT2]: 2, [INT4]: 4, [INT8]: 8 };
const BASE = 10_000n;

/** Type oids of a RowDescription's columns, 4 bytes each; null when it is not well formed. */
export function readRowTypes(buf: Buffer, at: number, end: number): string | null {
  let types = '';
  let pos = at + 2;
  for (let left = buf.readUInt16BE(at); left > 0; left--) {
    const nul = buf.indexOf(0, pos);
    if (nul < 0 || nul + 19 > end) return null;
    types += buf.toString('latin1', nul + 7, nul + 11);
    pos = nul + 19;
  }
  return types;
}

/** The result formats of a Bind whose names end at `at`; null when it is not whole. */
export function readResultFormats(buf: Buffer, at: number, end: number): number[] | null {
  if (at + 2 > end) return null;
  let pos = at + 2 + 2 * buf.readUInt16BE(at);
  if (pos + 2 > end) return null;
  let left = buf.readUInt16BE(pos);
  for (pos += 2; left > 0 && pos + 4 <= end; left--) {
    pos += 4 + Math.max(0, buf.readInt32BE(pos));
  }
  if (left > 0 || pos + 2 > end || pos + 2 + 2 * buf.readUInt16BE(pos) !== end) return null;
  const formats: number[] = [];
  for (pos += 2; pos < end; pos += 2) formats.push(buf.readInt16BE(pos));
  return formats;
}

/**
 * How the columns of a row become what the client was told; null for one that is right as it is.
 * @param told and `now`: type oids as `readRowTypes` gives them.
 * @param formats of the Bind: none (text), one for all, or one for each.
 * @returns null when it cannot be done; empty when there is nothing to do.
 */
export function conversions(
  told: string,
  now: string,
  formats: readonly number[],
): (Convert | null)[] | null {
  // Text says itself what it is, if the columns are still where they were.
  if (now.startsWith(told) && formats.every((format) => format === 0)) return [];
  if (told.length !== now.length) return null;
  const all: (Convert | null)[] = [];
  for (let i = 0; i < told.length / 4; i++) {
    const format = formats.length > 1 ? formats[i] : (formats[0] ?? 0);
    const [to, from] = [oidAt(told, i), oidAt(now, i)];
    const same = to === from || format === 0 || (TEXTS.has(to) && TEXTS.has(from));
    const convert = same ? null : between(from, to);
    if (convert === undefined) return null;
    all.push(convert);
  }
  return all;
}

function oidAt(types: string, i: number): number {
  return Buffer.from(types.slice(4 * i, 4 * i + 4), 'latin1').readUInt32BE(0);
}

function between(from: number, to: number): Convert | undefined {
  if (from === FLOAT8 && to === FLOAT4) return narrowFloat;
  if (from === FLOAT4 && to === FLOAT8) return widenFloat;
  const read = from === NUMERIC ? readNumeric : INT_BYTES[from] && readInteger;
  const bytes = INT_BYTES[to];
  if (!read || (!bytes && to !== NUMERIC)) return undefined;
  return (value) => {
    const number = read(value);
    if (number === null) return null;
    return bytes ? writeInteger(number, bytes) : writeNumeric(number);
  };
}

function narrowFloat(value: Buffer): Buffer | null {
  const number = value.readDoubleBE(0);
  const narrow = Buffer.alloc(4);
  narrow.writeFloatBE(number);
  return Number.isFinite(narrow.readFloatBE(0)) === Number.isFinite(number) ? narrow : null;
}

function widenFloat(value: Buffer): Buffer {
  const wide = Buffer.alloc(8);
  wide.writeDoubleBE(value.readFloatBE(0));
  return wide;
}

function readInteger(value: Buffer): bigint {
  if (value.length === 8) return value.readBigInt64BE(0);
  return BigInt(value.length === 4 ? value.readInt32BE(0) : value.readInt16BE(0));
}

function writeInteger(number: bigint, bytes: 2 | 4 | 8): Buffer | null {
  if (BigInt.asIntN(8 * bytes, number) !== number) return null;
  const value = Buffer.alloc(8);
  value.writeBigInt64BE(number);
  return value.subarray(8 - bytes);
}

/** Digits to the base 10000 from the `weight`th power down; null for a fraction, NaN, infinity. */
function readNumeric(value: Buffer): bigint | null {
  const weight = value.readInt16BE(2);
  const sign = value.readUInt16BE(4);
  if (sign !== 0 && sign !== 0x4000) return null;
  const count = value.readUInt16BE(0);
  let number = 0n;
  for (let i = 0; i <= Math.max(weight, count - 1); i++) {
    const digit = i < count ? value.readUInt16BE(8 + 2 * i) : 0;
    if (i <= weight) number = number * BASE + BigInt(digit);
    else if (digit !== 0) return null;
  }
  return sign === 0 ? number : -number;
}

function writeNumeric(number: bigint): Buffer {
  const digits: number[] = [];
  for (let left = number < 0n ? -number : number; left > 0n; left /= BASE) {
    digits.unshift(Number(left % BASE));
  }
  const weight = Math.max(0, digits.length - 1);
  // The server leaves out the zeros at the end; the weight says that they are there.
  while (digits.at(-1) === 0) digits.pop();
  const value = Buffer.alloc(8 + 2 * digits.length);
  value.writeUInt16BE(digits.length, 0);
  value.writeInt16BE(weight, 2);
  value.writeUInt16BE(number < 0n ? 0x4000 : 0, 4);
  for (const [i, digit] of digits.entries()) value.writeUInt16BE(digit, 8 + 2 * i);
  return value;
}

/** The body of a DataRow with its columns converted; null when a value does not fit. */
export function convertRow(
  buf: Buffer,
  at: number,
  columns: readonly (Convert | null)[],
): Buffer | null {
  const parts: Buffer[] = [buf.subarray(at, at + 2)];
  let pos = at + 2;
  for (let i = 0; i < buf.readUInt16BE(at); i++) {
    const length = buf.readInt32BE(pos);
    const next = pos + 4 + Math.max(0, length);
    const convert = length < 0 ? null : columns[i];
    if (!convert) parts.push(buf.subarray(pos, next));
    else {
      const value = convert(buf.subarray(pos + 4, next));
      if (!value) return null;
      const size = Buffer.alloc(4);
      size.writeInt32BE(value.length);
      parts.push(size, value);
    }
    pos = next;
  }
  return Buffer.concat(parts);
}
