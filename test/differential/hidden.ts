import type { Message } from '../proxy/harness.js';
import { columnsOf, type Shown } from './compare.js';

/**
 * Statements that may see hidden columns, by the reason for which they are `guarded`; docs/limits.md
 * has each under "What can be seen", or where texts are not read.
 */
const SEEING: Readonly<Record<string, (text: string) => boolean>> = {
  // `old` could be a column of the other table.
  'whole-row': (text) => /\b(FROM|USING)\b.*\bRETURNING\b.*\b(old|new)\b/is.test(text),
  // A text that is not read: standard_conforming_strings is off.
  encoding: () => true,
};

/** Whether a statement may see hidden columns beside the others. */
export function mayShow(reason: string | null, text: string): boolean {
  return SEEING[reason ?? '']?.(text) ?? false;
}

interface Answer extends Pick<Shown, 'catalog' | 'alias'> {
  messages: readonly Message[];
}

/**
 * Whether an answer has, row by row, all fields of another one, and of its own only hidden columns.
 * @param isHidden whether a column of this name is one that an application does not see.
 */
export function isWider(
  seen: Answer,
  wanted: Answer,
  isHidden: (name: string) => boolean,
): boolean {
  const left = rowsOf(seen);
  // Rows that are the same come first: one with few fields is found in many others.
  const all = rowsOf(wanted).filter((row) => {
    const same = left.findIndex((other) => JSON.stringify(other) === JSON.stringify(row));
    if (same >= 0) left.splice(same, 1);
    return same < 0;
  });
  const fits = (row: Row, other: Row) => {
    const more = other.type === row.type && extras(other.fields, row.fields);
    return more && (row.type !== 'T' || more.every((field) => isHidden(nameIn(field))));
  };
  // One row may be in several others, because of what is hidden there: each gets one of its own.
  const takenBy = new Map<Row, Row>();
  const isPlaced = (row: Row, seen: Set<Row>): boolean =>
    left.some((other) => {
      if (seen.has(other) || !fits(row, other)) return false;
      seen.add(other);
      const owner = takenBy.get(other);
      if (owner && !isPlaced(owner, seen)) return false;
      takenBy.set(other, row);
      return true;
    });
  return left.length === all.length && all.every((row) => isPlaced(row, new Set()));
}

/** The column's own name in its description, which is that behind its table's. */
const nameIn = (field: string) => /^.* \S*?\.(.*) \S+ -?\d+ -?\d+ \d$/s.exec(field)?.[1] ?? '';

interface Row {
  type: string;
  fields: string[];
}

function rowsOf({ messages, catalog, alias }: Answer): Row[] {
  return messages.flatMap(({ type, body }) => {
    if (type === 'T') return { type, fields: columnsOf(body, catalog, alias) };
    if (type === 'd') return { type, fields: body.toString('latin1').trimEnd().split(/[\t,]/) };
    return type === 'D' ? { type, fields: fieldsOf(body, 2, 0) } : [];
  });
}

/** Fields with their lengths before them, each behind `skip` other bytes. */
function fieldsOf(body: Buffer, from: number, skip: number): string[] {
  const fields: string[] = [];
  for (let at = from; at + skip + 4 <= body.length; ) {
    const length = body.readInt32BE(at + skip);
    at += skip + 4;
    fields.push(length < 0 ? 'NULL' : `=${body.toString('latin1', at, at + length)}`);
    at += Math.max(length, 0);
  }
  return fields;
}

/**
 * What is in one list and not in the other, which it has to have in whole; null: it has not. In any order:
 * after a cutover the column that is shown lies last.
 */
function extras(have: readonly string[], want: readonly string[]): string[] | null {
  const left = [...have];
  for (const field of want) {
    const same = left.indexOf(field);
    const at = same >= 0 ? same : left.findIndex((other) => isWiderRow(other, field));
    if (at < 0) return null;
    left.splice(at, 1);
  }
  return left;
}

/** Whether a value is a whole row that has all fields of another one: as text, as JSON, in binary. */
function isWiderRow(have: string, want: string): boolean {
  if (have.startsWith('=(') && want.startsWith('=(')) {
    return extras(cells(have), cells(want)) !== null;
  }
  if (/^=[[{]/.test(have) && /^=[[{]/.test(want)) {
    const [more, less] = [have, want].map(jsonOf);
    return more !== undefined && less !== undefined && isWiderJson(more, less);
  }
  const [more, less] = [have, want].map((text) => Buffer.from(text.slice(1), 'latin1')) as [
    Buffer,
    Buffer,
  ];
  if (more.length < 4 || less.length < 4 || more.readInt32BE(0) <= less.readInt32BE(0))
    return false;
  const [all, some] = [fieldsOf(more, 4, 4), fieldsOf(less, 4, 4)];
  // A number is no row, whatever its bytes are.
  const isRow = all.length === more.readInt32BE(0) && some.length === less.readInt32BE(0);
  return isRow && extras(all, some) !== null;
}

/** undefined of what only looks like JSON, an array (`{1,2}`). */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text.slice(1));
  } catch {
    return undefined;
  }
}

/** Whether rows as JSON objects, in an array too (`json_agg`), have all members of others. */
function isWiderJson(have: unknown, want: unknown): boolean {
  if (Array.isArray(have) && Array.isArray(want)) {
    return have.length === want.length && want.every((each, i) => isWiderJson(have[i], each));
  }
  if (!isObject(have) || !isObject(want)) return JSON.stringify(have) === JSON.stringify(want);
  return Object.entries(want).every(([name, value]) => {
    return name in have && isWiderJson(have[name], value);
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The fields of a row as text; one that is a row itself as a value of its own. */
function cells(text: string): string[] {
  const found =
    text.slice(2, -1).match(/(?:^|(?<=,))(?:"(?:[^"\\]|\\.|"")*"|[^,])*(?=,|$)/gs) ?? [];
  // Within quotes a quote and a backslash are doubled.
  const plain = (cell: string) => cell.slice(1, -1).replace(/""|\\\\/g, (two) => two[0]!);
  return found.map((cell) => (cell.startsWith('"(') ? `=${plain(cell)}` : cell));
}
