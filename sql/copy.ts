import type { CopyStmt, Node } from 'libpg-query';
import { addForced, type CopyOptions, readOptions } from './copy-options.js';
import type { CopyField, CopyRows } from './copy-rows.js';
import { type Plan, Unsure, Wrong } from './plan.js';
import {
  columnOfTable,
  leadsOf,
  type PreparedColumn,
  type PreparedPair,
  type PreparedTable,
  withoutModifier,
} from './prepared.js';
import { isCertain, printed } from './printed.js';
import { quoteIdentifier } from './rules.js';
import { type Repeat, repeats } from './same-text.js';
import { type ByteString, sameTree, stringNodes, strings, toBytes } from './tree.js';

/*
 * COPY of a table. Without a column list it would move the hidden columns too, so the visible ones
 * are listed. COPY FROM STDIN of a table whose columns are written together names the other column
 * as well, at the end, and each row of the data gets its field a second time on the way through the
 * proxy (`CopyRows`). Where the same text does not give the same value, where the value is a default
 * that only the server knows, or where the data does not pass the proxy (a file of the server's),
 * it is left to the guard: that alone fails in the same words, at the same line, as without us.
 */

export function rewriteCopy(plan: Plan, stmt: CopyStmt, table: PreparedTable): void {
  const columns = stmt.attlist ? strings(stmt.attlist).map(String) : copied(table);
  let rows: { rows: CopyRows; options: CopyOptions } | null = null;
  if (stmt.is_from && table.pairs.length > 0) {
    try {
      rows = rowsOf(stmt, table, columns);
    } catch (error) {
      if (error instanceof Unsure) plan.guardWrite(table, error.reason);
      else if (!(error instanceof Wrong)) throw error;
    }
  }
  const added = rows?.rows.added.map(({ column }) => column) ?? [];
  listColumns(plan, stmt, table, columns, added);
  if (!rows) return;
  for (const field of rows.rows.added) forceAlike(plan, rows.options, columns, field);
  plan.copies.set(stmt, rows.rows);
}

/** What COPY without a list moves: generated columns are left out, as the server does by itself. */
function copied(table: PreparedTable): ByteString[] {
  const generated = new Set(
    table.rule.columns.filter((column) => column.generated).map(({ name }) => toBytes(name)),
  );
  return table.visible.filter((column) => !generated.has(column));
}

function listColumns(
  plan: Plan,
  stmt: CopyStmt,
  table: PreparedTable,
  columns: readonly ByteString[],
  added: readonly ByteString[],
): void {
  const { source } = plan;
  const after = source.afterName(source.indexAt(stmt.relation?.location ?? 0));
  if (!stmt.attlist) {
    if (!table.hides && added.length === 0) return;
    const all = [...columns, ...added];
    plan.insert(source.end(after - 1), ` (${all.map(quoteIdentifier).join(', ')})`);
    stmt.attlist = stringNodes(all);
    plan.needed.add(table);
    return;
  }
  if (added.length === 0) return;
  source.expect(after, '(');
  const names = added.map((name) => `, ${quoteIdentifier(name)}`).join('');
  plan.insert(source.end(source.close(after) - 1), names);
  stmt.attlist.push(...stringNodes(added));
}

/** A field given twice is NULL, or is not, under the same conditions both times. */
function forceAlike(
  plan: Plan,
  { forced }: CopyOptions,
  columns: readonly ByteString[],
  { column, from }: CopyField,
): void {
  const repeated = from === null ? null : columns[from]!;
  for (const list of forced) {
    if (repeated !== null && list.columns?.includes(repeated)) addForced(plan, list, column);
  }
}

/**
 * @param passes whether the data passes the proxy.
 * @throws Unsure
 */
function addedToAll(copy: Copy, passes: boolean): CopyField[] {
  try {
    const added = copy.table.pairs.flatMap((pair) => addedTo(copy, pair) ?? []);
    if (passes || added.length === 0) return added;
  } catch (error) {
    if (passes || !(error instanceof Unsure)) throw error;
  }
  throw new Unsure('copy-file');
}

/** @returns null when no row gets anything. @throws Unsure */
function rowsOf(
  stmt: CopyStmt,
  table: PreparedTable,
  columns: readonly ByteString[],
): { rows: CopyRows; options: CopyOptions } | null {
  if (new Set(columns).size !== columns.length) throw new Unsure('shape');
  const options = readOptions(stmt);
  const copy = { table, columns, options };
  const passes = stmt.filename === undefined && !stmt.is_program;
  const added = addedToAll(copy, passes);
  if (added.length === 0) return null;
  const ours = added.map(({ heading, constant }) => heading + constant).join('');
  if (options.encoded && /[\x80-\xff]/.test(ours)) throw new Unsure('copy-options');
  const { format, delimiter, quote, escapeBy, nullText, defaultText, header } = options;
  // What the data cannot hold is refused by the server: it is better than another value.
  const unsure = table.rule.guard === 'repair' ? nullText : '\0';
  const layout = { format, delimiter, quote, escapeBy, nullText, defaultText, header, unsure };
  return { rows: { table: table.name, ...layout, fields: columns.length, added }, options };
}

interface Copy {
  table: PreparedTable;
  columns: readonly ByteString[];
  options: CopyOptions;
}

/** The field that a pair adds to each row; null: none. */
function addedTo(copy: Copy, pair: PreparedPair): CopyField | null {
  const { table, columns, options } = copy;
  if (table.pairs.some((other) => leadsOf(other).includes(pair.follow))) {
    throw new Unsure('chained');
  }
  const leads = leadsOf(pair);
  const backwards = columns.includes(pair.follow);
  if (backwards && leads.some((lead) => columns.includes(lead))) return null;
  if (backwards && !pair.backward) throw new Unsure('follow-only');
  const expression = backwards ? pair.backward!.value : pair.forward;
  const target = backwards ? pair.backward!.lead : pair.follow;
  const sharesLead = table.pairs.filter((other) => leadsOf(other).includes(target)).length > 1;
  if (backwards && sharesLead) throw new Unsure('chained');
  const given = expression.columns.some((column) => columns.includes(column));
  const found = repeats(table, expression, target, given && options.format === 'binary');
  if (!found) throw new Unsure('copy-expression');
  const { rule } = columnOfTable(table, found.column);
  if (rule.generated || columnOfTable(table, target).rule.generated) throw new Unsure('generated');
  const from = columns.indexOf(found.column);
  if (from < 0) return omitted(copy, found.column, target, found.repeat);
  checkRepeat(copy, found.column, found.repeat);
  const constant =
    options.defaultText === null ? '' : defaultField(copy, found.column, found.repeat);
  const heading = fieldOf(options, target);
  const { integer, printed } = found.repeat;
  return { column: target, heading, from, constant, integer, printed };
}

function checkRepeat({ options }: Copy, column: ByteString, repeat: Repeat): void {
  // A row whose added field alone cannot be read would be left out without a word.
  if (options.skipsErrors && !repeat.total) throw new Unsure('copy-options');
  const { printed } = repeat;
  if (isForced(options, column)) {
    // An empty field is no value of these types, so it may be NULL or not.
    const isNoText = printed !== null && isCertain(printed) && printed.kind !== 'bit';
    const isAlike = printed === null || (isNoText && options.nullText === '');
    if (narrows(repeat) || !isAlike) throw new Unsure('copy-options');
  }
  // A mark of CSV that may be within a number would be doubled in it.
  if (printed && /[-\w]/.test(options.quote + options.escapeBy)) throw new Unsure('copy-options');
}

function narrows({ integer }: Repeat): boolean {
  return integer !== null && integer.to < integer.from;
}

function isForced({ forced }: CopyOptions, column: ByteString): boolean {
  return forced.some(({ columns }) => columns === null || columns.includes(column));
}

/** The data does not give the column: it takes its default, and the other has none. */
function omitted(
  copy: Copy,
  column: ByteString,
  target: ByteString,
  repeat: Repeat,
): CopyField | null {
  const to = columnOfTable(copy.table, target);
  if (to.rule.default !== null || to.rule.identity) throw new Unsure('copy-default');
  if (constantOf(columnOfTable(copy.table, column)) === null) return null;
  if (copy.options.format === 'binary') throw new Unsure('copy-default');
  const constant = defaultField(copy, column, repeat);
  const heading = fieldOf(copy.options, target);
  return { column: target, heading, from: null, constant, integer: null, printed: null };
}

/** A column's default as a field of the data, for a column that repeats it. */
function defaultField({ table, options }: Copy, column: ByteString, repeat: Repeat): ByteString {
  const { nullText, defaultText, forced } = options;
  const fallback = constantOf(columnOfTable(table, column));
  if (isForced(options, column) || forced.some(({ columns }) => !columns)) {
    throw new Unsure('copy-default');
  }
  if (fallback === null) return nullText;
  const value = repeat.printed ? printed(repeat.printed, fallback) : fallback;
  if (value === null) throw new Unsure('copy-default');
  if (narrows(repeat) && !/^-?\d{1,4}$/.test(value)) throw new Unsure('copy-default');
  const field = fieldOf(options, value);
  if (field === nullText || field === defaultText) throw new Unsure('copy-default');
  return field;
}

function fieldOf({ format, quote, escapeBy }: CopyOptions, value: ByteString): ByteString {
  return format === 'csv' ? quoted(value, quote, escapeBy) : escaped(value);
}

/** A field of CSV, in quotes. */
function quoted(value: ByteString, quote: ByteString, escapeBy: ByteString): ByteString {
  const bytes = value.split('').map((c) => (c === quote || c === escapeBy ? escapeBy + c : c));
  return quote + bytes.join('') + quote;
}

/** A field of text, each byte that is ASCII as an octal number: none is a delimiter. */
function escaped(value: ByteString): ByteString {
  const bytes = value.split('').map((c) => {
    const code = c.charCodeAt(0);
    return code < 0x80 ? `\\${code.toString(8).padStart(3, '0')}` : c;
  });
  return bytes.join('');
}

const NUMBERS = /^(smallint|integer|bigint|numeric)$/;

/**
 * The text of a default that is a constant; null: the default is NULL.
 *
 * @throws Unsure when only the server knows.
 */
function constantOf({ rule, fallback, type, base, under }: PreparedColumn): ByteString | null {
  if (rule.identity) throw new Unsure('identity');
  const { node } = fallback;
  const known = withoutModifier(rule.under ?? rule.baseType);
  if ('TypeCast' in node) {
    const { arg, typeName } = node.TypeCast;
    const own = [type, base, under].some((target) => sameTree(target?.node, typeName));
    const value = own && arg ? stringOf(arg) : null;
    if (value !== null) return value;
  } else if ('A_Const' in node) {
    if (node.A_Const.isnull) return null;
    if ('boolval' in node.A_Const && rule.type === 'boolean') {
      return node.A_Const.boolval?.boolval ? 't' : 'f';
    }
    if ('ival' in node.A_Const && NUMBERS.test(known)) {
      return String(node.A_Const.ival?.ival ?? 0);
    }
    const number = 'fval' in node.A_Const ? node.A_Const.fval?.fval : undefined;
    if (number !== undefined && known === 'numeric') return number;
  }
  throw new Unsure('copy-default');
}

function stringOf(node: Node): ByteString | null {
  if (!('A_Const' in node) || !('sval' in node.A_Const)) return null;
  return node.A_Const.sval?.sval ?? '';
}
