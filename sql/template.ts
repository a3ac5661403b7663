import { copyRange, ownCopy } from './bytes.js';
import { isValid, spansLike, validityOf } from './likeness.js';
import type { Skeleton, Spans } from './literals.js';
import type { Edit, Outcome, Rewrite, Shape, Target } from './outcome.js';

/** A place in the text that a template was made of, and how many constants end before it. */
interface Place {
  at: number;
  after: number;
}

/**
 * What an edit puts in: text of ours, then a copy of the client's, and so on. `mark`: nothing is copied, but so many
 * bytes of ours that follow have a place of the client's (below 0: none), for errors about them.
 */
interface EditTemplate {
  start: Place;
  end: Place;
  parts: { before: Buffer; from: Place; to: Place; mark: number | null }[];
  tail: Buffer;
}

/** Numbers of one step of a program: two places, two numbers each, and where what is ours ends then. */
const STEP = 5;

/** Where the copies of one text begin and end, while it is filled. */
let copies = new Int32Array(64);

/**
 * A rewrite with its constants left open: what was made of one text serves for all of its
 * skeleton,
 * without parsing them. A million INSERTs that differ in their values are rewritten once.
 *
 * What is sent is put together by a program of steps: a copy of the client's text, and then some of ours,
 * of which all that there is lies one behind the other.
 */
export class Template {
  private readonly program: Int32Array;
  private readonly ours: Buffer;

  private constructor(
    readonly skeleton: Skeleton,
    private readonly rewrite: Rewrite,
    private readonly edits: readonly EditTemplate[],
  ) {
    const steps: number[] = [];
    const texts: Buffer[] = [];
    let written = 0;
    let last: Place = { at: 0, after: 0 };
    const step = (from: Place, to: Place, text: Buffer) => {
      written += text.length;
      texts.push(text);
      steps.push(...this.relative(from), ...this.relative(to), written);
    };
    for (const { start, end, parts, tail } of edits) {
      step(last, start, parts[0]?.before ?? tail);
      for (const [i, { from, to }] of parts.entries()) step(from, to, parts[i + 1]?.before ?? tail);
      last = end;
    }
    // What is behind the last edit ends where the text ends.
    steps.push(...this.relative(last));
    this.program = Int32Array.from(steps);
    this.ours = Buffer.concat(texts);
  }

  /** The end of the constant before a place, and how far behind it that is. */
  private relative({ at, after }: Place): [number, number] {
    const end = 2 * after - 1;
    return after === 0 ? [-1, at] : [end, at - this.skeleton.spans[end]!];
  }

  /**
   * @param rewrite what was made of the skeleton's text.
   * @returns null when the rewrite has a constant in it that is not a copy, or a part of one.
   */
  static of(skeleton: Skeleton, rewrite: Rewrite): Template | null {
    const { text, spans } = skeleton;
    const edits: EditTemplate[] = [];
    let shift = 0;
    for (const edit of rewrite.edits) {
      const start = edit.start + shift;
      const made = editOf(text, spans, edit, rewrite.text.subarray(start, start + edit.length));
      if (!made) return null;
      edits.push(made);
      shift += edit.length - (edit.end - edit.start);
    }
    return new Template(skeleton, rewrite, edits);
  }

  /**
   * The rewrite of another text of the skeleton.
   * @param isOwn whether nobody else writes to the text's memory, ever; it is copied otherwise.
   */
  fill(text: Buffer, spans: Spans, isOwn: boolean): Rewrite {
    return new Filled(this, this.rewrite, isOwn ? text : ownCopy(text), spans);
  }

  /** What is sent in place of a text. */
  textOf(text: Buffer, spans: Spans): Buffer {
    const sent = Buffer.allocUnsafe(this.measure(text, spans));
    this.put(text, sent, 0);
    return sent;
  }

  /** Puts what is sent in place of a text where it is sent from. */
  write(text: Buffer, spans: Spans, target: Target): void {
    const at = target.room(this.measure(text, spans));
    this.put(text, target.memory, at);
  }

  /** How long it is; where its copies are is in `copies`, until another one is measured. */
  private measure(text: Buffer, spans: Spans): number {
    const { program, ours } = this;
    const steps = (program.length / STEP) | 0;
    if (copies.length <= 2 * steps) copies = new Int32Array(4 * steps + 1);
    let length = ours.length + text.length;
    for (let i = 0, step = 0; i < 2 * steps; i += 2, step += STEP) {
      const from = placeIn(program, step, spans);
      const to = placeIn(program, step + 2, spans);
      copies[i] = from;
      copies[i + 1] = to;
      length += to - from;
    }
    const rest = placeIn(program, steps * STEP, spans);
    copies[2 * steps] = rest;
    return length - rest;
  }

  private put(text: Buffer, to: Buffer, start: number): void {
    const { program, ours } = this;
    const steps = (program.length / STEP) | 0;
    let at = start;
    let used = 0;
    for (let i = 0; i < steps; i++) {
      at = copyRange(text, copies[2 * i]!, copies[2 * i + 1]!, to, at);
      const end = program[STEP * i + 4]!;
      at = copyRange(ours, used, end, to, at);
      used = end;
    }
    copyRange(text, copies[2 * steps]!, text.length, to, at);
  }

  /** The edits of a text that was filled. */
  editsOf(spans: Spans): Edit[] {
    return this.edits.map((edit): Edit => {
      const [start, end] = [this.place(edit.start, spans), this.place(edit.end, spans)];
      let at = 0;
      const copies = edit.parts.map(({ before, from, to, mark }) => {
        at += before.length;
        const first = this.place(from, spans);
        const copy = { at, from: first, length: mark ?? this.place(to, spans) - first };
        if (mark === null) at += copy.length;
        return copy;
      });
      return { start, end, length: at + edit.tail.length, copies };
    });
  }

  private place(place: Place, spans: Spans): number {
    const [end, behind] = this.relative(place);
    return end < 0 ? behind : spans[end]! + behind;
  }
}

function placeIn(program: Int32Array, at: number, spans: Spans): number {
  const end = program[at]!;
  const behind = program[at + 1]!;
  return end < 0 ? behind : spans[end]! + behind;
}

/**
 * What a template gives. It is written to where it is sent from; as a text of its own, and where the edits
 * are, it is only asked for when the server sees a mistake.
 */
class Filled implements Rewrite {
  readonly outcome: Outcome;
  readonly touches: readonly number[];
  readonly reason: string | null;
  readonly refusal: Rewrite['refusal'];
  readonly shape?: Shape;
  private known: Edit[] | null = null;
  private made: Buffer | null = null;
  private validity: number;

  constructor(
    private readonly template: Template,
    { outcome, touches, reason, refusal, shape }: Rewrite,
    readonly original: Buffer,
    private held: Spans,
  ) {
    this.validity = validityOf(held);
    this.outcome = outcome;
    this.touches = touches;
    this.reason = reason;
    this.refusal = refusal;
    if (shape) this.shape = shape;
  }

  /** Found once more where another text has been looked at meanwhile, as it was after one was sent. */
  private get spans(): Spans {
    if (isValid(this.validity)) return this.held;
    this.held = spansLike(this.original, this.template.skeleton)!;
    this.validity = validityOf(this.held);
    return this.held;
  }

  get text(): Buffer {
    this.made ??= this.template.textOf(this.original, this.spans);
    return this.made;
  }

  writeTo(target: Target): void {
    this.template.write(this.original, this.spans, target);
  }

  get edits(): readonly Edit[] {
    this.known ??= this.template.editsOf(this.spans);
    return this.known;
  }
}

function editOf(text: Buffer, spans: Spans, edit: Edit, inserted: Buffer): EditTemplate | null {
  const [start, end] = [placeOf(edit.start, spans), placeOf(edit.end, spans)];
  const parts: EditTemplate['parts'] = [];
  let at = 0;
  for (const copy of edit.copies) {
    const mark = isCopied(text, inserted, copy) ? null : copy.length;
    const from = placeOf(copy.from, spans);
    const to = mark === null ? placeOf(copy.from + copy.length, spans) : from;
    if (copy.at < at || !from || !to) return null;
    parts.push({ before: inserted.subarray(at, copy.at), from, to, mark });
    at = mark === null ? copy.at + copy.length : copy.at;
  }
  return start && end ? { start, end, parts, tail: inserted.subarray(at) } : null;
}

function isCopied(
  text: Buffer,
  inserted: Buffer,
  { at, from, length }: Edit['copies'][0],
): boolean {
  if (from < 0) return false;
  return inserted.subarray(at, at + length).equals(text.subarray(from, from + length));
}

/** null within a constant. */
function placeOf(at: number, spans: Spans): Place | null {
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
