import { sameRange } from './bytes.js';
import { BACKSLASH, constantEnd, type Skeleton, type Spans } from './literals.js';

/** So much of a text is compared before anything else. */
const HEAD_BYTES = 32;
/** What `spansLike` has found, until it is called again: a bulk INSERT has thousands of constants. */
let likeSpans = new Int32Array(128);
/** How many numbers are kept for the next text at most. */
const KEPT_SPANS = 1 << 16;
/** How often `spansLike` has been called. */
let turn = 0;
const ALWAYS = 0;

/** For how long spans are valid: the number to ask `isValid` for. */
export function validityOf(spans: Spans): number {
  return spans === likeSpans ? turn : ALWAYS;
}

export function isValid(validity: number): boolean {
  return validity === ALWAYS || validity === turn;
}

function spansFor(count: number): Spans {
  if (count <= likeSpans.length) return likeSpans;
  const fresh = new Int32Array(2 * count);
  if (fresh.length <= KEPT_SPANS) likeSpans = fresh;
  return fresh;
}

/**
 * The spans of a text that differs from the model in nothing but its constants; null where it does, or
 * where that has to be found out by `skeletonOf`: a text with a backslash. It looks at each byte once.
 * @returns what is valid until it is called again (`validityOf`), and may have more behind its end.
 */
export function spansLike(text: Buffer, model: Skeleton): Spans | null {
  const { text: own, kinds, spans } = model;
  turn++;
  // Most that are not like it are told by their first bytes: the arrays are made for the others.
  const head = Math.min(spans[0]!, HEAD_BYTES);
  if (text.length < head || !sameRange(text, 0, own, 0, head)) return null;
  if (text.includes(BACKSLASH)) return null;
  const found = spansFor(spans.length);
  let [at, ownAt] = [0, 0];
  for (let i = 0; i < kinds.length; i++) {
    const gap = spans[2 * i]! - ownAt;
    if (text.length - at < gap) return null;
    for (const end = at + gap; at < end; at++, ownAt++) if (text[at] !== own[ownAt]) return null;
    found[2 * i] = at;
    at = constantEnd(text, at, kinds[i]!);
    if (at < 0) return null;
    found[2 * i + 1] = at;
    ownAt = spans[2 * i + 1]!;
  }
  const rest = text.length - at;
  return rest === own.length - ownAt && sameRange(text, at, own, ownAt, rest) ? found : null;
}

/** Whether two texts differ in nothing but their constants. */
export function sameSkeleton(a: Skeleton, b: Skeleton): boolean {
  if (a.kinds.length !== b.kinds.length) return false;
  let [atA, atB] = [0, 0];
  for (let i = 0; i < a.kinds.length; i++) {
    const length = a.spans[2 * i]! - atA;
    if (a.kinds[i] !== b.kinds[i] || length !== b.spans[2 * i]! - atB) return false;
    if (!sameRange(a.text, atA, b.text, atB, length)) return false;
    atA = a.spans[2 * i + 1]!;
    atB = b.spans[2 * i + 1]!;
  }
  const rest = a.text.length - atA;
  return rest === b.text.length - atB && sameRange(a.text, atA, b.text, atB, rest);
}
