import type { Rewrite, StatementRewriter } from '../sql/outcome.js';
import type { SqlCommand } from './command.js';
import { CopyIn } from './copy-in.js';
import { PASS, TAKE, type Verdict, WAIT } from './frames.js';
import type { GateView } from './gate.js';
import { CLOSE, type Kind, type LedgerListener, PARSE } from './kinds.js';
import { Latencies, Waits } from './latencies.js';
import { IDLE, Ledger } from './ledger.js';
import { type Ending, Errand, Lookup } from './lookup.js';
import { Portals } from './portals.js';
import { Retained } from './replay.js';
import { Resolver } from './resolve.js';
import { SchemaWatch, type SharedSchema } from './schema.js';
import { type Convert, conversions, readResultFormats } from './shape.js';
import { Witness } from './sightings.js';
import { Closing, type HiddenEffect, Statement, StatementTable } from './statements.js';
import { Touches } from './touches.js';

/** Tags of commands after which the server has committed, or is within an explicit transaction. */
const COMMITS_AT_ONCE =
  /^(BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PREPARE TRANSACTION|DISCARD ALL|VACUUM)/;

/** A text that was sent in place of the client's, for the positions in errors. */
export class Replaced {
  constructor(
    readonly original: Buffer,
    readonly rewrite: Rewrite,
    readonly rewriter: StatementRewriter,
  ) {}
}

/**
 * A text that fails for certain was sent; its error is replaced by the refusal.
 * @param lead how many characters of ours stand before the client's text, if that is sent, too.
 */
export class Refused {
  constructor(
    readonly refusal: { message: string; hint: string; routine?: string },
    readonly statement: Statement | null,
    readonly lead = 0,
  ) {}
}

/**
 * An Execute whose rows are turned into what the client was told of the statement.
 * @param columns null: it cannot be done.
 */
export class Converted {
  constructor(
    readonly statement: Statement,
    readonly columns: readonly (Convert | null)[] | null,
  ) {}
}

/**
 * A step of preparing a statement again under the hood.
 * @param effect whether, when it succeeds, the server has the statement no more, or again.
 */
export class Hidden {
  constructor(
    readonly statement: Statement,
    readonly effect: HiddenEffect,
  ) {}
}

/** A PREPARE or DEALLOCATE in SQL: its tag says that it has been run. */
export class SqlChange {
  constructor(readonly change: Statement | Closing) {}
}

/** What a ledger entry knows beside its kind. */
export type Side =
  | Statement
  | Closing
  | Replaced
  | Refused
  | Hidden
  | SqlChange
  | Errand
  | Converted;

/** Why the client's next message waits. */
export type Waiting = 'settle' | 'lookup' | 'hold' | 'replay' | null;

/** All that is known of one session's conversation. Pure: it sees messages, not sockets. */
export class Dialogue implements LedgerListener<Side>, GateView {
  readonly ledger = new Ledger<Side>(this);
  readonly statements: StatementTable;
  readonly resolver = new Resolver();
  readonly touches = new Touches();
  readonly schema: SchemaWatch;
  readonly retained: Retained;
  /** Whose session it is. */
  readonly witness: Witness;
  readonly copyIn = new CopyIn();
  /** What the portals were bound from, while rules are in force. */
  readonly portals = new Portals();
  /** Those of them whose rows have to be converted. */
  readonly converted = new Map<string, Converted>();
  /** Those that are a COPY whose rows are changed, as they were bound. */
  readonly copies = new Map<string, Replaced>();
  /** The client has described a statement: its Binds are read whole. */
  describes = false;
  /** The named statement of the Bind that came last. */
  lastBound: Statement | undefined;
  status = 0;
  /** Rules have been in force during this session: Bind and its kin are looked at. */
  attentive: boolean;
  /** How often the session has been outside a transaction at a ReadyForQuery. */
  idleCount = 0;
  /** A cursor may be open in this transaction. */
  cursor = false;
  /** The client's batch has failed in the proxy: its messages are thrown away until Sync. */
  skipping = false;
  lookup: Errand | null = null;
  waiting: Waiting = null;

  /** When its server was started, as that has said; null: not asked yet. */
  private started: string | null = null;
  /** How long requests take that touch tables under migration, of all sessions. */
  readonly latencies: Latencies;
  readonly waits = new Waits();

  constructor(
    limits: { statementBytes: number; replayBytes: number },
    attentive: boolean,
    private readonly shared: SharedSchema & {
      seen?: { latencies: Latencies };
      started?: string | null;
    },
    user = '',
  ) {
    this.witness = new Witness(user);
    this.statements = new StatementTable(limits.statementBytes);
    this.retained = new Retained(limits.replayBytes);
    this.schema = new SchemaWatch(shared);
    this.latencies = shared.seen?.latencies ?? new Latencies();
    this.attentive = attentive;
  }

  /** A Bind is being sent; what follows its two names is at `at`. */
  bound(portal: string, statement: Statement | undefined, buf: Buffer, at: number, end: number) {
    this.portals.set(portal, statement);
    if (this.converted.size > 0) this.converted.delete(portal);
    if (this.copies.size > 0) this.copies.delete(portal);
    if (statement?.rewrite?.copies && statement.rewriter) {
      const { text, rewrite, rewriter } = statement;
      this.copies.set(portal, new Replaced(Buffer.from(text ?? '', 'latin1'), rewrite, rewriter));
    }
    if (!statement || statement.now === null || statement.now === statement.told) return;
    const formats = readResultFormats(buf, at, end);
    const columns = formats && conversions(statement.told ?? '', statement.now, formats);
    if (columns?.every((column) => column === null)) return;
    this.converted.set(portal, new Converted(statement, columns));
  }

  /** What a PREPARE or DEALLOCATE that is being run changes. */
  changeBy(command: SqlCommand, plan: string | null, epoch: number): Statement | Closing | null {
    if (command.deallocates !== null) return new Closing(command.deallocates);
    if (!command.prepares) return null;
    const { name, prefix, body } = command.prepares;
    const statement = this.statements.make(name, body, '', epoch, prefix);
    statement.schema = this.schema.version;
    statement.plan = plan;
    return statement;
  }

  /** All data of a COPY goes as it is. */
  get copyPasses(): boolean {
    return this.retained.seq === 0 && !this.copyIn.watching;
  }

  /** What becomes of the client's data: whose it is, is known when all before it is answered. */
  copyData(): Verdict {
    const { copyIn, ledger, retained } = this;
    if (!copyIn.isActive) {
      return ledger.pending === 0 || ledger.copyOpen || ledger.skipping ? PASS : WAIT;
    }
    retained.clear();
    return TAKE;
  }

  /** A portal is being described: the client will know what its rows are, and remember it. */
  describesPortal(portal: string): Statement | undefined {
    if (this.converted.size > 0) this.converted.delete(portal);
    const statement = this.lastBound;
    if (statement?.now) statement.told = statement.now;
    return statement;
  }

  answered(kind: Kind, side: Side): void {
    if (side instanceof Errand) this.errandEnded(side, 'answered', kind);
    else if (side instanceof Hidden) side.statement.stepped(side.effect);
    else if (kind === PARSE && side instanceof Statement) this.statements.done(side);
    else if (kind === CLOSE && side instanceof Closing) this.statements.done(side);
    else if (side instanceof SqlChange) this.statements.undone(side.change, false);
  }

  failed(kind: Kind, side: Side): void {
    this.notDone(kind, side, true);
  }

  dropped(kind: Kind, side: Side): void {
    this.notDone(kind, side, false);
  }

  private notDone(kind: Kind, side: Side, failed: boolean): void {
    if (side instanceof Errand) this.errandEnded(side, failed ? 'failed' : 'dropped', kind);
    else if (side instanceof Hidden) side.statement.stumbled(side.effect, failed);
    else if (side instanceof SqlChange) this.statements.undone(side.change, false);
    else if (kind === PARSE && side instanceof Statement) this.statements.undone(side, failed);
    else if (side instanceof Refused && side.statement) {
      this.statements.undone(side.statement, failed);
    } else if (side instanceof Closing) this.statements.undone(side, failed);
  }

  private errandEnded(errand: Errand, how: Ending, kind: Kind): void {
    errand.ended(how, kind);
    if (!(errand instanceof Lookup) || !errand.done || errand.failed || errand.dropped) return;
    this.resolver.learn(errand.names, errand.row, errand.relations);
    this.started = errand.row[2] ?? null;
  }

  get isElsewhere(): boolean {
    const wanted = this.shared.started ?? null;
    return wanted !== null && this.started !== null && this.started !== wanted;
  }

  /** Whether a portal may be alive that was made before now. */
  get livePortals(): boolean {
    return this.ledger.namedPortal || this.ledger.unnamedPortal || this.cursor;
  }

  /** Nothing of the client's is under way: what fails now has had no effect. */
  get isFresh(): boolean {
    return this.ledger.pending === 0 && !this.ledger.openBatch && this.status === IDLE;
  }

  /** Nothing is under way, and no transaction is open. */
  get isIdle(): boolean {
    const { ledger, status, waiting } = this;
    return ledger.pending === 0 && !ledger.openBatch && status === IDLE && waiting === null;
  }

  /**
   * While it is idle: a number that is another one the next time that it is.
   * @param within the client is in the middle of a message: one that begins a batch and does not
   *   end is idleness, to the server too.
   */
  idleMark(within: boolean): number | null {
    const { pending, answered, lastReady, pushed } = this.ledger;
    const begun = within && pending === 1 && answered === lastReady && this.status === IDLE;
    return this.isIdle || (begun && this.waiting === null) ? pushed : null;
  }

  /** A CommandComplete of the client's has come, and is in the ledger. */
  ended(tag: string): void {
    if (this.attentive && COMMITS_AT_ONCE.test(tag)) this.ledger.committed();
  }

  /** A CommandComplete of the client's has come, and is not in the ledger yet. */
  tagged(tag: string): void {
    if (tag === 'PREPARE') this.prepared();
    else if (tag.startsWith('DEALLOCATE') || tag.startsWith('DISCARD')) this.deallocated(tag);
    else if (tag === 'DECLARE CURSOR') this.cursor = true;
    else if (this.touches.any && (tag === 'COMMIT' || tag === 'ROLLBACK')) {
      this.touches.released(this.ledger.answered + 1);
    }
    this.schema.tagged(tag);
    if (!this.attentive) return;
    this.resolver.tagged(tag);
  }

  private prepared(): void {
    const side = this.ledger.headSide;
    if (side instanceof SqlChange) this.statements.done(side.change);
    else this.statements.preparedUnknown();
  }

  private deallocated(tag: string): void {
    const side = this.ledger.headSide;
    if (tag === 'DEALLOCATE') {
      if (side instanceof SqlChange) this.statements.done(side.change);
      else this.statements.deallocatedOne();
    } else if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') this.statements.deallocatedAll();
  }

  /** A ReadyForQuery has come, and the ledger knows. */
  ready(status: number): void {
    this.status = status;
    if (this.copyIn.rows) this.copyIn.over();
    if (this.touches.any) this.touches.ready(this.ledger.lastReady, status);
    if (this.schema.isChanged) this.schema.ready(status, this.ledger.pending === 0);
    const { retained } = this;
    if (retained.seq > 0 && !retained.replaying && this.ledger.pending === 0) retained.done();
    if (status === IDLE) {
      this.idleCount++;
      this.cursor = false;
      if (this.ledger.pending === 0) {
        this.portals.clear();
        if (this.converted.size > 0) this.converted.clear();
        if (this.copies.size > 0) this.copies.clear();
      }
    }
    if (this.attentive) this.resolver.ready(status, this.ledger.pending === 0);
  }
}
