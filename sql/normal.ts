import { lex, type Token } from './lexer.js';
import { type ByteString, fromBytes } from './tree.js';

/** So much of a text is read, bytes: what comes behind tells no more of its shape. */
export const READ_BYTES = 16 << 10;
/** So long a shape is kept, bytes. */
const SHAPE_BYTES = 2_000;
/** What stands at the end of a shape that is not whole. */
const CUT = ' ...';

const VALUE = /^(?:0|\$\d+|[BXbx]?'.'|U&'')$/;

/** A statement without its values. */
export interface NormalText {
  /** Strings are `'?'`, numbers `0`; no comments, single spaces, unquoted words in lower case. */
  text: string;
  /** Whether all of the statement is there, so that it parses. */
  isWhole: boolean;
}

/**
 * Takes the values out of a text, so that statements that differ in nothing else are one: literals
 * become `'?'` and `0`, a list of values behind IN or within ARRAY[] one value, and of the rows of
 * VALUES that look alike one is left. It still parses, to what means the same but for its values.
 * Parameters stay, so that what is read here is what the application wrote. Pure.
 */
export function normalise(bytes: ByteString): NormalText {
  const read = bytes.length > READ_BYTES ? bytes.slice(0, READ_BYTES) : bytes;
  const tokens = lex(read);
  // A quote that nothing closes: what is behind it is not told from a value.
  const open = tokens.findIndex(
    ({ kind, start }) => kind === 'operator' && /['"]/.test(read[start]!),
  );
  if (open >= 0) tokens.splice(open);
  const words = collapse(tokens.map((token) => wordOf(read, token)));
  while (words.at(-1) === ';') words.pop();
  let isWhole = read.length === bytes.length && open < 0;
  // The last token may be the beginning of a longer one, or of a literal.
  if (!isWhole) words.pop();
  let text = joined(words);
  if (text.length > SHAPE_BYTES) {
    text = text.slice(0, SHAPE_BYTES);
    isWhole = false;
  }
  return { text: fromBytes(isWhole ? text : text + CUT), isWhole };
}

function wordOf(text: ByteString, { kind, start, end }: Token): ByteString {
  const written = text.slice(start, end);
  // A bracket that stands by itself is not the one of a call.
  if (written === '(' && /\s/.test(text[start - 1] ?? '')) return ' (';
  // Letters of ASCII only: the others are bytes of characters.
  if (kind === 'word') return written.replace(/[A-Z]+/g, (upper) => upper.toLowerCase());
  if (kind === 'number') return '0';
  if (kind !== 'string') return written;
  // What is behind UESCAPE is needed, and B'' and X'' hold digits.
  if (/^u/i.test(written)) return `U&''`;
  return /^[bx]/i.test(written) ? `${written[0]}'0'` : `'?'`;
}

function isOpen(word: ByteString | undefined): boolean {
  return word === '(' || word === ' (';
}

function isValue(word: ByteString | undefined): boolean {
  return word !== undefined && VALUE.test(word);
}

/** Lists of values become one value, rows that look alike one row. */
function collapse(words: readonly ByteString[]): ByteString[] {
  const out: ByteString[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    out.push(word);
    const lists = word === 'in' ? isOpen(words[i + 1]) : word === 'array' && words[i + 1] === '[';
    if (lists && isValue(words[i + 2])) {
      const last = lastOfList(words, i + 2);
      if (last > i + 2) {
        out.push(words[i + 1]!, words[i + 2]!);
        i = last;
      }
    } else if (word === 'values' && isOpen(words[i + 1])) {
      i = collapseRows(words, i + 1, out);
    }
  }
  return out;
}

/** Where the last value of a list that is nothing but values stands; `from` where it is not so. */
function lastOfList(words: readonly ByteString[], from: number): number {
  let last = from;
  while (words[last + 1] === ',' && isValue(words[last + 2])) last += 2;
  return words[last + 1] === ')' || words[last + 1] === ']' ? last : from;
}

/** Writes the rows from `from` on, those like the one before left out. @returns the last index. */
function collapseRows(words: readonly ByteString[], from: number, out: ByteString[]): number {
  let at = from;
  let before = '';
  for (;;) {
    const end = closeOf(words, at);
    // Two rows that differ in their parameters only are alike.
    const row = words.slice(at, end + 1);
    const key = row.map((word) => (isValue(word) ? '?' : word.trim())).join(' ');
    if (key !== before) {
      if (before !== '') out.push(',');
      out.push(...row);
    }
    before = key;
    if (words[end + 1] !== ',' || !isOpen(words[end + 2])) return end;
    at = end + 2;
  }
}

function closeOf(words: readonly ByteString[], open: number): number {
  let depth = 0;
  for (let i = open; i < words.length; i++) {
    if (isOpen(words[i])) depth++;
    else if (words[i] === ')' && --depth === 0) return i;
  }
  return words.length - 1;
}

/** Words before which, and after which, no space is written. */
const TIGHT_BEFORE = new Set([',', '(', ')', ']', ';', '.', '::', '[']);
const TIGHT_AFTER = new Set(['(', ' (', '[', '.', '::']);

function joined(words: readonly ByteString[]): ByteString {
  let text = '';
  let before: ByteString = '(';
  for (const word of words) {
    const tight = TIGHT_AFTER.has(before);
    if (word === ' (') text += tight ? '(' : word;
    else text += tight || TIGHT_BEFORE.has(word) ? word : ` ${word}`;
    before = word;
  }
  return text;
}
