import type { RawStmt } from 'libpg-query';
import { lex } from './lexer.js';
import { parse } from './parser.js';
import type { ByteString } from './tree.js';

/*
 * Texts of a session with standard_conforming_strings off, in which a backslash in a plain constant
 * begins an escape. The parser knows the setting's default only: it is given the text with an E before
 * each such constant, and what it says of places is turned back into places of the client's text.
 */

const MARK = ' E';

/**
 * Where constants with a backslash begin that say nothing of escapes; null where the text is not to be
 * read: N'' and U&'' mean something else, or nothing, with the setting off.
 */
export function escapedConstants(text: ByteString): number[] | null {
  const starts: number[] = [];
  for (const { kind, start, end } of lex(text, true)) {
    if (kind === 'operator' && /['"]/.test(text[start]!)) return null;
    if (kind !== 'string') continue;
    if (/^u/i.test(text[start]!)) return null;
    if (text[start] !== "'" || !text.slice(start, end).includes('\\')) continue;
    if (/(?:^|[^A-Za-z0-9_$\x80-\xff])n$/i.test(text.slice(Math.max(0, start - 2), start))) {
      return null;
    }
    starts.push(start);
  }
  return starts;
}

/** A text of ours, written with the setting on, for readers with either. */
export function readByAll(text: ByteString): ByteString {
  if (!text.includes('\\')) return text;
  let result = '';
  let at = 0;
  for (const { kind, start, end } of lex(text)) {
    const constant = text.slice(start, end);
    if (kind !== 'string' || !constant.startsWith("'") || !constant.includes('\\')) continue;
    result += text.slice(at, start) + MARK + constant.replaceAll('\\', '\\\\');
    at = end;
  }
  return result + text.slice(at);
}

/** The same text for a reader to whom a backslash is one. */
export function withMarks(text: ByteString, starts: readonly number[]): ByteString {
  let result = '';
  let at = 0;
  for (const start of starts) {
    result += text.slice(at, start) + MARK;
    at = start;
  }
  return result + text.slice(at);
}

/**
 * Parses a text as `parse` does, with the setting off.
 *
 * @returns null for what is not to be read.
 * @throws as `parse`.
 */
export function parseEscaped(text: ByteString): RawStmt[] | null {
  const starts = escapedConstants(text);
  if (!starts) return null;
  const tree = parse(withMarks(text, starts));
  const back = (offset: number): number => {
    let [count, place] = [0, offset];
    for (; count < starts.length; count++) {
      place = offset - MARK.length * count;
      if (place <= starts[count]!) return place;
      // Within the mark itself it is the constant.
      if (place < starts[count]! + MARK.length) return starts[count]!;
    }
    return offset - MARK.length * count;
  };
  turnBack(tree, back);
  return tree;
}

const OFFSET = /^(?:location|(?:stmt|name|type|cte)_location|(?:rexpr_)?list_(?:start|end))$/;

function turnBack(value: unknown, back: (offset: number) => number): void {
  if (typeof value !== 'object' || value === null) return;
  const node = value as Record<string, unknown>;
  const { stmt_location: from = 0, stmt_len: length } = node;
  for (const [key, child] of Object.entries(node)) {
    if (typeof child !== 'number') turnBack(child, back);
    else if (OFFSET.test(key) && child > 0) node[key] = back(child);
  }
  if (typeof length === 'number' && length > 0 && typeof from === 'number') {
    node.stmt_len = back(from + length) - back(from);
  }
}
