import type { CopyRows } from '../sql/copy-rows.js';
import { printedField } from './copy-field.js';
import { narrowed } from './copy-integer.js';

/** The server shows so many bytes of a line at most, and then three dots. */
const SHOWN_BYTES = 100;
const DOTS = '...';
/** SQLSTATE bad_copy_file_format. */
const BAD_FORMAT = '22P04';

/**
 * What an error or a notice says of a COPY whose rows were changed, as if they had not been: the
 * line in its context without what was added to it, and numbers of fields.
 *
 * A line of exactly 100 bytes cannot be told from a longer one: it is shown with dots then.
 *
 * @param fields of the message, as latin1 strings of bytes; changed in place.
 * @returns whether anything was changed.
 */
export function restoreFields(fields: Map<string, string>, rows: CopyRows): boolean {
  const said = fields.get('M');
  const context = fields.get('W');
  const isWrong = fields.get('C') === BAD_FORMAT;
  const counted = said !== undefined && isWrong ? recount(said, rows) : said;
  const shown = context === undefined ? undefined : restoreLine(context, rows, isWrong);
  if (counted !== undefined) fields.set('M', counted);
  if (shown !== undefined) fields.set('W', shown);
  return counted !== said || shown !== context;
}

/** `row field count is 6, expected 5` and its like; the words are the server's own language. */
function recount(text: string, { fields, added }: CopyRows): string {
  const [, before, got, between, expected, after] =
    /^([^"\d]*)(\d+)([^"\d]+)(\d+)([^"\d]*)$/.exec(text) ?? [];
  if (Number(expected) !== fields + added.length) return text;
  return `${before}${Number(got) - added.length}${between}${fields}${after}`;
}

/** `COPY orders, line 3: "..."`, the outermost and so the last in a context. */
function restoreLine(context: string, rows: CopyRows, isWrong: boolean): string {
  if (rows.format === 'binary') return context;
  const name = context.lastIndexOf(rows.table);
  if (name < 0) return context;
  const lead = /^[^\n"]*?\d+[^\n"]{0,12}?(?:"|\xc2[\xab\xbb]|[\xab\xbb])/;
  // A column's own text is not the line: `COPY orders, line 3, column id: "x"`.
  const behind = context.slice(name + rows.table.length);
  const found = lead.exec(behind.replace(/^"/, ' '))?.[0];
  if (found === undefined || (found.match(/,/g)?.length ?? 0) > 1) return context;
  const start = name + rows.table.length + found.length;
  const close = /(?:"|\xc2[\xab\xbb]|[\xab\xbb])$/.exec(context)?.[0] ?? '';
  const isHeader = rows.header === 'match' && Number(/\d+/.exec(found)?.[0]) === 1;
  const text = context.slice(start, context.length - close.length);
  return context.slice(0, start) + withoutAdded({ text, isHeader, isWrong }, rows) + close;
}

interface Line {
  text: string;
  isHeader: boolean;
  /** The server says that the data has not the right form: it may have too many fields. */
  isWrong: boolean;
}

function withoutAdded({ text, isHeader, isWrong }: Line, rows: CopyRows): string {
  const ends = fieldEnds(text, rows);
  if (text.length > SHOWN_BYTES - 3 && text.endsWith(DOTS)) {
    const shown = text.slice(0, -DOTS.length);
    // A header has what is added behind any number of names.
    const first = isHeader ? 0 : isWrong ? rows.fields : rows.fields - 1;
    const ours = isHeader ? headings(rows) : addedTo(shown, ends, rows);
    const end = ends.slice(first).find((at) => ours.startsWith(shown.slice(at)));
    return end === undefined ? text : text.slice(0, end);
  }
  // A row with too few fields was sent as it is, one with too many has its own before ours.
  const given = ends.length + 1 - rows.added.length;
  const end = ends[given - 1];
  const isShort = given < rows.fields && !isHeader;
  return isShort || end === undefined ? text : text.slice(0, end);
}

const headings = ({ delimiter, added }: CopyRows) =>
  added.map(({ heading }) => delimiter + heading).join('');

/** What was added to a line of which the beginning is shown, as its fields say. */
function addedTo(shown: string, ends: readonly number[], rows: CopyRows): string {
  const { delimiter, added, defaultText } = rows;
  const ours = added.map(({ from, constant, integer, printed }) => {
    if (from === null) return delimiter + constant;
    const field = shown.slice(from === 0 ? 0 : ends[from - 1]! + 1, ends[from]);
    if (field === defaultText) return delimiter + constant;
    const bytes = Buffer.from(field, 'latin1');
    if (printed) return delimiter + printedField(bytes, printed, rows).toString('latin1');
    const narrow = integer && integer.to < integer.from;
    return delimiter + (narrow ? narrowed(bytes, integer.to, rows) : bytes).toString('latin1');
  });
  return ours.join('');
}

/** Where the fields of a line end, but for the last. */
function fieldEnds(line: string, { format, delimiter, quote, escapeBy }: CopyRows): number[] {
  const ends: number[] = [];
  let inside = false;
  for (let i = 0; i < line.length; i++) {
    const byte = line[i]!;
    if (format === 'text' ? byte === '\\' : inside && byte === escapeBy && escapeBy !== quote) i++;
    else if (format === 'csv' && byte === quote) inside = !inside;
    else if (byte === delimiter && !inside) ends.push(i);
  }
  return ends;
}
