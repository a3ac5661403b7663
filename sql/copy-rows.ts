import type { Printed } from './printed.js';
import type { ByteString } from './tree.js';

/**
 * What is done to the rows of a COPY FROM STDIN on their way: a plain value, made by the rewriter
 * and applied by the proxy. Each row has its own fields and behind them those that are added.
 */
export interface CopyRows {
  /** The relation as the server names it in the context of an error. */
  table: ByteString;
  format: 'text' | 'csv' | 'binary';
  /** One byte each; `quote` and `escapeBy` (ESCAPE) of CSV only. */
  delimiter: ByteString;
  quote: ByteString;
  escapeBy: ByteString;
  /** The field that stands for NULL, as it is in the data. */
  nullText: ByteString;
  /** The field that stands for the column's default, as it is in the data; null: none does. */
  defaultText: ByteString | null;
  /** Whether the first line has names, and whether the server compares them. */
  header: 'none' | 'skip' | 'match';
  /**
   * The field that is added where it is not certain what it has to be: NULL, for the guard to
   * repair; where there is none, a byte that the server refuses.
   */
  unsure: ByteString;
  /** Fields of a row as the client sends it. */
  fields: number;
  /** At least one. */
  added: readonly CopyField[];
}

/** A field that is added to each row. */
export interface CopyField {
  column: ByteString;
  /** Its name as a field of a header. */
  heading: ByteString;
  /** The field of the client's row that it repeats, from 0; null: it is `constant` in each row. */
  from: number | null;
  /** What it is where the client's field stands for the default: as in the data. */
  constant: ByteString;
  /** Sizes of two integer types, in bytes, when the field it repeats is of another size. */
  integer: { from: number; to: number } | null;
  /** The type of the field that it repeats, when it is the text of its value. */
  printed: Printed | null;
}

/** The bounds of an integer of so many bytes. */
export function integerBounds(bytes: number): { min: bigint; max: bigint } {
  const max = (1n << BigInt(8 * bytes - 1)) - 1n;
  return { min: -max - 1n, max };
}
