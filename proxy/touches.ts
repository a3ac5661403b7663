import { IDLE, IN_TRANSACTION } from './ledger.js';

const NONE: readonly number[] = Object.freeze([]);

/** What `Touches` needs to know of the ledger. */
export interface Progress {
  readonly pushed: number;
  readonly pending: number;
  readonly lastReady: number;
  readonly batchStart: number;
  readonly batchesInFlight: number;
  readonly openBatch: boolean;
}

/**
 * Which tables under migration a session has touched in what has not ended yet: its transaction,
 * and the messages in flight. Sequence numbers are the ledger's.
 */
export class Touches {
  private readonly known = new Map<number, { first: number; last: number }>();
  /** Messages up to here were sent before the table had rules: they may touch it. */
  private readonly unknown = new Map<number, number>();

  mark(oids: readonly number[], seq: number): void {
    for (const oid of oids) {
      const touch = this.known.get(oid);
      if (touch) touch.last = seq;
      else this.known.set(oid, { first: seq, last: seq });
    }
  }

  /** Rules for these tables come in force; what was sent before was not looked at. */
  unknownBefore(oids: readonly number[], seq: number): void {
    for (const oid of oids) this.unknown.set(oid, seq);
  }

  get any(): boolean {
    return this.known.size > 0 || this.unknown.size > 0;
  }

  /** Tables that messages after this one touch, without those that may be touched. */
  since(seq: number): readonly number[] {
    let found: number[] | null = null;
    for (const [oid, { last }] of this.known) {
      if (last <= seq) continue;
      found ??= [];
      found.push(oid);
    }
    return found ?? NONE;
  }

  /** Whether something that has not ended touches a table of `oids`, or may. */
  touching(oids: Iterable<number>): boolean {
    for (const oid of oids) if (this.known.has(oid) || this.unknown.has(oid)) return true;
    return false;
  }

  /**
   * Whether the session has locks on the table, which it gives up only by going on: its present
   * batch or (when all is answered) its transaction has touched it.
   */
  goesOn(oid: number, progress: Progress, status: number): boolean {
    const touch = this.known.get(oid);
    if (!touch) return false;
    if (progress.openBatch && touch.last > progress.batchStart) return true;
    return progress.pending === 0 && status === IN_TRANSACTION;
  }

  /**
   * Whether a statement is in flight that touches the table, or may, in a session that is not
   * bound to go on.
   */
  inFlight(oid: number, progress: Progress, status: number): boolean {
    const touch = this.known.get(oid);
    const last = Math.max(touch?.last ?? 0, this.unknown.get(oid) ?? 0);
    if (last <= progress.lastReady) return false;
    if (touch && progress.batchesInFlight <= 1 && status === IN_TRANSACTION) {
      if (touch.first <= progress.lastReady) return false;
    }
    return last <= progress.batchStart || (touch?.last ?? 0) < last;
  }

  /** A transaction or a part of it has ended, by the tag of the message `seq`. */
  released(seq: number): void {
    this.forget(seq - 1);
  }

  /** ReadyForQuery came, for the message `seq`. */
  ready(seq: number, status: number): void {
    if (status === IDLE) this.forget(seq);
  }

  private forget(upTo: number): void {
    for (const [oid, touch] of this.known) {
      if (touch.last <= upTo) this.known.delete(oid);
      else if (touch.first <= upTo) touch.first = touch.last;
    }
    for (const [oid, seq] of this.unknown) if (seq <= upTo) this.unknown.delete(oid);
  }
}
