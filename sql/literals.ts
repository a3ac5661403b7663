import { mixed } from './bytes.js';
import type { ByteString } from './tree.js';

/**
 * A text with its plain constants taken out. Texts of one skeleton are one statement to the grammar:
 * it sees the same tokens in the same order, and only values differ.
 */
export interface Skeleton {
  readonly text: Buffer;
  /** What each constant or comment is, in turn. */
  readonly kinds: Uint8Array;
  /** Start and end of each, in turn, as byte offsets. */
  readonly spans: Spans;
  /** Of the kinds, and of all bytes between them. */
  readonly hash: number;
}

export type Spans = Int32Array;

export const INTEGER = 1;
export const DECIMAL = 2;
export const STRING = 3;
export const LINE_COMMENT = 4;
export const COMMENT = 5;

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
const CLOSING = 0x29;
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
  return scan.run() && scan.count > 0 ? scan.skeleton() : null;
}

/** Where the constant of a kind ends that begins at `start`; -1 when there is none. */
export function constantEnd(text: Buffer, start: number, kind: number): number {
  switch (kind) {
    case INTEGER:
    case DECIMAL:
      return numberEnd(text, start, kind);
    case STRING:
      return text[start] === QUOTE ? quoteEnd(text, start) : -1;
    case LINE_COMMENT:
      if (text[start] !== MINUS || text[start + 1] !== MINUS) return -1;
      return lineEnd(text, start);
    default:
      if (text[start] !== SLASH || text[start + 1] !== STAR) return -1;
      return commentEnd(text, start);
  }
}

function numberEnd(text: Buffer, start: number, kind: number): number {
  let dots = 0;
  let at = start;
  for (; at < text.length; at++) {
    const byte = text[at]!;
    if (byte === DOT) dots++;
    else if (CLASS[byte] !== DIGIT) break;
  }
  if (at === start || text[start] === DOT) return -1;
  // A word behind it is not what is behind the model's.
  return kindOf(text, start, at, dots) === kind ? at : -1;
}

/** The kind of a number of digits and dots alone; 0 when it is not taken out. */
function kindOf(text: Buffer, start: number, end: number, dots: number): number {
  if (dots === 1) return text[end - 1] === DOT ? 0 : DECIMAL;
  const isOne = text[start] !== ZERO || end === start + 1;
  return dots === 0 && isOne && end - start <= INTEGER_DIGITS ? INTEGER : 0;
}

/** The byte behind the quote that closes; -1 when none does. */
function quoteEnd(text: Buffer, start: number): number {
  const near = Math.min(text.length, start + SHORT_BYTES);
  for (let at = start + 1; at < near; at++) if (text[at] === QUOTE) return at + 1;
  return text.indexOf(QUOTE, near) + 1 || -1;
}

function lineEnd(text: Buffer, start: number): number {
  let at = start;
  while (at < text.length && text[at] !== NEWLINE && text[at] !== RETURN) at++;
  return at;
}

/** -1 when nothing closes it, or another one is within it. */
function commentEnd(text: Buffer, start: number): number {
  for (let at = start + 2; at + 1 < text.length; at++) {
    if (text[at] === SLASH && text[at + 1] === STAR) return -1;
    if (text[at] === STAR && text[at + 1] === SLASH) return at + 2;
  }
  return -1;
}

/** What a scan has found so far; there is one at a time. */
let foundKinds = new Uint8Array(64);
let foundSpans = new Int32Array(128);

function growFound(): void {
  const [kinds, spans] = [foundKinds, foundSpans];
  foundKinds = new Uint8Array(2 * kinds.length);
  foundSpans = new Int32Array(2 * spans.length);
  foundKinds.set(kinds);
  foundSpans.set(spans);
}

const BY = Buffer.from('by');
const DISTINCT = Buffer.from('distinct');
const ON = Buffer.from('on');
/** Of a letter: the bit that is set in a small one. */
const SMALL = 0x20;

function isWord(text: Buffer, at: number, word: Buffer): boolean {
  return word.every((byte, i) => (text[at + i]! | SMALL) === byte);
}

/** Words behind which no list of BY or DISTINCT ON goes on. */
const BEHIND_LIST = /^(?:limit|offset|fetch|for|having|returning|on|union|intersect|except)$/i;

/** One pass over a text, which begins at the start of a token each time. */
class Scan {
  /** How many constants there are. */
  count = 0;
  private hash = 0;
  private copied = 0;
  /** What a constant subscript does may depend on its value: it stays where it is. */
  private subscript = false;
  /** How many parentheses are open, and how many are where a list of ordinals is; below 0: there is none. */
  private depth = 0;
  private list = -1;
  /** Behind a dot any word is a name. */
  private dotted = false;
  /** Where the word before this one begins and ends. */
  private wordStart = 0;
  private wordEnd = 0;
  /** Where the next backslash is. */
  private backslash = -1;

  constructor(private readonly text: Buffer) {
    this.findBackslash(0);
  }

  skeleton(): Skeleton {
    const { text, count } = this;
    this.mix(this.copied, text.length);
    const kinds = foundKinds.slice(0, count);
    return { text, kinds, spans: foundSpans.slice(0, 2 * count), hash: this.hash };
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
        this.dotted = byte === DOT;
        if (byte === PARENTHESIS) this.depth++;
        else if (byte === CLOSING && --this.depth < this.list) this.list = -1;
        at++;
      }
    }
    return at >= 0;
  }

  /**
   * An integer of ORDER BY, GROUP BY or DISTINCT ON may be the number of a column: it stays where it is.
   * All of these lists do.
   */
  private ordinals(start: number, end: number): void {
    const { text, wordStart, wordEnd, dotted } = this;
    this.wordStart = start;
    this.wordEnd = end;
    this.dotted = false;
    const length = end - start;
    if (this.list >= 0) {
      if (
        !dotted &&
        this.depth === this.list &&
        BEHIND_LIST.test(text.toString('latin1', start, end))
      ) {
        this.list = -1;
      }
    } else if (length === 2 && isWord(text, start, BY)) {
      this.list = this.depth;
    } else if (length === 2 && wordEnd - wordStart === DISTINCT.length) {
      const isList = isWord(text, wordStart, DISTINCT) && isWord(text, start, ON);
      if (isList) this.list = this.depth + 1;
    }
  }

  /** A word that belongs to the constant behind it (E'', B'', X'', N'', U&'', date'') is not read. */
  private word(start: number): number {
    const { text } = this;
    let at = start + 1;
    while (CLASS[text[at] ?? 0] || text[at] === DOLLAR) at++;
    if (text[at] === QUOTE || (at === start + 1 && text[at] === AMPERSAND)) return -1;
    this.subscript = false;
    this.ordinals(start, at);
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
      const kind = kindOf(text, start, at, dots);
      if (kind > 0) this.take(start, at, kind);
    }
    this.subscript = false;
    return at;
  }

  private string(start: number): number {
    const end = quoteEnd(this.text, start);
    if (end < 0) return -1;
    if (this.backslash < start) this.findBackslash(start);
    if (this.backslash < end) return -1;
    this.take(start, end, STRING);
    this.subscript = false;
    return end;
  }

  private lineComment(start: number): number {
    const end = lineEnd(this.text, start);
    this.take(start, end, LINE_COMMENT);
    return end;
  }

  private comment(start: number): number {
    const end = commentEnd(this.text, start);
    if (end > 0) this.take(start, end, COMMENT);
    return end;
  }

  private isBlank(from: number): boolean {
    return !/\S/.test(this.text.toString('latin1', from));
  }

  private take(start: number, end: number, kind: number): void {
    if ((this.subscript || this.list >= 0) && kind <= STRING) return;
    this.mix(this.copied, start);
    this.hash = mixed(this.hash, kind);
    if (this.count === foundKinds.length) growFound();
    foundKinds[this.count] = kind;
    foundSpans[2 * this.count] = start;
    foundSpans[2 * this.count + 1] = end;
    this.count++;
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

/**
 * The same text with other constants of the same kinds, most of another length: no two of a kind alike, or all.
 */
export function withOtherConstants(
  { text, kinds, spans, hash }: Skeleton,
  manner: 'unlike' | 'alike',
): Skeleton {
  const bytes = text.toString('latin1');
  const others: number[] = [];
  let result = '';
  let copied = 0;
  kinds.forEach((kind, i) => {
    const [start, end] = [spans[2 * i]!, spans[2 * i + 1]!];
    result += bytes.slice(copied, start);
    others.push(result.length);
    const constant = bytes.slice(start, end);
    result += manner === 'alike' ? alike(constant, kind) : unlike(constant, kind, i);
    others.push(result.length);
    copied = end;
  });
  result += bytes.slice(copied);
  return { text: Buffer.from(result, 'latin1'), kinds, spans: Int32Array.from(others), hash };
}

function unlike(constant: ByteString, kind: number, place: number): ByteString {
  switch (kind) {
    case INTEGER: {
      const value = 400_000_000 + place;
      return String(value === Number(constant) ? value + 100_000_000 : value);
    }
    case DECIMAL:
      return `${place}.17`;
    case STRING:
      return `${constant.slice(0, -1)}pgtandem${place}'`;
    default:
      return constant;
  }
}

function alike(constant: ByteString, kind: number): ByteString {
  switch (kind) {
    case INTEGER:
      return '7';
    case DECIMAL:
      return '7.5';
    case STRING:
      return "'pgtandem'";
    default:
      return constant;
  }
}
