import { lex, type Token } from '../sql/lexer.js';

/** A PREPARE in SQL: its text is `prefix` and `body`, and nothing behind them. */
export interface SqlPrepare {
  name: string;
  /** `PREPARE name (types) AS `, as the client wrote it. */
  prefix: string;
  body: string;
}

/** What one text does to prepared statements, or to what they give. Texts are bytes in latin1. */
export interface SqlCommand {
  prepares: SqlPrepare | null;
  /** Names of the prepared statements that it runs, or may run. */
  executes: readonly string[];
  deallocates: string | null;
  /** It may change the type of what a prepared statement gives. */
  alters: boolean;
  /** It makes a temporary table. */
  temporary: boolean;
  /** It is one statement, which begins with EXECUTE or EXPLAIN: it fails before it does anything. */
  isExecute: boolean;
}

export const NO_COMMAND: SqlCommand = Object.freeze({
  prepares: null,
  executes: [],
  deallocates: null,
  alters: false,
  temporary: false,
  isExecute: false,
});

const COMMENT = String.raw`--[^\n\r]*(?:[\n\r]|$)|/\*(?:(?!/\*|\*/)[^])*\*/`;
const FIRST_WORD = new RegExp(`^(?:\\s|${COMMENT})*([a-z]+)`, 'i');
const EXECUTED = new RegExp(
  `\\bexecute(?:\\s|${COMMENT})*(?:"((?:[^"]|"")+)"|(?<=[\\s/])([a-z_][\\w$]*))`,
  'gi',
);
const EXPLAINED = /\bexplain\s*(?:\([^)]*\)|analyze|verbose|\s)*\bexecute\b/i;
const TEMPORARY = new RegExp(
  `^(?:\\s|${COMMENT})*create\\s+(?:local\\s+|global\\s+)?temp(?:orary)?\\b`,
  'i',
);
const ALTERING = new Set(['alter', 'create', 'drop', 'do']);
/** NAMEDATALEN without its NUL: longer names are cut, by characters of the server's encoding. */
const NAME_BYTES = 63;

const lower = (byte: number | undefined) => (byte ?? 0) | 0x20;
const code = (letter: string) => letter.charCodeAt(0);
const [A, C, D, E, L, O, P, R, X] = Array.from('acdeloprx', code);
const DASH = code('-');
const SLASH = code('/');
const STAR = code('*');
const NEWLINE = code('\n');
const RETURN = code('\r');

/**
 * Whether a text may begin with a word that `readCommand` knows. Costs some nanoseconds: it looks
 * at white space, comments and up to three letters.
 * @param end where the part of the text that is here ends; true when that is too short to tell.
 */
export function leads(buf: Buffer, at: number, end: number): boolean {
  const start = begin(buf, at, end);
  if (start + 3 > end) return true;
  const second = lower(buf[start + 1]);
  switch (lower(buf[start])) {
    case P:
      return second === R;
    case E:
      return second === X;
    case D:
      return second === E ? lower(buf[start + 2]) === A : second === R || second === O;
    case A:
      return second === L;
    case C:
      return second === R;
    default:
      return false;
  }
}

/** Where the first byte that is not white space or comment stands; `end` when it is not here. */
function begin(buf: Buffer, from: number, end: number): number {
  let at = from;
  for (; at < end; at++) {
    const byte = buf[at]!;
    if (byte === 0x20 || (byte >= 9 && byte <= 13)) continue;
    if (byte === DASH && buf[at + 1] === DASH) at = lineEnd(buf, at, end);
    else if (byte === SLASH && buf[at + 1] === STAR) at = blockEnd(buf, at + 2, end);
    else return at;
  }
  return end;
}

function lineEnd(buf: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && buf[at] !== NEWLINE && buf[at] !== RETURN) at++;
  return at;
}

/** The last byte of a comment (they nest) that began two bytes before `from`. */
function blockEnd(buf: Buffer, from: number, end: number): number {
  let depth = 1;
  for (let at = from; at < end; at++) {
    if (buf[at] === STAR && buf[at + 1] === SLASH) {
      at++;
      if (--depth === 0) return at;
    } else if (buf[at] === SLASH && buf[at + 1] === STAR) {
      at++;
      depth++;
    }
  }
  return end;
}

/**
 * Reads a text that `leads`.
 * @param plain whether bytes below 0x80 are ASCII and strings follow the standard; when not, a
 *   PREPARE is not read (the tag of its answer will say that there was one).
 */
export function readCommand(text: string, plain: boolean): SqlCommand | null {
  const word = FIRST_WORD.exec(text)?.[1]?.toLowerCase();
  switch (word) {
    case 'prepare': {
      const prepares = plain ? readPrepare(text) : null;
      return prepares && { ...NO_COMMAND, prepares };
    }
    case 'deallocate': {
      const deallocates = plain ? readDeallocate(text) : null;
      return deallocates === null ? null : { ...NO_COMMAND, deallocates };
    }
    case 'execute':
    case 'explain': {
      const executes = word === 'execute' || EXPLAINED.test(text) ? executedNames(text) : [];
      const isExecute = !/;(?!\s*$)/.test(text);
      return executes.length > 0 ? { ...NO_COMMAND, executes, isExecute } : null;
    }
    default:
      if (!word || !ALTERING.has(word)) return null;
      return {
        ...NO_COMMAND,
        alters: true,
        temporary: TEMPORARY.test(text),
        executes: ofCreate(text),
      };
  }
}

/** The same of a simple Query: what is not read may still run a prepared statement. */
export function readQuery(text: Buffer, led: boolean, plain: boolean): SqlCommand | null {
  const latin1 = text.toString('latin1');
  const command = led ? readCommand(latin1, plain) : null;
  if (command) return command;
  const executes = executedNames(latin1);
  return executes.length > 0 ? { ...NO_COMMAND, executes } : null;
}

/** CREATE TABLE AS EXECUTE; EXECUTE is part of other commands, too. */
function ofCreate(text: string): readonly string[] {
  return /\bas\b[^;]*\bexecute\b/i.test(text) ? executedNames(text) : [];
}

/** Names behind any EXECUTE in a text, wherever it stands: more than it runs, perhaps. */
export function executedNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const [, quoted, word] of text.matchAll(EXECUTED)) {
    names.push(quoted?.replaceAll('""', '"') ?? word!.toLowerCase());
  }
  return names;
}

export function isReturning(text: string): boolean {
  const word = FIRST_WORD.exec(text)?.[1]?.toLowerCase() ?? '';
  return !/^(insert|update|delete|merge)$/.test(word) || /\breturning\b/i.test(text);
}

function readPrepare(text: string): SqlPrepare | null {
  const tokens = lex(text);
  const name = nameOf(text, tokens[1]);
  if (name === null) return null;
  let i = 2;
  if (is(text, tokens[i], '(')) {
    for (let depth = 0; i < tokens.length; i++) {
      if (is(text, tokens[i], '(')) depth++;
      else if (is(text, tokens[i], ')') && --depth === 0) break;
    }
    i++;
  }
  if (!is(text, tokens[i], 'as') || !tokens[i + 1]) return null;
  const start = tokens[i + 1]!.start;
  const end = onlyStatement(text, tokens);
  return end === null ? null : { name, prefix: text.slice(0, start), body: text.slice(start, end) };
}

function readDeallocate(text: string): string | null {
  const tokens = lex(text);
  if (onlyStatement(text, tokens) === null) return null;
  const at = is(text, tokens[1], 'prepare') && tokens[2]?.kind !== 'mark' && tokens[2] ? 2 : 1;
  return is(text, tokens[at], 'all') ? null : nameOf(text, tokens[at]);
}

/** Where the statement ends, when there is no second one behind it. */
function onlyStatement(text: string, tokens: readonly Token[]): number | null {
  const first = tokens.findIndex((token) => is(text, token, ';'));
  if (first < 0) return text.length;
  const more = tokens.slice(first).some((token) => !is(text, token, ';'));
  return more ? null : tokens[first]!.start;
}

function is(text: string, token: Token | undefined, word: string): boolean {
  if (!token || (token.kind !== 'word' && token.kind !== 'mark')) return false;
  return text.slice(token.start, token.end).toLowerCase() === word;
}

/** A name as the server has it; null for one whose folding or cutting depends on its encoding. */
function nameOf(text: string, token: Token | undefined): string | null {
  if (!token) return null;
  const written = text.slice(token.start, token.end);
  let name: string;
  if (token.kind === 'word' && /^[\0-\x7f]*$/.test(written)) name = written.toLowerCase();
  else if (token.kind === 'quoted' && written.startsWith('"')) {
    name = written.slice(1, -1).replaceAll('""', '"');
  } else return null;
  return name.length > NAME_BYTES ? null : name;
}
