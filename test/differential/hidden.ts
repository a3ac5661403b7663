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
  const isTaken = all.every((row) => {
    const at = left.findIndex((other) => {
      const more = other.type === row.type && extras(other.fields, row.fields);
      return more && (row.type !== 'T' || more.every((field) => isHidden(nameIn(field))));
    });
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
  return isTaken && left.length === 0;
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
 * What is in one list and not in the other, which it has to have in whole and in the same order (or else
 * the row 1, 1 were in 3, 1, 1, where the last is a hidden one); null: it has not.
 */
function extras(have: readonly string[], want: readonly string[]): string[] | null {
  let at = 0;
  const more = have.filter((one) => {
    const wanted = want[at];
    const isSame = wanted !== undefined && (one === wanted || isWiderRow(one, wanted));
    if (isSame) at++;
    return !isSame;
  });
  return at === want.length ? more : null;
}

/** Whether a value is a whole row that has all fields of another one: as text, as JSON, in binary. */
function isWiderRow(have: string, want: string): boolean {
  if (have.startsWith('=(') && want.startsWith('=(')) {
    return extras(cells(have), cells(want)) !== null;
  }
  if (have.startsWith('={') && want.startsWith('={')) {
    const [more, less] = [have, want].map((text) =>
      Object.entries(JSON.parse(text.slice(1))).map((entry) => JSON.stringify(entry)),
    ) as [string[], string[]];
    return extras(more, less) !== null;
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

/** The fields of a row as text. */
function cells(text: string): string[] {
  return text.slice(2, -1).match(/(?:^|(?<=,))(?:"(?:[^"\\]|\\.|"")*"|[^,])*(?=,|$)/gs) ?? [];
}
