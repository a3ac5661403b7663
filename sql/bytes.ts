/** From so many bytes on the engine's own functions are quicker, which cost more to be called. */
const NATIVE_BYTES = 64;
/** So many bytes of a text make its hash, about. */
const SAMPLES = 32;

/** Adds a byte, or any small number, to a hash. */
export function mixed(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193);
}

/**
 * A hash of a text's length and some of its bytes, all of a short one: what is found by it has to be
 * compared.
 */
export function sampleHash(text: Uint8Array): number {
  const { length } = text;
  const step = length <= SAMPLES ? 1 : (length / SAMPLES) | 0;
  let hash = length;
  for (let at = 0; at < length; at += step) hash = mixed(hash, text[at]!);
  return hash;
}

/** Whether `length` bytes are the same. */
export function sameRange(
  a: Buffer,
  aStart: number,
  b: Buffer,
  bStart: number,
  length: number,
): boolean {
  if (length >= NATIVE_BYTES) {
    return a.compare(b, bStart, bStart + length, aStart, aStart + length) === 0;
  }
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}

export function sameBytes(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && sameRange(a, 0, b, 0, a.length);
}

/** Copies bytes `start` to `end`. @returns the offset behind them. */
export function copyRange(
  from: Buffer,
  start: number,
  end: number,
  to: Buffer,
  at: number,
): number {
  const length = end - start;
  if (length >= NATIVE_BYTES) from.copy(to, at, start, end);
  else for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  return at + length;
}

/** A copy that shares its memory with nothing: what is kept for long must not keep a pool. */
export function ownCopy(text: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(text.length);
  text.copy(copy);
  return copy;
}
