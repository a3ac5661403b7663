import { copyRange } from './bytes.js';
import type { Skeleton } from './literals.js';
import type { Edit, Outcome, Rewrite, Shape } from './outcome.js';

/** A place in the text that a template was made of, and how many constants end before it. */
interface Place {
  at: number;
  after: number;
}

/** What an edit puts in: text of ours, then a copy of the client's, and so on. */
interface EditTemplate {
  start: Place;
  end: Place;
  parts: { before: Buffer; from: Place; to: Place }[];
  tail: Buffer;
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
   * @param rewrite what was made of the skeleton's text.
   * @returns null when the rewrite has a constant in it that is not a copy, or a part of one.
   */
  static of({ text, spans }: Skeleton, rewrite: Rewrite): Template | null {
    const edits: EditTemplate[] = [];
    let shift = 0;
    for (const edit of rewrite.edits) {
      const start = edit.start + shift;
      const made = editOf(text, spans, edit, rewrite.text.subarray(start, start + edit.length));
      if (!made) return null;
      edits.push(made);
      shift += edit.length - (edit.end - edit.start);
    }
    return new Template(rewrite, spans, edits);
  }

  /** The rewrite of another text of the skeleton. */
  fill({ text, spans }: Skeleton): Rewrite {
    const sent = Buffer.allocUnsafe(this.lengthOf(text.length, spans));
    let copied = 0;
    let at = 0;
    for (const edit of this.edits) {
      at = copyRange(text, copied, this.place(edit.start, spans), sent, at);
      for (const { before, from, to } of edit.parts) {
        at = copyRange(before, 0, before.length, sent, at);
        at = copyRange(text, this.place(from, spans), this.place(to, spans), sent, at);
      }
      at = copyRange(edit.tail, 0, edit.tail.length, sent, at);
      copied = this.place(edit.end, spans);
    }
    copyRange(text, copied, text.length, sent, at);
    return new Filled(this, this.rewrite, sent, spans);
  }

  /** The edits of a text that was filled. */
  editsOf(spans: readonly number[]): Edit[] {
    return this.edits.map((edit): Edit => {
      const [start, end] = [this.place(edit.start, spans), this.place(edit.end, spans)];
      let at = 0;
      const copies = edit.parts.map(({ before, from, to }) => {
        at += before.length;
        const first = this.place(from, spans);
        const copy = { at, from: first, length: this.place(to, spans) - first };
        at += copy.length;
        return copy;
      });
      return { start, end, length: at + edit.tail.length, copies };
    });
  }

  private lengthOf(original: number, spans: readonly number[]): number {
    let length = original;
    for (const edit of this.edits) {
      length += edit.tail.length - this.place(edit.end, spans) + this.place(edit.start, spans);
      for (const { before, from, to } of edit.parts) {
        length += before.length + this.place(to, spans) - this.place(from, spans);
      }
    }
    return length;
  }

  private place({ at, after }: Place, spans: readonly number[]): number {
    return after === 0 ? at : at + spans[2 * after - 1]! - this.spans[2 * after - 1]!;
  }
}

/** What a template gives: where the edits are is only asked for when the server sees a mistake. */
class Filled implements Rewrite {
  readonly outcome: Outcome;
  readonly touches: readonly number[];
  readonly reason: string | null;
  readonly refusal: Rewrite['refusal'];
  readonly shape?: Shape;
  private known: Edit[] | null = null;

  constructor(
    private readonly template: Template,
    { outcome, touches, reason, refusal, shape }: Rewrite,
    readonly text: Buffer,
    private readonly spans: readonly number[],
  ) {
    this.outcome = outcome;
    this.touches = touches;
    this.reason = reason;
    this.refusal = refusal;
    if (shape) this.shape = shape;
  }

  get edits(): readonly Edit[] {
    this.known ??= this.template.editsOf(this.spans);
    return this.known;
  }
}

function editOf(
  text: Buffer,
  spans: readonly number[],
  edit: Edit,
  inserted: Buffer,
): EditTemplate | null {
  const [start, end] = [placeOf(edit.start, spans), placeOf(edit.end, spans)];
  const parts: EditTemplate['parts'] = [];
  let at = 0;
  for (const copy of edit.copies) {
    const [from, to] = [placeOf(copy.from, spans), placeOf(copy.from + copy.length, spans)];
    const original = text.subarray(copy.from, copy.from + copy.length);
    if (copy.at < at || !from || !to) return null;
    if (!inserted.subarray(copy.at, copy.at + copy.length).equals(original)) return null;
    parts.push({ before: inserted.subarray(at, copy.at), from, to });
    at = copy.at + copy.length;
  }
  return start && end ? { start, end, parts, tail: inserted.subarray(at) } : null;
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
  return a.text.equals(b.text) && said(a) === said(b);
}

function said({ outcome, touches, reason, refusal, edits, copies }: Rewrite): string {
  return JSON.stringify([outcome, touches, reason, refusal, edits, copies]);
}
