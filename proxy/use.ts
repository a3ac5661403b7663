import type { Metrics } from '../metrics/registry.js';
import type { Rewrite } from '../sql/outcome.js';
import { type Dialogue, Hidden, Refused } from './dialogue.js';
import { DROP, type FrameReader, HOLD, PASS, type Verdict, WAIT } from './frames.js';
import { type Control, type Decision, decide } from './gate.js';
import { CLOSE, PARSE, QUERY, SYNC } from './kinds.js';
import { FORWARD, SWALLOW } from './ledger.js';
import { isAnswered } from './lengths.js';
import { CopyProbe, type Errand, Lookup, OWN_NAME } from './lookup.js';
import {
  FLUSH,
  FRONTEND,
  SYNC as SYNC_BYTES,
  writeClose,
  writeParse,
  writeQuery,
} from './messages.js';
import {
  decideUse,
  isFailed,
  markRight,
  type Plan,
  Preparation,
  prepareAgain,
  reserveName,
  type UseDecision,
} from './prepare.js';
import type { Statement } from './statements.js';

/**
 * A text that fails at parse analysis whatever the database holds, and in a failed transaction
 * with 25P02 like any other: that is why it is not a syntax error.
 */
export const REFUSED_TEXT = 'SELECT "pgtandem: statement refused, see the error of the client"';
/**
 * Before a text of which only the server may know what it is. It parses all of it first, and says what
 * is wrong with that; and it fails at the first statement, so that nothing of the rest is run.
 */
export const REFUSED_FIRST = Buffer.from(`${REFUSED_TEXT};`);
/** SQLSTATE undefined_column, with which it fails. */
export const REFUSED_CODE = '42703';

/** What has to stand in a text that can take or give back the name of a statement. */
const NAMES = /\b(prepare|deallocate)\b/i;
const SETTLE = { step: 'settle' } as const;

/** Makes sure that the server has a statement as it has to be, before a message that uses it. */
export class Use {
  /** The ledger's `pushed` when a Flush was sent for the present wait. */
  private flushedAt = -1;

  constructor(
    private readonly d: Dialogue,
    private readonly control: Control,
    private readonly metrics: Metrics,
    private readonly reader: Pick<FrameReader, 'emit'>,
  ) {}

  /**
   * Before a Bind or Describe. PASS: the message may go.
   * @param portal to which the statement is bound; null: it is a Describe.
   */
  inBatch(name: string, statement: Statement | undefined, portal: string | null): Verdict {
    for (const inner of statement?.command?.executes ?? []) {
      const waits = this.one(inner, this.d.statements.find(inner), portal);
      if (waits !== PASS) return waits;
    }
    return this.one(name, statement, portal);
  }

  private one(name: string, statement: Statement | undefined, portal: string | null): Verdict {
    const { d } = this;
    const runs = portal !== null;
    if (d.ledger.skipping || d.ledger.copyOpen) return PASS;
    if (this.isUnsettled(name, statement)) return this.wait(SETTLE, false);
    // What has no result is described even then, and so is what is empty.
    if (statement?.missing && !runs && !statement.isReturning && isFailed(d)) {
      return this.reserve(statement, false);
    }
    const decision: UseDecision = statement
      ? decideUse(statement, d, this.control)
      : decide(null, 'unknown-statement', d, this.control);
    const seq = d.ledger.pushed + 1;
    switch (decision.step) {
      case 'send':
        if (!statement) this.count(null, decision.touches, decision.reason);
        else if (runs) this.ran(statement);
        d.touches.mark(decision.touches, seq);
        return PASS;
      case 'prepare': {
        const taken = d.livePortals ? (portal ?? '') : '';
        const { bytes, steps } = this.again(statement!, decision.plan, taken);
        this.reader.emit(bytes);
        for (const [kind, effect] of steps) {
          d.ledger.push(kind, SWALLOW, new Hidden(statement!, effect), true);
        }
        d.touches.mark(decision.plan.touches, seq);
        if (runs && statement!.told === null) this.ran(statement!);
        // What it gives now has to be known before its rows are asked for.
        return statement!.told === null ? PASS : this.wait(SETTLE, false);
      }
      case 'refuse':
        // Under a name of our own, so that the client's statement stays what it was.
        this.count(decision.rewrite, decision.rewrite.touches, null);
        this.refuse(decision.refusal);
        return PASS;
      default:
        return this.wait(decision, false);
    }
  }

  /**
   * Before a Parse. Where the server has lost the statement of this name, since it was to be
   * prepared again and could not, it is given an empty one: the name is taken, and it says so.
   */
  beforeParse(name: string): Verdict {
    const old = name === '' ? undefined : this.d.statements.find(name);
    return old ? this.reserve(old, false) : PASS;
  }

  /**
   * Before what may be PREPARE or DEALLOCATE of any name, alone or among other statements.
   * @param text as bytes in latin1; null: it is not known.
   * @param inQuery in a simple Query, and not in the portal of an Execute.
   */
  beforeNames(text: string | null, inQuery: boolean): Verdict {
    const { ledger, statements } = this.d;
    if (text !== null && !NAMES.test(text)) return PASS;
    for (const old of statements.lost) {
      if (old.name === '') continue;
      if (statements.isUnsure(old.name, ledger.batchStart)) return this.wait(SETTLE, inQuery);
      if (statements.find(old.name) !== old) continue;
      const waits = this.reserve(old, inQuery);
      if (waits !== PASS) return waits;
    }
    return PASS;
  }

  /** Takes the name of a statement on the server, if that has lost it. */
  private reserve(old: Statement, inQuery: boolean): Verdict {
    const { ledger, status } = this.d;
    if (old.unconfirmed && ledger.pending > 0) return this.wait(SETTLE, inQuery);
    if (!old.lost) return PASS;
    const { bytes, steps } = reserveName(old);
    old.unconfirmed = true;
    if (inQuery) {
      this.send(new Preparation(old, { bytes, steps }, ledger.harmlessSync(status, true)));
      this.d.waiting = 'lookup';
      return WAIT;
    }
    this.reader.emit(bytes);
    for (const [kind, effect] of steps) ledger.push(kind, SWALLOW, new Hidden(old, effect), true);
    return PASS;
  }

  /**
   * Before a Parse that is refused: lets the server parse a text of which only it may know what it is, and
   * which nothing can bind. An error about that is the client's.
   */
  parseFirst(name: string, text: Buffer, refused: Refused): void {
    const { ledger } = this.d;
    this.reader.emit(writeParse(name, text, refused.statement?.types ?? ''));
    ledger.push(PARSE, SWALLOW, refused);
    if (name === '') return;
    this.reader.emit(writeClose('S', name));
    ledger.push(CLOSE, SWALLOW, undefined, true);
  }

  /** Lets the server fail before the client's message, which it then drops like all up to Sync. */
  refuse(refusal: Refused['refusal']): void {
    this.reader.emit(writeParse(OWN_NAME, REFUSED_TEXT, ''));
    this.d.ledger.push(PARSE, SWALLOW, new Refused(refusal, null));
  }

  /**
   * Before a simple Query that has EXECUTE of this name in it. PASS: it may go; DROP: it was
   * refused, and is answered.
   * @param certain whether it is an EXECUTE, and not perhaps a string that looks like one.
   * @param text of the Query.
   */
  inQuery(name: string, certain: boolean, text: Buffer): Verdict {
    const { d } = this;
    const statement = d.statements.find(name);
    if (!statement && !certain) return PASS;
    if (this.isUnsettled(name, statement)) return this.wait(SETTLE, true);
    // Behind the end of the transaction, in the same Query, it may be run.
    if (statement?.missing && isFailed(d)) return this.reserve(statement, true);
    // What cannot be prepared again may be given another meaning first.
    if (statement?.missing && !certain && NAMES.test(text.toString('latin1'))) return PASS;
    const decision: UseDecision = statement
      ? decideUse(statement, d, this.control)
      : decide(null, 'unknown-statement', d, this.control);
    switch (decision.step) {
      case 'send':
        if (statement) this.ran(statement);
        else this.count(null, decision.touches, decision.reason);
        d.touches.mark(decision.touches, d.ledger.pushed + 1);
        return PASS;
      case 'prepare': {
        const again = this.again(statement!, decision.plan);
        this.send(new Preparation(statement!, again, d.ledger.harmlessSync(d.status, true)));
        d.waiting = 'lookup';
        return WAIT;
      }
      case 'refuse':
        this.count(decision.rewrite, decision.rewrite.touches, null);
        this.reader.emit(writeQuery(REFUSED_TEXT));
        d.ledger.push(QUERY, FORWARD, new Refused(decision.refusal, null));
        return DROP;
      default:
        return this.wait(decision, true);
    }
  }

  /** Whether what is in flight may change which statement it is, or what it gives. */
  private isUnsettled(name: string, statement: Statement | undefined): boolean {
    const { ledger, schema, statements } = this.d;
    if (statements.isUnsure(name, ledger.batchStart)) return true;
    return schema.open && ledger.pending > 0 && statement !== undefined && !statement.command;
  }

  private again(statement: Statement, plan: Plan, portal = ''): ReturnType<typeof prepareAgain> {
    this.count(plan.rewrite, plan.touches, plan.reason, 0);
    this.metrics.count('pgtandem_reprepared_total', {});
    const messages = prepareAgain(statement, plan, portal);
    markRight(statement, plan, this.d, this.control);
    statement.unconfirmed = true;
    return messages;
  }

  /**
   * Before a message that comes while only answers tell whether the server will read it, or while
   * `most` or more are not answered. PASS: it need not wait.
   */
  turn(type: number, most: number): Verdict {
    const { ledger } = this.d;
    if (ledger.isUnsure && isAnswered(type)) return this.untilSure();
    // What a COPY reads is not answered one by one.
    if (ledger.pending < most || ledger.copyOpen || type === FRONTEND.copyData) return PASS;
    return this.wait(SETTLE, false);
  }

  copyData(at: number): Verdict {
    const verdict = this.d.copyData();
    if (verdict !== WAIT) return verdict;
    return at < 0 ? HOLD : this.wait(SETTLE, false);
  }

  private untilSure(): Verdict {
    const { ledger } = this.d;
    if (!ledger.skipping) {
      this.flush(true);
      this.d.waiting = 'settle';
    } else {
      this.send(new CopyProbe(ledger.unentered));
      this.d.waiting = 'lookup';
    }
    return WAIT;
  }

  /** Starts what a decision waits for. */
  wait(decision: Exclude<Decision, { step: 'send' }>, forQuery: boolean): Verdict {
    const { d } = this;
    if (decision.step === 'lookup') {
      const { names } = this.control.force.rewriter!;
      const synced = d.ledger.harmlessSync(d.status, forQuery);
      this.send(new Lookup(names, decision.relations, synced, forQuery));
    } else if (decision.step === 'settle') this.flush();
    d.waiting = decision.step;
    return WAIT;
  }

  /** Within a batch the server keeps its answers until it is told to send them. */
  private flush(open = this.d.ledger.openBatch): void {
    const { ledger } = this.d;
    if (!open || this.flushedAt === ledger.pushed) return;
    this.flushedAt = ledger.pushed;
    this.reader.emit(FLUSH);
  }

  private send(errand: Errand): void {
    this.d.lookup = errand;
    this.reader.emit(errand.bytes);
    for (const kind of errand.kinds) this.d.ledger.push(kind, SWALLOW, errand, true);
  }

  /** A prepared statement is run. */
  private ran(statement: Statement): void {
    const { shape } = statement;
    if (shape) this.control.seen.see(this.d.witness, shape, 1);
    else if (statement.text === null) this.unknown(statement.touches, 'text-not-kept');
  }

  /** Of what is not known it may be that it names any column. */
  private unknown(touches: readonly number[], reason: string): void {
    const tables = this.control.force.observed(touches);
    if (tables.length > 0) this.control.seen.seeUnknown(this.d.witness, tables, reason);
  }

  /** @param uses how often it is run by this: 0 when it is only prepared. */
  count(
    rewrite: Rewrite | null,
    touches: readonly number[],
    reason: string | null,
    uses: 0 | 1 = 1,
  ): void {
    if (touches.length === 0 && (!rewrite || rewrite.outcome === 'unchanged')) return;
    if (rewrite?.shape) this.control.seen.see(this.d.witness, rewrite.shape, uses);
    else if (!rewrite && uses > 0) this.unknown(touches, reason ?? 'unknown');
    const outcome = rewrite ? rewrite.outcome : 'guarded';
    this.metrics.count('pgtandem_statements_total', { outcome });
    if (outcome !== 'guarded') return;
    const why = reason ?? rewrite?.reason ?? 'unknown';
    this.metrics.count('pgtandem_guarded_total', { reason: why });
  }

  /** Takes note of what was found out. @returns null: the message that waited is to be judged. */
  afterLookup(lookup: Errand, query: boolean): Verdict | null {
    const { d } = this;
    d.lookup = null;
    if (lookup.failed) return this.afterFailedLookup(query, lookup.synced);
    if (lookup instanceof CopyProbe) d.skipping = lookup.consumed(d.ledger.unentered);
    return null;
  }

  /**
   * The client has been told the error of our lookup as the answer to its message, which is not
   * sent. What is left is to bring the rest of the batch to where the client believes it is.
   */
  private afterFailedLookup(query: boolean, synced: boolean): Verdict {
    if (!query) this.d.skipping = synced;
    else if (!synced) {
      // The ReadyForQuery that the client waits for; the server has rolled back already.
      this.reader.emit(SYNC_BYTES);
      this.d.ledger.push(SYNC);
    }
    return DROP;
  }
}
