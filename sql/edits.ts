import type { Edit, Rewrite } from './outcome.js';
import { Misplaced } from './source.js';
import type { ByteString } from './tree.js';

/** Text of ours with copies of the client's within it. */
export interface Piece {
  text: ByteString;
  copies: Edit['copies'];
}

/** One change of the client's text: what stands in place of bytes `start` to `end`. */
export interface Draft extends Piece {
  start: number;
  end: number;
}

/** Puts texts and pieces one after the other. */
export function join(...parts: (ByteString | Piece)[]): Piece {
  let text = '';
  const copies: Edit['copies'][number][] = [];
  for (const part of parts) {
    if (typeof part === 'string') {
      text += part;
      continue;
    }
    for (const copy of part.copies) copies.push({ ...copy, at: copy.at + text.length });
    text += part.text;
  }
  return { text, copies };
}

/** Puts pieces one after the other with `between` between them. */
export function joinWith(between: ByteString, pieces: readonly (ByteString | Piece)[]): Piece {
  return join(...pieces.flatMap((piece, i) => (i === 0 ? [piece] : [between, piece])));
}

/** Applies drafts that do not overlap; those at one place keep the order they were made in. */
export function applyDrafts(
  text: ByteString,
  drafts: readonly Draft[],
): { text: ByteString; edits: Edit[] } {
  const sorted = [...drafts].sort((a, b) => a.start - b.start || a.end - b.end);
  let at = 0;
  let result = '';
  const edits: Edit[] = [];
  for (const draft of sorted) {
    if (draft.start < at) throw new Misplaced('two edits overlap');
    result += text.slice(at, draft.start) + draft.text;
    at = draft.end;
    const { start, end, copies } = draft;
    edits.push({ start, end, length: draft.text.length, copies });
  }
  return { text: result + text.slice(at), edits };
}

/**
 * Maps a position of an ErrorResponse in the text that was sent to one in the client's own text.
 * In a copy it is where the copy was taken from, after a copy the copy's beginning, elsewhere in an
 * insertion where that was made; 0 where the server would have told none.
 *
 * @param position characters from 1.
 * @param utf8 whether the text is in UTF-8; else a character is taken to be a byte.
 */
export function mapPosition(
  original: Buffer,
  rewrite: Rewrite,
  position: number,
  utf8: boolean,
): number {
  if (rewrite.edits.length === 0 || position < 1) return position;
  const byte = utf8 ? byteOf(rewrite.text, position) : position - 1;
  const found = originalByte(rewrite.edits, Math.min(byte, rewrite.text.length));
  if (found < 0) return 0;
  return utf8 ? positionOf(original, found) : found + 1;
}

function originalByte(edits: readonly Edit[], byte: number): number {
  let shift = 0;
  for (const edit of edits) {
    const start = edit.start + shift;
    if (byte < start) break;
    if (byte < start + edit.length) {
      const at = byte - start;
      const copy = edit.copies.findLast((candidate) => candidate.at <= at);
      if (!copy) return edit.start;
      if (copy.from < 0) return -1;
      // What is ours after a copy is about that copy: its cast, or the expression around it.
      return at < copy.at + copy.length ? copy.from + at - copy.at : copy.from;
    }
    shift += edit.length - (edit.end - edit.start);
  }
  return byte - shift;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

function byteOf(text: Buffer, position: number): number {
  let left = position;
  for (let i = 0; i < text.length; i++) {
    if (!isContinuation(text[i]!) && --left === 0) return i;
  }
  return text.length;
}

function positionOf(text: Buffer, byte: number): number {
  let count = 1;
  for (let i = 0; i < byte && i < text.length; i++) if (!isContinuation(text[i]!)) count++;
  return count;
}
