import type { Skeleton } from './literals.js';
import type { Edit, Rewrite } from './outcome.js';
import type { ByteString } from './tree.js';

/** A place in the text that a template was made of, and how many constants end before it. */
interface Place {
  at: number;
  after: number;
}

/** What an edit puts in: text of ours, then a copy of the client's, and so on. */
interface EditTemplate {
  start: Place;
  end: Place;
  parts: { before: ByteString; from: Place; to: Place }[];
  tail: ByteString;
}

/**
 * A rewrite with its constants left open: what was made of one text serves for all of its
 * skeleton,
 * without parsing them. A million INSERTs that differ in their values are rewritten once.
 */
export class Template {
  private constructor(
    private readonly rewrite: Rewrite,
    private readonly spans: readonly number[],
    private readonly edits: readonly EditTemplate[],
  ) {}

  /**
   * @param text the client's, of which `rewrite` was made.
   * @returns null when the rewrite has a constant in it that is not a copy, or a part of one.
   */
  static of(text: ByteString, { spans }: Skeleton, rewrite: Rewrite): Template | null {
    const sent = rewrite.text.toString('latin1');
    const edits: EditTemplate[] = [];
    let shift = 0;
    for (const edit of rewrite.edits) {
      const inserted = sent.slice(edit.start + shift, edit.start + shift + edit.length);
      const made = editOf(text, spans, edit, inserted);
      if (!made) return null;
      edits.push(made);
      shift += edit.length - (edit.end - edit.start);
    }
    return new Template(rewrite, spans, edits);
  }

  /** The rewrite of another text of the skeleton. */
  fill(text: ByteString, { spans }: Skeleton): Rewrite {
    const where = ({ at, after }: Place) =>
      after === 0 ? at : at + spans[2 * after - 1]! - this.spans[2 * after - 1]!;
    let sent = '';
    let copied = 0;
    const edits = this.edits.map((edit): Edit => {
      const [start, end] = [where(edit.start), where(edit.end)];
      let inserted = '';
      const copies = edit.parts.map(({ before, from, to }) => {
        inserted += before;
        const [first, last] = [where(from), where(to)];
        const copy = { at: inserted.length, from: first, length: last - first };
        inserted += text.slice(first, last);
        return copy;
      });
      inserted += edit.tail;
      sent += text.slice(copied, start) + inserted;
      copied = end;
      return { start, end, length: inserted.length, copies };
    });
    sent += text.slice(copied);
    return { ...this.rewrite, text: Buffer.from(sent, 'latin1'), edits };
  }
}

function editOf(
  text: ByteString,
  spans: readonly number[],
  edit: Edit,
  inserted: ByteString,
): EditTemplate | null {
  const [start, end] = [placeOf(edit.start, spans), placeOf(edit.end, spans)];
  const parts: EditTemplate['parts'] = [];
  let at = 0;
  for (const copy of edit.copies) {
    const [from, to] = [placeOf(copy.from, spans), placeOf(copy.from + copy.length, spans)];
    const original = text.slice(copy.from, copy.from + copy.length);
    if (copy.at < at || !from || !to) return null;
    if (inserted.slice(copy.at, copy.at + copy.length) !== original) return null;
    parts.push({ before: inserted.slice(at, copy.at), from, to });
    at = copy.at + copy.length;
  }
  return start && end ? { start, end, parts, tail: inserted.slice(at) } : null;
}

/** null within a constant. */
function placeOf(at: number, spans: readonly number[]): Place | null {
  let [low, high] = [0, spans.length / 2];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[2 * middle + 1]! <= at) low = middle + 1;
    else high = middle;
  }
  const inside = 2 * low < spans.length && spans[2 * low]! < at;
  return inside ? null : { at, after: low };
}

/** Whether two rewrites do the same, and tell the client the same. */
export function sameRewrite(a: Rewrite, b: Rewrite): boolean {
  const rest = ({ text, shape, ...said }: Rewrite) => JSON.stringify(said);
  return a.text.equals(b.text) && rest(a) === rest(b);
}
