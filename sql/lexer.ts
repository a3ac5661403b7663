import type { ByteString } from './tree.js';

export type TokenKind =
  | 'word' // unquoted identifier or keyword
  | 'quoted' // quoted identifier, U& form included
  | 'string' // any string constant, with its continuations
  | 'number'
  | 'param'
  | 'operator'
  | 'mark'; // , ( ) [ ] ; : :: := . ..

/** A token of the client's text: bytes `start` to `end`. */
export interface Token {
  kind: TokenKind;
  start: number;
  end: number;
}

/*
 * The rules of PostgreSQL's scan.l for a text that its grammar has already accepted; the parse
 * tree gives the starts of nodes only, and this gives the ends. It needs an encoding in which bytes
 * below 0x80 are ASCII.
 * Like the library's scanner, and unlike the server's, it does not go on with a constant after a
 * comment: such a text does not parse here at all, and is left to the guard.
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html
 */
const SPACE = /[ \t\n\r\f\v]+|--[^\n\r]*/y;
const BLANK = /[ \t\n\r\f\v]+/y;
const WORD = /[A-Za-z_\x80-\xff][A-Za-z_\x80-\xff0-9$]*/y;
const QUOTED = /(?:[uU]&)?"[^"]*(?:""[^"]*)*"/y;
const BIT_STRING = /[bBxX]'[^']*'/y;
const PLAIN_STRING = /(?:[uU]&)?'[^']*(?:''[^']*)*'/y;
const ESCAPE_STRING = /[eE]'[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*'/y;
const BIT_REST = /'[^']*'/y;
const PLAIN_REST = /'[^']*(?:''[^']*)*'/y;
const ESCAPE_REST = /'[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*'/y;
const DOLLAR = /\$(?:[A-Za-z_\x80-\xff][A-Za-z_\x80-\xff0-9]*)?\$/y;
const PARAM = /\$[0-9]+/y;
const NUMBER =
  /0[xX](?:_?[0-9A-Fa-f])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|(?:[0-9](?:_?[0-9])*(?:\.(?!\.)(?:[0-9](?:_?[0-9])*)?)?|\.[0-9](?:_?[0-9])*)(?:[eE][-+]?[0-9](?:_?[0-9])*)?/y;
const OPERATOR = /[~!@#^&|`?+\-*/%<>=]+/y;
const MARK = /::|:=|\.\.|[,()[\];:.]/y;
const COMMENT = /\/\*|\*\//g;

/** Where `pattern` (sticky) ends when it matches at `at`; -1 when it does not. */
function match(pattern: RegExp, text: ByteString, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}

/**
 * The tokens of a text, white space and comments left out.
 *
 * @param escapes whether a backslash begins an escape in plain constants too
 *   (standard_conforming_strings off).
 */
export function lex(text: ByteString, escapes = false): Token[] {
  const tokens: Token[] = [];
  for (let at = skip(text, 0); at < text.length; ) {
    const [kind, end] = next(text, at, escapes);
    tokens.push({ kind, start: at, end });
    at = skip(text, end);
  }
  return tokens;
}

/** Where the next token begins, from `at` on. */
function skip(text: ByteString, at: number): number {
  for (let from = at; ; ) {
    let end = match(SPACE, text, from);
    if (end < 0 && text.startsWith('/*', from)) end = commentEnd(text, from);
    if (end < 0) return from;
    from = end;
  }
}

function commentEnd(text: ByteString, start: number): number {
  COMMENT.lastIndex = start;
  for (let depth = 0, hit = COMMENT.exec(text); hit; hit = COMMENT.exec(text)) {
    depth += hit[0] === '/*' ? 1 : -1;
    if (depth === 0) return COMMENT.lastIndex;
  }
  return text.length;
}

function next(text: ByteString, at: number, escapes: boolean): [TokenKind, number] {
  const quoted = match(QUOTED, text, at);
  if (quoted >= 0) return ['quoted', quoted];
  const string = stringEnd(text, at, escapes);
  if (string >= 0) return ['string', string];
  const word = match(WORD, text, at);
  if (word >= 0) return ['word', word];
  const param = match(PARAM, text, at);
  if (param >= 0) return ['param', param];
  const number = match(NUMBER, text, at);
  if (number >= 0) return ['number', number];
  const mark = match(MARK, text, at);
  if (mark >= 0) return ['mark', mark];
  return ['operator', operatorEnd(text, at)];
}

function stringEnd(text: ByteString, at: number, escapes: boolean): number {
  const dollar = match(DOLLAR, text, at);
  if (dollar >= 0) {
    const close = text.indexOf(text.slice(at, dollar), dollar);
    return close < 0 ? text.length : close + (dollar - at);
  }
  const [rest, end] = firstPart(text, at, escapes);
  let last = end;
  for (let more = end; more >= 0; ) {
    more = continuation(text, last);
    if (more >= 0) more = match(rest, text, more);
    if (more >= 0) last = more;
  }
  return last;
}

/** The first part of a constant: the pattern of what may follow it, and its end; -1 for none. */
function firstPart(text: ByteString, at: number, escapes: boolean): [RegExp, number] {
  const escaped = match(ESCAPE_STRING, text, at);
  if (escaped >= 0) return [ESCAPE_REST, escaped];
  const bits = match(BIT_STRING, text, at);
  if (bits >= 0) return [BIT_REST, bits];
  if (escapes && text[at] === "'") return [ESCAPE_REST, match(ESCAPE_REST, text, at)];
  return [PLAIN_REST, match(PLAIN_STRING, text, at)];
}

/** The quote that goes on with a constant after white space with a newline in it; -1 for none. */
function continuation(text: ByteString, at: number): number {
  const end = match(BLANK, text, at);
  return end >= 0 && text[end] === "'" && /[\n\r]/.test(text.slice(at, end)) ? end : -1;
}

/** An operator stops before a comment, and at its last `+` or `-` only beside special signs. */
function operatorEnd(text: ByteString, at: number): number {
  let end = match(OPERATOR, text, at);
  if (end < 0) return at + 1;
  for (const comment of ['/*', '--']) {
    const inside = text.slice(at, end).indexOf(comment);
    if (inside > 0) end = at + inside;
  }
  if (!/[~!@#^&|`?%]/.test(text.slice(at, end))) {
    while (end - at > 1 && /[+-]/.test(text[end - 1]!)) end--;
  }
  return end;
}
