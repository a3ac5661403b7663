import type { CopyStmt, DefElem, Node } from 'libpg-query';
import type { CopyRows } from './copy-rows.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import { quoteIdentifier } from './rules.js';
import type { Source } from './source.js';
import { type ByteString, stringNodes, strings } from './tree.js';

/** The options of a COPY FROM, as far as they say what the data looks like. */
export interface CopyOptions
  extends Pick<
    CopyRows,
    'format' | 'delimiter' | 'quote' | 'escapeBy' | 'nullText' | 'defaultText' | 'header'
  > {
  /** Rows that cannot be read are left out. */
  skipsErrors: boolean;
  /** ENCODING was given, so the data is not in the session's encoding. */
  encoded: boolean;
  /** FORCE_NOT_NULL and FORCE_NULL. */
  forced: readonly Forced[];
}

/** A list of columns among the options. */
export interface Forced {
  element: DefElem;
  /** null: all columns. */
  columns: readonly ByteString[] | null;
}

/** Says nothing of how the data is read. */
const HARMLESS = new Set(['format', 'freeze', 'log_verbosity', 'reject_limit']);
const READ = new Set(['delimiter', 'null', 'default', 'quote', 'escape', 'header', 'encoding']);
const FORCED = new Set(['force_not_null', 'force_null']);

/**
 * Encodings in which bytes below 0x80 are always ASCII, in the letters and digits of their names.
 * The data is in the session's encoding when none is named, and that was looked at.
 */
const ENCODINGS =
  /^(utf8|unicode|sqlascii|latin\d+|iso8859\d+|win(125\d|866|874)|koi8[ru]?|euc(jp|cn|kr|tw))$/;

/** @throws Unsure when an option is not known, or makes the data hard to read; Wrong. */
export function readOptions(stmt: CopyStmt): CopyOptions {
  const values = new Map<string, ByteString>();
  const forced: Forced[] = [];
  for (const node of stmt.options ?? []) {
    const element = 'DefElem' in node ? node.DefElem : {};
    const name = element.defname ?? '';
    if (FORCED.has(name)) forced.push({ element, columns: listOf(element.arg) });
    else if (name === 'force_quote') throw new Wrong('it concerns COPY TO alone');
    else if (HARMLESS.has(name) || READ.has(name) || name === 'on_error') {
      if (values.has(name)) throw new Wrong('an option twice');
      values.set(name, optionText(element.arg));
    } else throw new Unsure('copy-options');
  }
  const format = values.get('format') ?? 'text';
  if (format !== 'text' && format !== 'csv' && format !== 'binary') {
    throw new Unsure('copy-options');
  }
  const quote = values.get('quote') ?? '"';
  const encoding = values.get('encoding');
  if (encoding !== undefined && !ENCODINGS.test(encoding.toLowerCase().replace(/[^a-z\d]/g, ''))) {
    throw new Unsure('copy-options');
  }
  const options: CopyOptions = {
    format,
    delimiter: values.get('delimiter') ?? (format === 'csv' ? ',' : '\t'),
    quote,
    escapeBy: values.get('escape') ?? quote,
    nullText: values.get('null') ?? (format === 'csv' ? '' : '\\N'),
    defaultText: values.get('default') ?? null,
    header: headerOf(values.get('header')),
    skipsErrors: (values.get('on_error') ?? 'stop').toLowerCase() !== 'stop',
    encoded: encoding !== undefined,
    forced,
  };
  check(options);
  return options;
}

/** What the server would refuse, or would make something else of than meets the eye. */
function check(options: CopyOptions): void {
  const { format, delimiter, quote, escapeBy } = options;
  if (format === 'binary') return;
  const marks = format === 'csv' ? [delimiter, quote, escapeBy] : [delimiter];
  const bad = marks.some((mark) => mark.length !== 1 || /[\0\r\n\x80-\xff]/.test(mark));
  // In text a letter may be a digit of \x4A.
  const taken =
    format === 'csv' ? [quote, escapeBy].includes(delimiter) : /[\\.a-z0-9A-F]/.test(delimiter);
  if (bad || taken) throw new Unsure('copy-options');
}

function headerOf(value: ByteString | undefined): CopyRows['header'] {
  switch (value?.toLowerCase()) {
    case undefined:
    case 'false':
    case 'off':
    case '0':
      return 'none';
    case '':
    case 'true':
    case 'on':
    case '1':
      return 'skip';
    case 'match':
      return 'match';
    default:
      throw new Unsure('copy-options');
  }
}

/** An option's value as text; empty when it has none. */
function optionText(arg: Node | undefined): ByteString {
  if (!arg) return '';
  if ('String' in arg) return arg.String.sval ?? '';
  if ('Boolean' in arg) return String(arg.Boolean.boolval ?? false);
  if ('Integer' in arg) return String(arg.Integer.ival ?? 0);
  throw new Unsure('copy-options');
}

function listOf(arg: Node | undefined): ByteString[] | null {
  if (arg && 'A_Star' in arg) return null;
  const names = arg && 'List' in arg ? strings(arg.List.items) : [];
  if (names.length === 0 || names.includes(null)) throw new Unsure('copy-options');
  return names.map(String);
}

/** Names a column behind the others of a list. */
export function addForced(plan: Plan, forced: Forced, column: ByteString): void {
  const { element, columns } = forced;
  const { source } = plan;
  const at = source.indexAt(element.location ?? 0);
  plan.insert(
    source.end(lastName(source, at, columns?.length ?? 0)),
    `, ${quoteIdentifier(column)}`,
  );
  const list = element.arg && 'List' in element.arg ? element.arg.List : {};
  list.items?.push(...stringNodes([column]));
}

/** `FORCE_NULL (a, b)`, or in the older form `FORCE NULL a, b` and `FORCE NOT NULL a, b`. */
function lastName(source: Source, at: number, count: number): number {
  if (source.word(at + 1) === '(') return source.close(at + 1) - 1;
  source.expect(at, 'force');
  const first = source.word(at + 1) === 'not' ? at + 3 : at + 2;
  return first + 2 * (count - 1);
}
