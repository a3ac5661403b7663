import { CONSUMED, COPY_END, EXECUTE, KIND_MASK, SYNC } from './kinds.js';

/** How many entries it has room for when nothing much is in flight. */
const USUAL = 16;

/**
 * What the ledger knows of the messages that are not answered, by sequence number: three columns,
 * so that an entry is no object. It grows with a pipeline, and is made anew when that is over.
 */
export class Ring<Side> {
  entries = new Uint8Array(USUAL);
  sides: (Side | undefined)[] = new Array(USUAL).fill(undefined);
  /** `performance.now()` of those that a ReadyForQuery answers. */
  times = new Float64Array(USUAL);

  index(seq: number): number {
    return seq & (this.entries.length - 1);
  }

  get isLarge(): boolean {
    return this.entries.length > 64 * USUAL;
  }

  /** Makes room for twice as many; `first` to `last` are in use. */
  grow(first: number, last: number): void {
    const { entries, sides, times } = this;
    const from = entries.length - 1;
    const size = entries.length * 2;
    this.entries = new Uint8Array(size);
    this.sides = new Array(size).fill(undefined);
    this.times = new Float64Array(size);
    for (let seq = first; seq <= last; seq++) {
      const to = this.index(seq);
      this.entries[to] = entries[seq & from]!;
      this.sides[to] = sides[seq & from];
      this.times[to] = times[seq & from]!;
    }
  }
}

/**
 * The Execute that a CopyDone or CopyFail, the last message, would end if it is a COPY, where Syncs
 * came between; 0: there is none.
 */
export function executeBehindSyncs(ring: Ring<unknown>, answered: number, pushed: number): number {
  for (let seq = pushed - 1; seq > answered; seq--) {
    const kind = ring.entries[ring.index(seq)]! & KIND_MASK;
    if (kind === EXECUTE) return seq < pushed - 1 ? seq : 0;
    if (kind !== SYNC) return 0;
  }
  return 0;
}

/**
 * Where a COPY FROM STDIN that begins ends: sequence number of its CopyDone or CopyFail; 0: that
 * has not been sent; null: something else comes first. Then the COPY either fails without having
 * read the Syncs before that, so that they are answered, or it is the end of the session.
 */
export function endOfCopy(ring: Ring<unknown>, answered: number, pushed: number): number | null {
  for (let seq = answered + 2; seq <= pushed; seq++) {
    const kind = ring.entries[ring.index(seq)]! & KIND_MASK;
    if (kind === COPY_END) return seq;
    if (kind !== CONSUMED && kind !== SYNC) return null;
  }
  return 0;
}

/** Marks what a COPY has read, or will. @returns how many Syncs there are among it. */
export function consume(ring: Ring<unknown>, first: number, last: number): number {
  let syncs = 0;
  for (let seq = first; seq <= last; seq++) {
    const index = ring.index(seq);
    if ((ring.entries[index]! & KIND_MASK) === SYNC) syncs++;
    ring.entries[index] = CONSUMED;
  }
  return syncs;
}
