import type { Metrics } from '../metrics/registry.js';
import type { Rewrite } from '../sql/outcome.js';
import { type Dialogue, Hidden, Refused, Replaced } from './dialogue.js';
import {
  DROP,
  FAIL,
  FrameReader,
  type FrameSink,
  HOLD,
  PASS,
  type Verdict,
  WAIT,
} from './frames.js';
import { AS_IS, type Control, type Decision, decide } from './gate.js';
import {
  BIND,
  CLOSE,
  COPY_END,
  DESCRIBE_PORTAL,
  DESCRIBE_STATEMENT,
  EXECUTE,
  FORWARD,
  FUNCTION_CALL,
  PARSE,
  QUERY,
  SWALLOW,
  SYNC,
} from './ledger.js';
import type { Limits } from './limits.js';
import { Lookup, OWN_NAME } from './lookup.js';
import {
  cString,
  FLUSH,
  FRONTEND,
  readParse,
  STATEMENT,
  SYNC as SYNC_MESSAGE,
  writeParse,
  writeQuery,
} from './messages.js';
import {
  decideUse,
  isReplaced,
  markRight,
  prepareAgain,
  REFUSED_TEXT,
  type UseDecision,
} from './prepare.js';
import { endsTransaction, mayChangeNames } from './resolve.js';
import { STALE } from './shape.js';
import { Closing, type Statement } from './statements.js';

/** The longest message but Query, Parse, Bind, CopyData and FunctionCall, as the server has it. */
const SMALL_MESSAGE = 10_004;
const LARGE_MESSAGE = 0x3fffffff;

const SETTLE = { step: 'settle' } as const;

/** What a client's messages lead to. Pure: the session writes what the reader collects. */
export class Frontend implements FrameSink {
  readonly reader = new FrameReader(this);
  /** The client has said good-bye. */
  terminated = false;
  /** The ledger's `pushed` when a Flush was sent for the present wait. */
  private flushedAt = -1;

  constructor(
    private readonly d: Dialogue,
    private readonly control: Control,
    private readonly limits: Limits,
    private readonly metrics: Metrics,
  ) {}

  valid(type: number, length: number): boolean {
    if (length < 4 || length > LARGE_MESSAGE) return false;
    const small = type === FRONTEND.describe || type === FRONTEND.close;
    return !((small || type === FRONTEND.execute) && length > SMALL_MESSAGE);
  }

  holdBytes(type: number): number {
    if (type === FRONTEND.query || type === FRONTEND.parse) return this.limits.parseBytes;
    if (type !== FRONTEND.bind) return SMALL_MESSAGE + 1;
    return this.d.describes ? this.limits.parseBytes : this.limits.bindPrefixBytes;
  }

  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    d.waiting = null;
    if (d.skipping) {
      if (type === FRONTEND.terminate) return PASS;
      if (type !== FRONTEND.sync) return DROP;
      d.skipping = false;
    }
    if (d.ledger.pending > this.limits.unanswered) return FAIL;
    if (d.lookup?.done) {
      const { failed, synced } = d.lookup;
      d.lookup = null;
      if (failed) return this.afterFailedLookup(type === FRONTEND.query, synced);
    }
    switch (type) {
      case FRONTEND.query:
        return this.query(length, buf, at, end);
      case FRONTEND.parse:
        return at < 0 ? HOLD : this.parse(length, buf, at, end);
      case FRONTEND.bind:
        return this.bind(buf, at, end);
      case FRONTEND.execute:
        return at < 0 ? HOLD : this.execute(buf, at, end);
      case FRONTEND.describe:
        return at < 0 ? HOLD : this.describe(buf, at, end);
      case FRONTEND.close:
        return at < 0 ? HOLD : this.close(buf, at, end);
      case FRONTEND.sync:
        d.resolver.syncs();
        d.ledger.push(SYNC);
        return PASS;
      case FRONTEND.functionCall:
        d.resolver.ran(true, false);
        d.ledger.push(FUNCTION_CALL);
        return PASS;
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        d.ledger.push(COPY_END);
        return PASS;
      case FRONTEND.terminate:
        this.terminated = true;
        return PASS;
      default:
        return PASS;
    }
  }

  private query(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    if (!this.control.force.rewriter) {
      d.ledger.push(QUERY);
      return PASS;
    }
    if (at < 0) return HOLD;
    if (d.ledger.skipping || d.ledger.copyOpen) return PASS;
    const whole = end - at === length - 4 && length <= this.limits.parseBytes;
    const nul = buf.indexOf(0, at);
    if (whole && nul !== end - 1) {
      // The server refuses it as malformed, and runs no part of it.
      d.ledger.push(QUERY);
      return PASS;
    }
    const text = whole ? buf.subarray(at, end - 1) : null;
    const decision = decide(text, 'too-large', d, this.control);
    if (decision.step !== 'send') return this.wait(decision, true);
    const latin1 = text && d.resolver.plain ? text.toString('latin1') : null;
    d.resolver.runs(latin1);
    this.count(decision.rewrite, decision.touches, decision.reason);
    d.touches.mark(decision.touches, d.ledger.pushed + 1);
    return this.sendQuery(text, decision.rewrite);
  }

  private sendQuery(text: Buffer | null, rewrite: Rewrite | null): Verdict {
    const { ledger } = this.d;
    if (rewrite?.refusal) {
      this.reader.emit(writeQuery(REFUSED_TEXT));
      ledger.push(QUERY, FORWARD, new Refused(rewrite.refusal, null));
      return DROP;
    }
    if (text && isReplaced(rewrite)) {
      this.reader.emit(writeQuery(rewrite.text));
      const { rewriter } = this.control.force;
      ledger.push(QUERY, FORWARD, new Replaced(Buffer.from(text), rewrite, rewriter!));
      return DROP;
    }
    ledger.push(QUERY);
    return PASS;
  }

  private parse(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    if (d.ledger.skipping || d.ledger.copyOpen) return PASS;
    const whole = end - at === length - 4 && length <= this.limits.parseBytes;
    const body = whole ? readParse(buf, at, end) : null;
    const name = body ? body.name : cString(buf, at, end);
    if (name === null || (whole && !body)) {
      d.ledger.push(PARSE);
      return PASS;
    }
    const { epoch } = this.control.force;
    const statement = d.statements.make(name, body?.text ?? null, body?.types ?? '', epoch);
    if (!this.control.force.rewriter) return this.sendParse(statement);
    const start = at + name.length + 1;
    const text = body ? buf.subarray(start, start + body.text.length) : null;
    const decision = decide(text, 'too-large', d, this.control);
    if (decision.step !== 'send') return this.wait(decision, false);
    const { rewrite, touches, reason } = decision;
    this.count(rewrite, touches, reason);
    d.touches.mark(touches, d.ledger.pushed + 1);
    if (rewrite?.refusal) {
      this.reader.emit(writeParse(name, REFUSED_TEXT, statement.types));
      d.ledger.push(PARSE, FORWARD, new Refused(rewrite.refusal, statement));
      return DROP;
    }
    // A text that went by without a look in a failed transaction is looked at before its use.
    if (reason === null && decision !== AS_IS) {
      const key = this.control.force.touchKey(touches);
      markRight(statement, { rewrite, touches, key, reason }, d, this.control);
    }
    if (isReplaced(rewrite)) {
      this.reader.emit(writeParse(name, rewrite.text, statement.types));
      this.sendParse(statement);
      return DROP;
    }
    return this.sendParse(statement);
  }

  private sendParse(statement: Statement): Verdict {
    this.d.statements.sent(statement, this.d.ledger.pushed + 1);
    this.d.ledger.push(PARSE, FORWARD, statement);
    return PASS;
  }

  private bind(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    if (at < 0) return HOLD;
    const portal = cString(buf, at, end);
    const name = portal === null ? null : cString(buf, at + portal.length + 1, end);
    if (portal === null || name === null) return FAIL;
    const statement = d.statements.find(name);
    d.lastBound = name === '' ? undefined : statement;
    if (!d.attentive) {
      d.ledger.push(BIND, FORWARD, undefined, portal !== '');
      return PASS;
    }
    const waits = this.use(name, statement);
    if (waits !== PASS) return waits;
    d.bound(portal, statement, buf, at + portal.length + name.length + 2, end);
    d.ledger.push(BIND, FORWARD, statement?.rewrite ? statement : undefined, portal !== '');
    return PASS;
  }

  private describe(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const name = cString(buf, at + 1, end);
    if (buf[at] !== STATEMENT) {
      d.ledger.push(DESCRIBE_PORTAL, FORWARD, d.describesPortal(name ?? ''));
      return PASS;
    }
    const statement = name === null ? undefined : d.statements.find(name);
    if (d.attentive && name !== null) {
      const waits = this.use(name, statement);
      if (waits !== PASS) return waits;
    }
    if (statement?.now) statement.told = statement.now;
    d.ledger.push(DESCRIBE_STATEMENT, FORWARD, statement);
    return PASS;
  }

  /** Makes sure that the server has a statement as the rules want it. PASS: the message may go. */
  private use(name: string, statement: Statement | undefined): Verdict {
    const { d } = this;
    if (d.ledger.skipping || d.ledger.copyOpen) return PASS;
    if (d.statements.isUnsure(name, d.ledger.batchStart)) return this.wait(SETTLE, false);
    const decision: UseDecision = statement
      ? decideUse(statement, d, this.control)
      : decide(null, 'unknown-statement', d, this.control);
    const seq = d.ledger.pushed + 1;
    switch (decision.step) {
      case 'send':
        if (!statement) this.count(null, decision.touches, decision.reason);
        d.touches.mark(decision.touches, seq);
        return PASS;
      case 'prepare': {
        const { plan } = decision;
        this.count(plan.rewrite, plan.touches, plan.reason);
        this.metrics.count('pgtandem_reprepared_total', {});
        const { bytes, steps } = prepareAgain(statement!, plan);
        markRight(statement!, plan, d, this.control);
        statement!.unconfirmed = true;
        this.reader.emit(bytes);
        for (const [kind, effect] of steps) {
          d.ledger.push(kind, SWALLOW, new Hidden(statement!, effect));
        }
        d.touches.mark(plan.touches, seq);
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

  /** Lets the server fail before the client's message, which it then drops like all up to Sync. */
  private refuse(refusal: Refused['refusal']): void {
    this.reader.emit(writeParse(OWN_NAME, REFUSED_TEXT, ''));
    this.d.ledger.push(PARSE, SWALLOW, new Refused(refusal, null));
  }

  private execute(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const named = buf[at] !== 0;
    const { force } = this.control;
    const portal = cString(buf, at, end);
    const converted = d.converted.get(portal ?? '');
    if (converted?.columns === null && !d.ledger.skipping) this.refuse(STALE);
    if (!force.rewriter || d.ledger.skipping) {
      d.ledger.push(EXECUTE, FORWARD, converted, named);
      return PASS;
    }
    const statement = portal === null ? undefined : d.portals.get(portal);
    // A portal from before the rules, or a cursor of SQL: nothing is known of it.
    const text = d.resolver.plain && statement ? statement.text : null;
    if (statement && text !== null) {
      statement.suspect ??= mayChangeNames(text);
      d.resolver.ran(statement.suspect, endsTransaction(text));
    } else d.resolver.ran(true, true);
    d.touches.mark(statement ? statement.touches : force.oids, d.ledger.pushed + 1);
    const side = converted ?? (statement?.rewrite ? statement : undefined);
    d.ledger.push(EXECUTE, FORWARD, side, named);
    return PASS;
  }

  private close(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const name = cString(buf, at + 1, end);
    if (buf[at] !== STATEMENT || name === null) {
      d.ledger.push(CLOSE);
      return PASS;
    }
    const closing = new Closing(name);
    if (!d.ledger.skipping) d.statements.sent(closing, d.ledger.pushed + 1);
    d.ledger.push(CLOSE, FORWARD, closing);
    return PASS;
  }

  /** Starts what a decision waits for. */
  private wait(decision: Exclude<Decision, { step: 'send' }>, forQuery: boolean): Verdict {
    const { d } = this;
    if (decision.step === 'lookup') this.ask(forQuery);
    else if (decision.step === 'settle') this.flush();
    d.waiting = decision.step;
    return WAIT;
  }

  /** Within a batch the server keeps its answers until it is told to send them. */
  private flush(): void {
    const { ledger } = this.d;
    if (!ledger.openBatch || this.flushedAt === ledger.pushed) return;
    this.flushedAt = ledger.pushed;
    this.reader.emit(FLUSH);
  }

  private ask(forQuery: boolean): void {
    const { d } = this;
    const { names } = this.control.force.rewriter!;
    const lookup = new Lookup(names, d.ledger.harmlessSync(d.status, forQuery), forQuery);
    d.lookup = lookup;
    this.reader.emit(lookup.bytes);
    for (const kind of lookup.kinds) d.ledger.push(kind, SWALLOW, lookup);
  }

  /**
   * The client has been told the error of our lookup as the answer to its message, which is not
   * sent. What is left is to bring the rest of the batch to where the client believes it is.
   */
  private afterFailedLookup(query: boolean, synced: boolean): Verdict {
    if (!query) this.d.skipping = synced;
    else if (!synced) {
      // The ReadyForQuery that the client waits for; the server has rolled back already.
      this.reader.emit(SYNC_MESSAGE);
      this.d.ledger.push(SYNC);
    }
    return DROP;
  }

  private count(rewrite: Rewrite | null, touches: readonly number[], reason: string | null): void {
    if (touches.length === 0 && (!rewrite || rewrite.outcome === 'unchanged')) return;
    const outcome = rewrite ? rewrite.outcome : 'guarded';
    this.metrics.count('pgtandem_statements_total', { outcome });
    if (outcome !== 'guarded') return;
    const why = reason ?? rewrite?.reason ?? 'unknown';
    this.metrics.count('pgtandem_guarded_total', { reason: why });
  }
}
