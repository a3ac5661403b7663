import type { CopyRows } from '../sql/copy-rows.js';
import type { Rewrite } from '../sql/outcome.js';
import { BinaryRows } from './copy-binary.js';
import type { RowWriter } from './copy-kept.js';
import { TextRows } from './copy-text.js';
import { FRONTEND, message } from './messages.js';
import type { Outbox } from './outbox.js';

/** Longest part of a row that is given a second time; PostgreSQL's own limit of a row is 1 GiB. */
const KEPT_BYTES = 64 * 1024 * 1024;
const TOO_LONG = message(
  FRONTEND.copyFail,
  'pgtandem: a field of a column under migration is longer than 64 MiB\0',
);

/**
 * The COPY FROM STDIN of one session whose rows are changed. What the client sends of its data is
 * taken out of its messages and sent in messages of our own, so that nothing is gathered.
 */
export class CopyIn {
  /** A statement that changes rows has been sent in this session: data is looked at. */
  watching = false;
  /** Of the COPY that is going on or has just ended: what its errors are about. */
  rows: CopyRows | null = null;
  private serverMajor = 0;
  private data: RowWriter | null = null;
  /** The ledger's message that began the last COPY, and how many it had begun before. */
  private head = -1;
  private index = 0;
  /** Our last message is in the outbox from here to there, if that is still at this turn. */
  private message = 0;
  private end = 0;
  private turn = -1;

  /** @param version `server_version`. */
  serverIs(version: string): void {
    this.serverMajor = Number.parseInt(version, 10) || 0;
  }

  /** The data that comes now is changed. */
  get isActive(): boolean {
    return this.data !== null;
  }

  /** A statement is about to be sent, or run. */
  sends(rewrite: Rewrite | null | undefined): void {
    if (rewrite?.copies) this.watching = true;
  }

  /** CopyInResponse has come for message `head` of the ledger. @returns what is done to the rows. */
  begins(rewrite: Rewrite | undefined, head: number): CopyRows | null {
    this.index = head === this.head ? this.index + 1 : 0;
    this.head = head;
    const rows = rewrite?.copies?.[this.index] ?? null;
    this.rows = rows;
    this.data = rows && this.writerOf(rows);
    return rows;
  }

  private writerOf(rows: CopyRows): RowWriter {
    if (rows.format === 'binary') return new BinaryRows(rows);
    return new TextRows(rows, this.serverMajor < 18);
  }

  /** Data of the client's, in part perhaps; after an error of the server's nobody wants it. */
  take(chunk: Buffer, from: number, to: number, out: Outbox): void {
    const { data } = this;
    if (!data) return;
    if (this.turn !== out.turn || this.end !== out.length) this.message = out.open();
    data.write(chunk, from, to, out);
    this.end = out.close(this.message, FRONTEND.copyData);
    // One that is empty was taken back.
    this.turn = this.end > this.message ? out.turn : -1;
    if (data.keptBytes <= KEPT_BYTES) return;
    out.add(TOO_LONG);
    this.data = null;
  }

  /** The data ends: what is still to be written of the last row, if it has come to its `done`. */
  ends(done: boolean, out: Outbox): void {
    const { data } = this;
    this.data = null;
    if (!data || !done) return;
    const at = out.open();
    data.end(out);
    out.close(at, FRONTEND.copyData);
  }

  /** The server has ended it with an error. */
  stops(): void {
    this.data = null;
  }

  /** All that is said of it has come. */
  over(): void {
    this.data = null;
    this.rows = null;
  }
}
