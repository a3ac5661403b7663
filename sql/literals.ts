import { mixed, sameRange } from './bytes.js';
import type { ByteString } from './tree.js';

/**
 * A text with its plain constants taken out. Texts of one skeleton are one statement to the grammar:
 * it sees the same tokens in the same order, and only values differ.
 */
export interface Skeleton {
  readonly text: Buffer;
  /** What each constant or comment is, in turn. */
  readonly kinds: readonly Kind[];
  /** Start and end of each, in turn, as byte offsets. */
  readonly spans: readonly number[];
  /** Of the kinds, and of all bytes between them. */
  readonly hash: number;
}

export const INTEGER = 1;
export const DECIMAL = 2;
export const STRING = 3;
export const LINE_COMMENT = 4;
export const COMMENT = 5;
export type Kind =
  | typeof INTEGER
  | typeof DECIMAL
  | typeof STRING
  | typeof LINE_COMMENT
  | typeof COMMENT;

/** Statements of which constants are values and nothing else (DO has code in its constant). */
const STATEMENT = /^\s*(?:insert|update|delete|select|with|merge|values)\b/i;
/** So much of a text is looked at to find its first word, bytes. */
const START_BYTES = 100;

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
export const BACKSLASH = 0x5c;
const DOLLAR = 0x24;
const DOT = 0x2e;
const MINUS = 0x2d;
const SLASH = 0x2f;
const STAR = 0x2a;
const SEMICOLON = 0x3b;
const AMPERSAND = 0x26;
const SPACE = 0x20;
const BRACKET = 0x5b;
const PARENTHESIS = 0x28;
const ZERO = 0x30;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** Digits of which any integer fits four bytes, whatever they are. */
const INTEGER_DIGITS = 9;
/** A string is first looked through for its end in the plain way, as most are short. */
const SHORT_BYTES = 64;

/**
 * The skeleton of a text; null when it has no constants, or is of a kind that is not looked at:
 * several statements, dollar quotes, constants with a prefix or a backslash, nested comments.
 *
 * @param text with standard_conforming_strings on, in an encoding in which bytes below 0x80 are
 *   ASCII.
 */
export function skeletonOf(text: Buffer): Skeleton | null {
  if (!STATEMENT.test(text.toString('latin1', 0, START_BYTES))) return null;
  const scan = new Scan(text);
  return scan.run() && scan.kinds.length > 0 ? scan.skeleton() : null;
}

/** Whether two texts differ in nothing but their constants. */
export function sameSkeleton(a: Skeleton, b: Skeleton): boolean {
  if (a.kinds.length !== b.kinds.length) return false;
  let [atA, atB] = [0, 0];
  for (let i = 0; i < a.kinds.length; i++) {
    const length = a.spans[2 * i]! - atA;
    if (a.kinds[i] !== b.kinds[i] || length !== b.spans[2 * i]! - atB) return false;
    if (!sameRange(a.text, atA, b.text, atB, length)) return false;
    atA = a.spans[2 * i + 1]!;
    atB = b.spans[2 * i + 1]!;
  }
  const rest = a.text.length - atA;
  return rest === b.text.length - atB && sameRange(a.text, atA, b.text, atB, rest);
}

/** One pass over a text, which begins at the start of a token each time. */
class Scan {
  readonly kinds: Kind[] = [];
  private readonly spans: number[] = [];
  private hash = 0;
  private copied = 0;
  /** What a constant subscript does may depend on its value: it stays where it is. */
  private subscript = false;
  /** Where the next backslash is. */
  private backslash = -1;

  constructor(private readonly text: Buffer) {
    this.findBackslash(0);
  }

  skeleton(): Skeleton {
    const { text, kinds, spans } = this;
    this.mix(this.copied, text.length);
    return { text, kinds, spans, hash: this.hash };
  }

  /** @returns false when the text is not looked at. */
  run(): boolean {
    const { text } = this;
    const { length } = text;
    let at = 0;
    while (at >= 0 && at < length) {
      const byte = text[at]!;
      const kind = CLASS[byte];
      if (kind === WORD) at = this.word(at);
      else if (kind === DIGIT) at = this.number(at);
      else if (byte === QUOTE) at = this.string(at);
      else if (byte <= SPACE) at++;
      else if (byte === DOUBLE_QUOTE) at = text.indexOf(DOUBLE_QUOTE, at + 1) + 1 || -1;
      else if (byte === DOLLAR && CLASS[text[at + 1] ?? 0] !== DIGIT) at = -1;
      else if (byte === MINUS && text[at + 1] === MINUS) at = this.lineComment(at);
      else if (byte === SLASH && text[at + 1] === STAR) at = this.comment(at);
      else if (byte === SEMICOLON) at = this.isBlank(at + 1) ? length : -1;
      else {
        this.subscript = byte === BRACKET || (this.subscript && isInSubscript(byte));
        at++;
      }
    }
    return at >= 0;
  }

  /** A word that belongs to the constant behind it (E'', B'', X'', N'', U&'', date'') is not read. */
  private word(start: number): number {
    const { text } = this;
    let at = start + 1;
    while (CLASS[text[at] ?? 0] || text[at] === DOLLAR) at++;
    if (text[at] === QUOTE || (at === start + 1 && text[at] === AMPERSAND)) return -1;
    this.subscript = false;
    return at;
  }

  /** What begins with a digit may be one number, or is none that is taken out. */
  private number(start: number): number {
    const { text } = this;
    let dots = 0;
    let words = 0;
    let at = start;
    for (let byte = text[at]; ; byte = text[++at]) {
      const kind = CLASS[byte ?? 0];
      if (kind === WORD) words++;
      else if (byte === DOT) dots++;
      else if (kind !== DIGIT) break;
    }
    const before = start > 0 ? text[start - 1] : 0;
    if (words === 0 && before !== DOT && before !== DOLLAR) {
      const isOne = text[start] !== ZERO || at === start + 1;
      if (dots === 1 && text[at - 1] !== DOT) this.take(start, at, DECIMAL);
      else if (dots === 0 && isOne && at - start <= INTEGER_DIGITS) this.take(start, at, INTEGER);
    }
    this.subscript = false;
    return at;
  }

  private string(start: number): number {
    const { text } = this;
    let at = start + 1;
    const near = Math.min(text.length, at + SHORT_BYTES);
    while (at < near && text[at] !== QUOTE) at++;
    const close = at < near ? at : text.indexOf(QUOTE, at);
    if (close < 0) return -1;
    if (this.backslash < start) this.findBackslash(start);
    if (this.backslash < close) return -1;
    this.take(start, close + 1, STRING);
    this.subscript = false;
    return close + 1;
  }

  private lineComment(start: number): number {
    const { text } = this;
    let at = start;
    while (at < text.length && text[at] !== NEWLINE && text[at] !== RETURN) at++;
    this.take(start, at, LINE_COMMENT);
    return at;
  }

  private comment(start: number): number {
    const { text } = this;
    for (let at = start + 2; at + 1 < text.length; at++) {
      if (text[at] === SLASH && text[at + 1] === STAR) return -1;
      if (text[at] !== STAR || text[at + 1] !== SLASH) continue;
      this.take(start, at + 2, COMMENT);
      return at + 2;
    }
    return -1;
  }

  private isBlank(from: number): boolean {
    return !/\S/.test(this.text.toString('latin1', from));
  }

  private take(start: number, end: number, kind: Kind): void {
    if (this.subscript && kind <= STRING) return;
    this.mix(this.copied, start);
    this.hash = mixed(this.hash, kind);
    this.kinds.push(kind);
    this.spans.push(start, end);
    this.copied = end;
  }

  private mix(start: number, end: number): void {
    const { text } = this;
    let { hash } = this;
    for (let at = start; at < end; at++) hash = mixed(hash, text[at]!);
    this.hash = hash;
  }

  private findBackslash(from: number): void {
    const found = this.text.indexOf(BACKSLASH, from);
    this.backslash = found < 0 ? this.text.length : found;
  }
}

/** What may stand between the bracket and a constant: a parenthesis, a sign. */
function isInSubscript(byte: number): boolean {
  return byte === PARENTHESIS || byte === MINUS;
}

/** The same text with other constants of the same kinds, most of another length. */
export function withOtherConstants({ text, kinds, spans, hash }: Skeleton): Skeleton {
  const bytes = text.toString('latin1');
  const others: number[] = [];
  let result = '';
  let copied = 0;
  kinds.forEach((kind, i) => {
    const [start, end] = [spans[2 * i]!, spans[2 * i + 1]!];
    result += bytes.slice(copied, start);
    others.push(result.length);
    result += other(bytes.slice(start, end), kind);
    others.push(result.length);
    copied = end;
  });
  result += bytes.slice(copied);
  return { text: Buffer.from(result, 'latin1'), kinds, spans: others, hash };
}

function other(constant: ByteString, kind: Kind): ByteString {
  switch (kind) {
    case INTEGER: {
      const value = Number(constant);
      return String(value < 900_000_000 ? value + 91 : value - 91);
    }
    case DECIMAL:
      return `${constant}17`;
    case STRING:
      return `${constant.slice(0, -1)}pgtandem'`;
    default:
      return constant;
  }
}
