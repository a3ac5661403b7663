import type { CopyRows } from '../sql/copy-rows.js';
import type { Printed } from '../sql/printed.js';
import { printedField } from './copy-field.js';
import { narrowed } from './copy-integer.js';
import { Kept, KeptFields, type RowWriter } from './copy-kept.js';
import type { Outbox } from './outbox.js';

/** What a byte may be; all others are data. */
const DELIMITER = 1;
const NEWLINE = 2;
const RETURN = 3;
const BACKSLASH = 4;
const QUOTE = 5;
const ESCAPE = 6;
const BACKSLASH_BYTE = 0x5c;
const DOT = 0x2e;

interface Added {
  field: Kept | null;
  heading: Buffer;
  constant: Buffer;
  /** Bytes of the narrower integer that it is for; null: it is given as it is. */
  narrow: number | null;
  /** The type whose text it is; null: it is given as it is. */
  printed: Printed | null;
}

/**
 * Rows of COPY in text or CSV: finds their ends and fields as the server does (CopyReadLineText and
 * CopyReadAttributes of copyfromparse.c) and writes what is added behind each. Rows with fewer
 * fields than columns go as they are, since the server refuses them in the same words.
 */
export class TextRows implements RowWriter {
  private readonly kinds = new Uint8Array(256);
  private readonly kept = new KeptFields(() => new Kept());
  private readonly added: Added[];
  private readonly delimiter: Buffer;
  private readonly isCsv: boolean;
  private readonly defaultText: Buffer | null;
  /** The present row's field, from 0. */
  private field = 0;
  private now: Kept | undefined;
  /** Of the chunk, what was not written yet begins here; so does the present row, if it does in it. */
  private span = 0;
  private rowFrom = 0;
  /** The present row has bytes that came before this chunk. */
  private begun = false;
  private inQuote = false;
  /** Where the last escape within quotes, and the last carriage return, were in the chunk. */
  private escapeAt = -2;
  private returnAt = -2;
  /** A backslash that ended the last chunk; it is not written yet. */
  private heldBackslash = false;
  private inHeader: boolean;
  /** The end-of-data marker has come: the server looks at nothing behind it. */
  private ended = false;

  /** @param csvEnds whether a line `\.` ends the data in CSV too (before PostgreSQL 18). */
  constructor(
    private readonly rows: CopyRows,
    private readonly csvEnds: boolean,
  ) {
    this.isCsv = rows.format === 'csv';
    this.inHeader = rows.header !== 'none';
    this.delimiter = Buffer.from(rows.delimiter, 'latin1');
    this.defaultText = rows.defaultText === null ? null : Buffer.from(rows.defaultText, 'latin1');
    this.added = rows.added.map(({ from, heading, constant, integer, printed }) => ({
      field: from === null ? null : this.kept.add(from),
      heading: Buffer.from(heading, 'latin1'),
      constant: Buffer.from(constant, 'latin1'),
      narrow: integer && integer.to < integer.from ? integer.to : null,
      printed,
    }));
    // The one field of a row, which may be the end-of-data marker.
    if (rows.fields === 1) this.kept.add(0);
    this.now = this.kept.at[0];
    const { kinds } = this;
    kinds[0x0a] = NEWLINE;
    kinds[0x0d] = RETURN;
    if (this.isCsv) {
      kinds[rows.escapeBy.charCodeAt(0)] = ESCAPE;
      kinds[rows.quote.charCodeAt(0)] = QUOTE;
    } else kinds[BACKSLASH_BYTE] = BACKSLASH;
    kinds[rows.delimiter.charCodeAt(0)] = DELIMITER;
  }

  get keptBytes(): number {
    return this.kept.bytes;
  }

  write(chunk: Buffer, from: number, to: number, out: Outbox): void {
    if (from === to) return;
    this.escapeAt = this.escapeAt === -1 ? from - 1 : -2;
    this.returnAt = this.returnAt === -1 ? from - 1 : -2;
    this.span = this.rowFrom = from;
    for (const kept of this.kept.all) kept.from = kept.to = from;
    let pos = from;
    if (this.heldBackslash) pos = this.escapedByte(chunk, from, to, out);
    pos = this.ended ? to : this.scan(chunk, pos, to, out);
    if (this.span < pos) out.add(chunk, this.span, pos);
    if (!this.ended) this.leave(chunk, pos, to);
  }

  /** The byte behind a backslash that ended the last chunk. */
  private escapedByte(chunk: Buffer, at: number, to: number, out: Outbox): number {
    this.heldBackslash = false;
    if (chunk[at] === DOT) {
      this.marker(chunk, at, out);
      out.add(BACKSLASH_TEXT);
      return to;
    }
    out.add(BACKSLASH_TEXT);
    this.begun = true;
    this.now?.append(BACKSLASH_TEXT, 0, 1);
    return at + 1;
  }

  /** @returns where it stopped: at a backslash that ends the chunk, or at the end. */
  private scan(chunk: Buffer, from: number, to: number, out: Outbox): number {
    const { kinds } = this;
    for (let pos = from; pos < to; pos++) {
      const kind = kinds[chunk[pos]!]!;
      if (kind === 0) continue;
      if (this.inQuote) this.quoted(kind, pos);
      else if (kind === DELIMITER) this.delimited(pos);
      else if (kind === NEWLINE || kind === RETURN) {
        this.lineEnds(kind, chunk, pos, out);
        if (this.ended) return to;
      } else if (kind === QUOTE) this.inQuote = true;
      else if (kind === BACKSLASH) {
        if (pos + 1 === to) {
          this.heldBackslash = true;
          return pos;
        }
        pos++;
        if (chunk[pos] === DOT) {
          this.marker(chunk, pos - 1, out);
          return to;
        }
      }
    }
    return to;
  }

  private quoted(kind: number, pos: number): void {
    const isEscaped = this.escapeAt === pos - 1;
    if (kind === ESCAPE) this.escapeAt = isEscaped ? -2 : pos;
    else if (kind === QUOTE && !isEscaped) this.inQuote = false;
  }

  private delimited(pos: number): void {
    if (this.now) this.now.to = pos;
    this.now = this.kept.at[++this.field];
    if (this.now) this.now.from = this.now.to = pos + 1;
  }

  private lineEnds(kind: number, chunk: Buffer, pos: number, out: Outbox): void {
    if (kind === NEWLINE && this.returnAt === pos - 1) this.startRow(pos + 1);
    else if (this.isMarker(chunk, pos)) this.ended = true;
    else {
      this.endRow(chunk, pos, out);
      this.startRow(pos + 1);
    }
    if (kind === RETURN) this.returnAt = pos;
  }

  private startRow(at: number): void {
    this.rowFrom = at;
    this.begun = false;
    this.field = 0;
    for (const kept of this.kept.all) kept.clear(at);
    this.now = this.kept.at[0];
  }

  private endRow(chunk: Buffer, pos: number, out: Outbox): void {
    if (this.now) this.now.to = pos;
    const names = this.inHeader;
    this.inHeader = false;
    if (names && this.rows.header === 'skip') return;
    if (!names && this.field + 1 < this.rows.fields) return;
    if (this.span < pos) out.add(chunk, this.span, pos);
    this.span = pos;
    for (const field of this.added) {
      out.add(this.delimiter);
      if (names) out.add(field.heading);
      else this.add(field, chunk, out);
    }
  }

  /** Whether the line that ends at `pos` is the end-of-data marker in CSV. */
  private isMarker(chunk: Buffer, pos: number): boolean {
    if (!this.isCsv || !this.csvEnds || this.rows.fields > 1 || !this.now) return false;
    this.now.to = pos;
    return this.now.equals(chunk, MARKER);
  }

  private add(added: Added, chunk: Buffer, out: Outbox): void {
    const { field, narrow, printed } = added;
    if (field === null || (this.defaultText && field.equals(chunk, this.defaultText))) {
      out.add(added.constant);
    } else if (narrow !== null) out.add(narrowed(field.bytes(chunk), narrow, this.rows));
    else if (printed) out.add(printedField(field.bytes(chunk), printed, this.rows));
    else {
      if (field.length > 0) out.add(field.own, 0, field.length);
      if (field.from < field.to) out.add(chunk, field.from, field.to);
    }
  }

  /** `\.` in text, at `pos`: what stands before it on its line is a row to older servers. */
  private marker(chunk: Buffer, pos: number, out: Outbox): void {
    if (this.begun || pos > this.rowFrom) this.endRow(chunk, pos, out);
    this.ended = true;
  }

  /** Keeps what is needed of a chunk that is not there any more at the row's end. */
  private leave(chunk: Buffer, pos: number, end: number): void {
    if (this.now) this.now.to = pos;
    for (const kept of this.kept.all) kept.spill(chunk);
    this.begun ||= pos > this.rowFrom;
    this.escapeAt = this.escapeAt === end - 1 ? -1 : -2;
    this.returnAt = this.returnAt === end - 1 ? -1 : -2;
  }

  end(out: Outbox): void {
    if (this.ended) return;
    for (const kept of this.kept.all) kept.from = kept.to = 0;
    this.span = this.rowFrom = 0;
    const begun = this.begun || this.heldBackslash;
    const whole = begun && !this.inQuote && !this.inHeader;
    // A backslash at the very end stands for nothing, and would take the delimiter with it.
    if (whole && this.field + 1 >= this.rows.fields) this.endRow(NOTHING, 0, out);
    else if (this.heldBackslash) out.add(BACKSLASH_TEXT);
    this.ended = true;
  }
}

const BACKSLASH_TEXT = Buffer.from('\\');
const MARKER = Buffer.from('\\.');
const NOTHING = Buffer.alloc(0);
