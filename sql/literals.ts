import { mixed, sameRange } from './bytes.js';
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
const ZERO = 0x30;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** Digits of which any integer fits four bytes, whatever they are. */
const INTEGER_DIGITS = 9;
/** So much of a text is compared before anything else. */
const HEAD_BYTES = 32;
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

/** What `spansLike` has found, until it is called again: a bulk INSERT has thousands of constants. */
let likeSpans = new Int32Array(128);
/** How many numbers are kept for the next text at most. */
const KEPT_SPANS = 1 << 16;
/** How often `spansLike` has been called. */
let turn = 0;
const ALWAYS = 0;

/** For how long spans are valid: the number to ask `isValid` for. */
export function validityOf(spans: Spans): number {
  return spans === likeSpans ? turn : ALWAYS;
}

export function isValid(validity: number): boolean {
  return validity === ALWAYS || validity === turn;
}

function spansFor(count: number): Spans {
  if (count <= likeSpans.length) return likeSpans;
  const fresh = new Int32Array(2 * count);
  if (fresh.length <= KEPT_SPANS) likeSpans = fresh;
  return fresh;
}

/**
 * The spans of a text that differs from the model in nothing but its constants; null where it does, or
 * where that has to be found out by `skeletonOf`: a text with a backslash. It looks at each byte once.
 * @returns what is valid until it is called again (`validityOf`), and may have more behind its end.
 */
export function spansLike(text: Buffer, model: Skeleton): Spans | null {
  const { text: own, kinds, spans } = model;
  turn++;
  // Most that are not like it are told by their first bytes: the arrays are made for the others.
  const head = Math.min(spans[0]!, HEAD_BYTES);
  if (text.length < head || !sameRange(text, 0, own, 0, head)) return null;
  if (text.includes(BACKSLASH)) return null;
  const found = spansFor(spans.length);
  let [at, ownAt] = [0, 0];
  for (let i = 0; i < kinds.length; i++) {
    const gap = spans[2 * i]! - ownAt;
    if (text.length - at < gap) return null;
    for (const end = at + gap; at < end; at++, ownAt++) if (text[at] !== own[ownAt]) return null;
    found[2 * i] = at;
    at = constantEnd(text, at, kinds[i]!);
    if (at < 0) return null;
    found[2 * i + 1] = at;
    ownAt = spans[2 * i + 1]!;
  }
  const rest = text.length - at;
  return rest === own.length - ownAt && sameRange(text, at, own, ownAt, rest) ? found : null;
}

/** Where the constant of a kind ends that begins at `start`; -1 when there is none. */
function constantEnd(text: Buffer, start: number, kind: number): number {
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

/** One pass over a text, which begins at the start of a token each time. */
class Scan {
  /** How many constants there are. */
  count = 0;
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
    if (this.subscript && kind <= STRING) return;
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
  return { text: Buffer.from(result, 'latin1'), kinds, spans: Int32Array.from(others), hash };
}

function other(constant: ByteString, kind: number): ByteString {
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
