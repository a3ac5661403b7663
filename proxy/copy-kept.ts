import type { Outbox } from './outbox.js';

/** Takes the data of a COPY FROM STDIN, split in any way, and writes what the server gets. */
export interface RowWriter {
  write(chunk: Buffer, from: number, to: number, out: Outbox): void;
  /** The data has come to its end. */
  end(out: Outbox): void;
  /** What it keeps of a row, bytes. */
  readonly keptBytes: number;
}

/**
 * A field that is needed again at its row's end: `own`, what came in earlier chunks, and then bytes
 * `from` to `to` of the present one.
 */
export class Kept {
  from = 0;
  to = 0;
  own: Buffer = Buffer.allocUnsafeSlow(32);
  length = 0;

  /** A new row begins at `at`. */
  clear(at: number): void {
    this.from = this.to = at;
    this.length = 0;
  }

  append(bytes: Buffer, from: number, to: number): void {
    const length = this.length + to - from;
    if (length > this.own.length) {
      const larger = Buffer.allocUnsafeSlow(2 * length);
      this.own.copy(larger, 0, 0, this.length);
      this.own = larger;
    }
    bytes.copy(this.own, this.length, from, to);
    this.length = length;
  }

  /** Takes over what is in the chunk, which may be used for something else then. */
  spill(chunk: Buffer): void {
    if (this.from < this.to) this.append(chunk, this.from, this.to);
    this.from = this.to;
  }

  /** All of it, valid until the next chunk. */
  bytes(chunk: Buffer): Buffer {
    if (this.length === 0) return chunk.subarray(this.from, this.to);
    if (this.from < this.to) this.spill(chunk);
    return this.own.subarray(0, this.length);
  }

  equals(chunk: Buffer, bytes: Buffer): boolean {
    if (this.length + this.to - this.from !== bytes.length) return false;
    return this.bytes(chunk).equals(bytes);
  }
}

/** The fields of a row that are needed again. */
export class KeptFields<Field extends Kept> {
  /** By the field's number; those that are not kept have none. */
  readonly at: (Field | undefined)[] = [];
  readonly all: Field[] = [];

  constructor(private readonly make: () => Field) {}

  /** Has a field kept, if it is not yet. */
  add(field: number): Field {
    const known = this.at[field];
    if (known) return known;
    const kept = this.make();
    this.at[field] = kept;
    this.all.push(kept);
    return kept;
  }

  /** What is copied of the present row. */
  get bytes(): number {
    return this.all.reduce((sum, { length }) => sum + length, 0);
  }
}
