import type { Rewrite, Shape, StatementRewriter } from '../sql/outcome.js';
import { isReturning, type SqlCommand } from './command.js';

const UNKNOWN_TYPE = '\0\0\0\0';

/**
 * What a hidden step leads to when it succeeds: the server has the statement no more, or again, or
 * an empty one of its name.
 */
export type HiddenEffect = 'gone' | 'back' | 'reserved' | 'none';

/** One prepared statement of a session, as the client prepared it and as the server has it. */
export class Statement {
  /** Parameter types that the server told the client, in the form of `types`. */
  learnt = '';
  /** Types of the result's columns that a Describe has told the client, 4 bytes each. */
  told: string | null = null;
  /** The same as they are since it was prepared again; null: as they were told. */
  now: string | null = null;
  /** What was sent in place of the client's text; null: the text itself. */
  rewrite: Rewrite | null = null;
  /** What is recorded of it, as of `checked`. */
  shape: Shape | null = null;
  /** Who made `rewrite`. */
  rewriter: StatementRewriter | null = null;
  /** `Force.touchKey` under which the server has it; null: it has to be prepared again. */
  plan: string | null = '';
  /** The rules in force when `plan` was found right last, by identity. */
  checked: object | null = null;
  /** `Resolver.key` at that time; null when no name in it matters. */
  checkedKey: string | null = null;
  /** oids of tables under migration that it touches, as of `checked`. */
  touches: readonly number[] = [];
  /** The epoch in force when `plan` was found right last. */
  epoch: number;
  /** It is being prepared again, and the server has not answered. */
  unconfirmed = false;
  /** Sequence number of its Parse in the ledger. */
  seq = 0;
  /** An SQL DEALLOCATE went by that may have named it. */
  doubtful = false;
  /** Whether running it may change what names mean; undefined: not looked at yet. */
  suspect: boolean | undefined = undefined;
  /** Whether running it ends a transaction, or a part of one; undefined: not looked at yet. */
  ends: boolean | undefined = undefined;
  /** What its text does to other statements, or to what they give. */
  command: SqlCommand | null = null;
  /** `SchemaWatch.version` when it was sent, or found right last. */
  schema = 0;
  /** The server has lost it, and has an empty one of its name. */
  private reserved = false;
  private returning: boolean | undefined = undefined;

  /**
   * @param text as bytes in latin1; null when it was too large to keep.
   * @param types declared parameter types, 4 bytes each.
   * @param prefix of an SQL PREPARE, whose text is this and `text`; null: it came in a Parse.
   * @param losses the session's statements that the server has lost.
   */
  constructor(
    readonly name: string,
    readonly text: string | null,
    readonly types: string,
    epoch: number,
    readonly prefix: string | null,
    private readonly losses: Set<Statement>,
  ) {
    this.epoch = epoch;
  }

  /** Our Close went through and our Parse did not: the server has no such statement. */
  get lost(): boolean {
    return this.losses.has(this);
  }

  /** What the server has under its name, if anything, is not this. */
  get missing(): boolean {
    return this.reserved || this.lost;
  }

  /** Whether it may give rows, whose type a change of the schema changes. */
  get isReturning(): boolean {
    this.returning ??= this.text === null || isReturning(this.text);
    return this.returning;
  }

  /** The client knows what it gives. */
  get isTold(): boolean {
    return this.told !== null && this.now === null;
  }

  /** The types for preparing it again: the client's own, and what it was told where it left 0. */
  get typesForReparse(): string {
    let types = '';
    for (let i = 0; i < Math.max(this.types.length, this.learnt.length); i += 4) {
      const declared = this.types.slice(i, i + 4);
      const known = declared !== '' && declared !== UNKNOWN_TYPE;
      types += known ? declared : this.learnt.slice(i, i + 4) || UNKNOWN_TYPE;
    }
    return types;
  }

  /** A hidden step was answered. */
  stepped(effect: HiddenEffect): void {
    if (effect === 'none') return;
    this.reserved = effect === 'reserved';
    if (effect === 'gone') this.losses.add(this);
    else {
      this.losses.delete(this);
      this.doubtful = false;
      this.unconfirmed = false;
    }
  }

  /** A hidden step failed, or was dropped. */
  stumbled(effect: HiddenEffect, failed: boolean): void {
    this.plan = null;
    this.unconfirmed = false;
    // A failed Parse has cost the server its unnamed statement.
    if (failed && effect === 'back' && this.name === '') this.losses.add(this);
  }

  get bytes(): number {
    return (
      this.name.length +
      (this.text?.length ?? 0) +
      (this.prefix?.length ?? 0) +
      this.types.length +
      200
    );
  }
}

/** The wish to close a statement (Close, DEALLOCATE of its name), until it is answered. */
export class Closing {
  /** Sequence number of its message in the ledger. */
  seq = 0;

  constructor(readonly name: string) {}
}

/**
 * The prepared statements of one session. What the server has changes in the order of its replies;
 * `find` answers for a message that is sent now, after all those in flight.
 */
export class StatementTable {
  private unnamed: Statement | undefined;
  private readonly named = new Map<string, Statement>();
  /** The last message in flight about a name. */
  private readonly inFlight = new Map<string, Statement | Closing>();
  private readonly losses = new Set<Statement>();
  private held = 0;

  /** @param maxBytes of text that is kept. */
  constructor(private readonly maxBytes: number) {}

  /** Bytes kept, about. */
  get bytes(): number {
    return this.held;
  }

  get size(): number {
    return this.named.size + (this.unnamed ? 1 : 0);
  }

  /** Makes a statement for a Parse that is being sent; its text is left out when memory is full. */
  make(
    name: string,
    text: string | null,
    types: string,
    epoch: number,
    prefix: string | null = null,
  ): Statement {
    const fits = text !== null && this.held + text.length <= this.maxBytes;
    return new Statement(name, fits ? text : null, types, epoch, prefix, this.losses);
  }

  /** Those that the client has and the server does not, since they could not be prepared again. */
  get lost(): ReadonlySet<Statement> {
    return this.losses;
  }

  /** A Parse or Close is being sent, as message `seq` of the ledger. */
  sent(change: Statement | Closing, seq: number): void {
    change.seq = seq;
    this.inFlight.set(change.name, change);
  }

  /** It was answered. */
  done(change: Statement | Closing): void {
    if (change instanceof Statement) this.set(change);
    else this.remove(change.name);
    this.settle(change);
  }

  /** It failed, or was dropped. A failed Parse has cost the server its unnamed statement. */
  undone(change: Statement | Closing, failed: boolean): void {
    if (failed && change instanceof Statement && change.name === '') this.remove('');
    this.settle(change);
  }

  /** The statement that a message sent now will find under this name, as far as can be known. */
  find(name: string): Statement | undefined {
    const change = this.inFlight.size > 0 ? this.inFlight.get(name) : undefined;
    if (change) return change instanceof Statement ? change : undefined;
    return name === '' ? this.unnamed : this.named.get(name);
  }

  /**
   * Whether `find` may be wrong for a message of the batch that began after `batchStart`: if the
   * Parse or Close in flight of an earlier batch fails, the statement from before it is found.
   */
  isUnsure(name: string, batchStart: number): boolean {
    const change = this.inFlight.size > 0 ? this.inFlight.get(name) : undefined;
    return change !== undefined && change.seq <= batchStart;
  }

  /** The server has run a simple Query, which drops the unnamed statement. */
  queried(): void {
    if (this.unnamed) this.remove('');
  }

  /** DEALLOCATE ALL or DISCARD ALL has been run. (Only the unnamed statement outlives the former.) */
  deallocatedAll(): void {
    for (const statement of this.named.values()) {
      this.held -= statement.bytes;
      this.losses.delete(statement);
    }
    this.named.clear();
  }

  /** DEALLOCATE of one name has been run; its tag does not say which. */
  deallocatedOne(): void {
    for (const statement of this.named.values()) statement.doubtful = true;
  }

  /** A PREPARE has been run that was not read: it may have taken a name that was deallocated. */
  preparedUnknown(): void {
    for (const [name, statement] of this.named) if (statement.doubtful) this.remove(name);
  }

  private set(statement: Statement): void {
    this.remove(statement.name);
    if (statement.name === '') this.unnamed = statement;
    else this.named.set(statement.name, statement);
    this.held += statement.bytes;
  }

  private remove(name: string): void {
    const old = name === '' ? this.unnamed : this.named.get(name);
    if (!old) return;
    this.held -= old.bytes;
    this.losses.delete(old);
    if (name === '') this.unnamed = undefined;
    else this.named.delete(name);
  }

  private settle(change: Statement | Closing): void {
    if (this.inFlight.get(change.name) === change) this.inFlight.delete(change.name);
  }
}
