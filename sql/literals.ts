import type { ByteString } from './tree.js';

/**
 * A text with its plain constants taken out. Texts of one key are one statement to the grammar: it
 * sees the same tokens in the same order, and only values differ.
 */
export interface Skeleton {
  key: string;
  /** Start and end of each constant and comment, in turn, as byte offsets. */
  spans: number[];
}

/** Statements of which constants are values and nothing else (DO has code in its constant). */
const STATEMENT = /^\s*(?:insert|update|delete|select|with|merge|values)\b/i;

const WORD = 1;
const DIGIT = 2;
/** What kind of character each byte is, as far as it matters. */
const CLASS = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const letter = /[A-Za-z_]/.test(String.fromCharCode(byte)) || byte >= 0x80;
  CLASS[byte] = letter ? WORD : byte >= 0x30 && byte <= 0x39 ? DIGIT : 0;
}
const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DOLLAR = 0x24;
const DOT = 0x2e;
const MINUS = 0x2d;
const SLASH = 0x2f;
const STAR = 0x2a;
const SEMICOLON = 0x3b;
const AMPERSAND = 0x26;
const SPACE = 0x20;
const BRACKET = 0x5b;
/** What may stand between the bracket and a constant: a parenthesis, a sign. */
const IN_SUBSCRIPT = new Set([0x28, MINUS]);

/** An integer that the scanner takes for one of four bytes, whatever its digits. */
const INTEGER = /^(?:0|[1-9][0-9]{0,8})$/;
const DECIMAL = /^[0-9]+\.[0-9]+$/;

/**
 * The skeleton of a text; null when it has no constants, or is of a kind that is not looked at:
 * several statements, dollar quotes, constants with a prefix or a backslash, nested comments.
 *
 * @param text with standard_conforming_strings on, in an encoding in which bytes below 0x80 are
 *   ASCII.
 */
export function skeletonOf(text: ByteString): Skeleton | null {
  if (!STATEMENT.test(text)) return null;
  const spans: number[] = [];
  let key = '';
  let copied = 0;
  // What a constant subscript does may depend on its value: it stays in the key.
  let subscript = false;
  const take = (start: number, end: number, kind: string) => {
    if (subscript && kind !== 'l' && kind !== 'c') return;
    spans.push(start, end);
    key += `${text.slice(copied, start)}\0${kind}`;
    copied = end;
  };
  const { length } = text;
  for (let at = 0; at < length; ) {
    const byte = text.charCodeAt(at);
    const kind = CLASS[byte];
    if (kind === WORD) {
      const end = wordEnd(text, at);
      if (isPrefix(text, at, end)) return null;
      subscript = false;
      at = end;
    } else if (kind === DIGIT) {
      const end = numberEnd(text, at);
      const number = text.slice(at, end);
      const after = at > 0 ? text.charCodeAt(at - 1) : 0;
      if (after !== DOT && after !== DOLLAR) {
        if (INTEGER.test(number)) take(at, end, 'i');
        else if (DECIMAL.test(number)) take(at, end, 'd');
      }
      subscript = false;
      at = end;
    } else if (byte === QUOTE) {
      const end = text.indexOf("'", at + 1) + 1;
      if (end === 0 || hasBackslash(text, at, end)) return null;
      take(at, end, 's');
      subscript = false;
      at = end;
    } else if (byte === DOUBLE_QUOTE) {
      const end = text.indexOf('"', at + 1) + 1;
      if (end === 0) return null;
      at = end;
    } else if (byte === DOLLAR && CLASS[text.charCodeAt(at + 1)] !== DIGIT) {
      return null;
    } else if (byte === MINUS && text.charCodeAt(at + 1) === MINUS) {
      const end = lineEnd(text, at);
      take(at, end, 'l');
      at = end;
    } else if (byte === SLASH && text.charCodeAt(at + 1) === STAR) {
      const end = text.indexOf('*/', at + 2) + 2;
      if (end === 1 || text.slice(at + 2, end).includes('/*')) return null;
      take(at, end, 'c');
      at = end;
    } else if (byte === SEMICOLON) {
      if (/\S/.test(text.slice(at + 1))) return null;
      at = length;
    } else {
      if (byte > SPACE) subscript = byte === BRACKET || (subscript && IN_SUBSCRIPT.has(byte));
      at++;
    }
  }
  return spans.length > 0 ? { key: key + text.slice(copied), spans } : null;
}

function wordEnd(text: ByteString, from: number): number {
  let at = from + 1;
  while (at < text.length && (CLASS[text.charCodeAt(at)] || text.charCodeAt(at) === DOLLAR)) at++;
  return at;
}

/** Whether a word belongs to the constant behind it: E'', B'', X'', N'', U&'', date''. */
function isPrefix(text: ByteString, start: number, end: number): boolean {
  const next = text.charCodeAt(end);
  return next === QUOTE || (end === start + 1 && next === AMPERSAND);
}

/** The end of what begins with a digit and may be one number, or is none that is taken out. */
function numberEnd(text: ByteString, from: number): number {
  let at = from + 1;
  while (at < text.length && (CLASS[text.charCodeAt(at)] || text.charCodeAt(at) === DOT)) at++;
  return at;
}

function hasBackslash(text: ByteString, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (text.charCodeAt(at) === BACKSLASH) return true;
  return false;
}

function lineEnd(text: ByteString, from: number): number {
  let at = from;
  while (at < text.length && !/[\n\r]/.test(text[at]!)) at++;
  return at;
}

/** The same text with other constants of the same kinds, most of another length. */
export function withOtherConstants(
  text: ByteString,
  { key, spans }: Skeleton,
): { text: ByteString; skeleton: Skeleton } {
  const kinds = [...key.matchAll(/\0(.)/g)].map((match) => match[1]!);
  const others: number[] = [];
  let result = '';
  let copied = 0;
  kinds.forEach((kind, i) => {
    const [start, end] = [spans[2 * i]!, spans[2 * i + 1]!];
    result += text.slice(copied, start);
    others.push(result.length);
    result += other(text.slice(start, end), kind);
    others.push(result.length);
    copied = end;
  });
  return { text: result + text.slice(copied), skeleton: { key, spans: others } };
}

function other(constant: ByteString, kind: string): ByteString {
  switch (kind) {
    case 'i': {
      const value = Number(constant);
      return String(value < 900_000_000 ? value + 91 : value - 91);
    }
    case 'd':
      return `${constant}17`;
    case 's':
      return `${constant.slice(0, -1)}pgtandem'`;
    default:
      return constant;
  }
}
