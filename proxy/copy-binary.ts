import { type CopyField, type CopyRows, integerBounds } from '../sql/copy-rows.js';
import { printedBinary } from './copy-field.js';
import { Kept, KeptFields, type RowWriter } from './copy-kept.js';
import type { Outbox } from './outbox.js';

/** Signature, flags, and the size of what follows them. */
const HEADER_BYTES = 19;

type State = 'header' | 'extension' | 'count' | 'length' | 'field' | 'rest';

class KeptValue extends Kept {
  isNull = false;
}

interface Added extends Pick<CopyField, 'integer' | 'printed'> {
  field: KeptValue;
}

/**
 * Rows of COPY in binary. A row with another number of fields than there are columns gets a number
 * that the server refuses as well, and nothing is done behind it.
 * https://www.postgresql.org/docs/current/sql-copy.html ("Binary Format")
 */
export class BinaryRows implements RowWriter {
  private readonly kept = new KeptFields(() => new KeptValue());
  private readonly added: Added[];
  private state: State = 'header';
  /** Bytes of the present part that are still to come. */
  private missing = HEADER_BYTES;
  /** The last four bytes of the present part, as a number. */
  private word = 0;
  private field = 0;
  private span = 0;
  private readonly bytes = Buffer.allocUnsafeSlow(12);

  /** No added field is a constant. */
  constructor(private readonly rows: CopyRows) {
    this.added = rows.added.map(({ from, integer, printed }) => ({
      field: this.kept.add(from ?? 0),
      integer,
      printed,
    }));
  }

  get keptBytes(): number {
    return this.kept.bytes;
  }

  write(chunk: Buffer, from: number, to: number, out: Outbox): void {
    this.span = from;
    for (const kept of this.kept.all) kept.from = kept.to = from;
    let pos = from;
    if (this.state === 'field') this.open(pos);
    while (pos < to && this.state !== 'rest') {
      if (this.state === 'field' || this.state === 'extension') {
        const n = Math.min(this.missing, to - pos);
        pos += n;
        this.missing -= n;
      } else {
        this.word = (this.word << 8) | chunk[pos++]!;
        this.missing--;
      }
      while (this.missing === 0 && !this.isOver) this.partEnds(chunk, pos, out);
    }
    // The number of fields is written when all of it is here.
    const held = this.state === 'count' ? Math.min(2 - this.missing, pos - from) : 0;
    const end = this.state === 'rest' ? to : pos - held;
    if (this.span < end) out.add(chunk, this.span, end);
    const now = this.state === 'field' ? this.kept.at[this.field] : undefined;
    if (now) now.to = pos;
    for (const kept of this.kept.all) kept.spill(chunk);
  }

  private get isOver(): boolean {
    return this.state === 'rest';
  }

  private begin(state: State, bytes: number): void {
    this.state = state;
    this.missing = bytes;
    this.word = 0;
  }

  private partEnds(chunk: Buffer, pos: number, out: Outbox): void {
    switch (this.state) {
      case 'header':
        this.begin('extension', Math.max(this.word, 0));
        break;
      case 'extension':
        this.begin('count', 2);
        break;
      case 'count':
        this.counted(chunk, pos, out);
        break;
      case 'length':
        this.measured(chunk, pos, out);
        break;
      default:
        this.fieldEnds(chunk, pos, out);
    }
  }

  private counted(chunk: Buffer, pos: number, out: Outbox): void {
    const count = (this.word << 16) >> 16;
    // Of its two bytes those in this chunk have not been written, nor those before it.
    if (this.span < pos - 2) out.add(chunk, this.span, pos - 2);
    this.span = pos;
    this.bytes.writeInt16BE(count === -1 ? -1 : (count + this.added.length) & 0x7fff);
    out.add(this.bytes, 0, 2);
    this.field = 0;
    for (const kept of this.kept.all) kept.clear(pos);
    if (count === this.rows.fields) this.begin('length', 4);
    else this.begin('rest', 0);
  }

  private measured(chunk: Buffer, pos: number, out: Outbox): void {
    const length = this.word;
    const now = this.kept.at[this.field];
    if (now) now.isNull = length < 0;
    this.begin('field', Math.max(length, 0));
    this.open(pos);
    if (length < 0) this.fieldEnds(chunk, pos, out);
  }

  private open(pos: number): void {
    const now = this.kept.at[this.field];
    if (now) now.from = now.to = pos;
  }

  private fieldEnds(chunk: Buffer, pos: number, out: Outbox): void {
    const now = this.kept.at[this.field];
    if (now) now.to = pos;
    this.field++;
    if (this.field < this.rows.fields) {
      this.begin('length', 4);
      return;
    }
    if (this.span < pos) out.add(chunk, this.span, pos);
    this.span = pos;
    for (const added of this.added) this.add(added, chunk, out);
    this.begin('count', 2);
  }

  private add({ field, integer, printed }: Added, chunk: Buffer, out: Outbox): void {
    const value = field.isNull ? null : field.bytes(chunk);
    const made = value && printed ? printedBinary(value, printed) : value;
    const given = made && integer ? resized(made, integer, this.bytes) : made;
    this.bytes.writeInt32BE(given ? given.length : -1);
    out.add(this.bytes, 0, 4);
    if (given) out.add(given);
  }

  end(out: Outbox): void {
    if (this.state !== 'count' || this.missing !== 1) return;
    this.bytes[0] = this.word;
    out.add(this.bytes, 0, 1);
  }
}

/** An integer in another size; null when it does not fit. What is none was refused before. */
function resized(
  value: Buffer,
  { from, to }: { from: number; to: number },
  room: Buffer,
): Buffer | null {
  if (value.length !== from) return value;
  if (from === 8) {
    const number = value.readBigInt64BE();
    const { min, max } = integerBounds(to);
    if (number < min || number > max) return null;
    room.writeIntBE(Number(number), 4, to);
  } else {
    const number = value.readIntBE(0, from);
    const limit = 2 ** (8 * to - 1);
    if (number < -limit || number >= limit) return null;
    if (to === 8) room.writeInt32BE(number < 0 ? -1 : 0, 4);
    room.writeIntBE(number, to === 8 ? 8 : 4, Math.min(to, 4));
  }
  return room.subarray(4, 4 + to);
}
