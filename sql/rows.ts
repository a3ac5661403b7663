import type { InsertStmt } from 'libpg-query';
import type { Fragment } from './fragment.js';
import type { PreparedTable } from './prepared.js';
import type { ByteString } from './tree.js';

/** A value that an INSERT gives: an expression, or the word DEFAULT. */
export type Cell = Fragment | 'default';

/** An INSERT with the places in its text. */
export interface Layout {
  stmt: InsertStmt;
  table: PreparedTable;
  /** Columns that it fills, given or implied. */
  columns: ByteString[];
  /** Byte after the table's name or alias, where a column list goes that is not there. */
  afterName: number;
  /** Byte after the last name of the column list; null without one. */
  afterList: number | null;
  /** Token index of VALUES, DEFAULT, SELECT, WITH or an opening parenthesis. */
  from: number;
}

/** Rows of values with their places; `ends` are the bytes after each row's last value. */
export interface Rows {
  cells: Cell[][];
  ends: number[];
  /** Byte after the last row. */
  end: number;
}
