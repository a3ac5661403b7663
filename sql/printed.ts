import type { ByteString } from './tree.js';

/**
 * A type of which the text that its output function gives is known from what its input function
 * takes, whatever the session's settings are.
 */
export interface Printed {
  kind:
    | 'integer'
    | 'boolean'
    | 'uuid'
    | 'bit'
    | 'numeric'
    | 'name'
    | 'character'
    | 'character varying';
  /** Characters of a text, digits behind the point of a numeric; null: as many as are given. */
  limit: number | null;
}

/** Longest text of a value, in characters; a numeric's and a text's depend on its modifier. */
const LONGEST: Readonly<Record<string, number>> = {
  smallint: 6,
  integer: 11,
  bigint: 20,
  boolean: 5,
  uuid: 36,
  name: 63,
};

/** @param type as `format_type` gives it, with its modifier. @returns null when it is not known. */
export function printedOf(type: string): Printed | null {
  if (/^(smallint|integer|bigint)$/.test(type)) return { kind: 'integer', limit: null };
  if (type === 'boolean' || type === 'uuid' || type === 'name') return { kind: type, limit: null };
  if (/^(?:"bit"|bit(?: varying)?(?:\(\d+\))?)$/.test(type)) return { kind: 'bit', limit: null };
  const [, name, modifier] =
    /^(bpchar|character|character varying|numeric)(?:\((\d+(?:,\d+)?)\))?$/.exec(type) ?? [];
  if (name === undefined) return null;
  const limit = modifier === undefined ? null : Number(modifier.split(',').at(-1));
  if (name === 'numeric') return { kind: name, limit };
  if (name === 'character varying') return limit === null ? null : { kind: name, limit };
  return { kind: 'character', limit };
}

/** Whether every value of a type, as text, has at most so many characters. */
export function fitsLength(type: string, length: number): boolean {
  const own = LONGEST[type] ?? Number(/^character(?: varying)?\((\d+)\)$/.exec(type)?.[1]);
  return own <= length;
}

/** Of which it is certain for every text; the others are NULL now and then, for a guard to repair. */
export const isCertain = ({ kind }: Printed): boolean => /^(integer|boolean|uuid|bit)$/.test(kind);

const SPACE = ' \\t\\n\\v\\f\\r';
const AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, 'g');
const INTEGER = /^([-+]?)(?:(\d+(?:_\d+)*)|(0x(?:_?[\da-f])+|0o(?:_?[0-7])+|0b(?:_?[01])+))$/i;
const TRUE = /^(?:t|tr|tru|true|y|ye|yes|on|1)$/i;
const FALSE = /^(?:f|fa|fal|fals|false|n|no|of|off|0)$/i;
const UUID = /^(?:\{((?:[\da-f]{4}-?){7}[\da-f]{4})\}|((?:[\da-f]{4}-?){7}[\da-f]{4}))$/i;
const NUMERIC = /^([-+]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))$/;
const ASCII = /^[\0-\x7f]*$/;

/**
 * What a value's text becomes: as the server prints it. What the type's input function refuses is
 * given back as it is.
 *
 * @param text what the input function gets; bytes that are not ASCII in the client's encoding.
 * @returns null when it is not certain.
 */
export function printed({ kind, limit }: Printed, text: ByteString): ByteString | null {
  switch (kind) {
    case 'integer':
      return integer(text);
    case 'boolean':
      return boolean(text);
    case 'uuid':
      return uuid(text);
    case 'bit':
      return bits(text);
    case 'numeric':
      return numeric(text, limit);
    case 'name':
      return name(text);
    case 'character':
      return text.replace(/ +$/, '');
    case 'character varying':
      return cut(text, limit!);
  }
}

/** What is a word or a number but for bytes around it that are spaces in some encodings, or not. */
const BEYOND = /^[^!-~]+|[^!-~]+$/g;
const refused = (text: ByteString, ...taken: RegExp[]) =>
  taken.some((form) => form.test(text.replace(BEYOND, ''))) ? null : text;

function integer(text: ByteString): ByteString | null {
  const [, sign, decimal, other] = INTEGER.exec(text.replace(AROUND, '')) ?? [];
  if (sign === undefined) return refused(text, INTEGER);
  const size = BigInt((decimal ?? other!).replaceAll('_', ''));
  return String(sign === '-' ? -size : size);
}

function boolean(text: ByteString): ByteString | null {
  const word = text.replace(AROUND, '');
  if (TRUE.test(word)) return 'true';
  return FALSE.test(word) ? 'false' : refused(text, TRUE, FALSE);
}

function uuid(text: ByteString): ByteString {
  const [, braced, bare] = UUID.exec(text) ?? [];
  const given = braced ?? bare;
  if (given === undefined) return text;
  const digits = given.replaceAll('-', '').toLowerCase();
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Bits as they are, or behind a B, or in hexadecimal digits behind an X; no space is passed over. */
function bits(text: ByteString): ByteString {
  if (/^b[01]*$/i.test(text)) return text.slice(1);
  if (!/^x[\da-f]*$/i.test(text)) return text;
  const nibbles = Array.from(text.slice(1), (digit) => Number.parseInt(digit, 16).toString(2));
  return nibbles.map((nibble) => nibble.padStart(4, '0')).join('');
}

const NAME_BYTES = 63;
/** More than this no encoding makes of a byte. */
const EXPANSION = 4;

/** It is cut between two letters, when it has too many bytes in the server's encoding. */
function name(text: ByteString): ByteString | null {
  if (ASCII.test(text)) return text.slice(0, NAME_BYTES);
  return text.length * EXPANSION <= NAME_BYTES ? text : null;
}

/** Neither exponents nor what is rounded. */
function numeric(text: ByteString, scale: number | null): ByteString | null {
  const [, sign, whole = '', behind, alone] = NUMERIC.exec(text.replace(AROUND, '')) ?? [];
  if (sign === undefined) return null;
  const digits = behind ?? alone ?? '';
  if (scale !== null && digits.length > scale) return null;
  const fraction = digits.padEnd(scale ?? 0, '0');
  const size = whole.replace(/^0+/, '') || '0';
  const value = fraction === '' ? size : `${size}.${fraction}`;
  return sign === '-' && /[1-9]/.test(value) ? `-${value}` : value;
}

/** Spaces beyond the limit are dropped; anything else there is refused. */
function cut(text: ByteString, limit: number): ByteString | null {
  if (text.length <= limit || !text.endsWith(' ')) return text;
  if (!ASCII.test(text)) return null;
  return /^ *$/.test(text.slice(limit)) ? text.slice(0, limit) : text;
}
