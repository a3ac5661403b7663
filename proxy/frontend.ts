import type { Metrics } from '../metrics/registry.js';
import type { Rewrite } from '../sql/outcome.js';
import { endsTransaction, mayChangeNames } from '../sql/steady.js';
import { leads, readCommand, readQuery } from './command.js';
import { type Dialogue, Refused, Replaced, SqlChange } from './dialogue.js';
import { DROP, FAIL, FrameReader, type FrameSink, HOLD, PASS, type Verdict } from './frames.js';
import { AS_IS, type Control, type Decision, decide } from './gate.js';
import {
  BIND,
  CLOSE,
  COPY_END,
  DESCRIBE_PORTAL,
  DESCRIBE_STATEMENT,
  EXECUTE,
  FUNCTION_CALL,
  type Kind,
  PARSE,
  QUERY,
  SYNC,
} from './kinds.js';
import { FORWARD, SWALLOW } from './ledger.js';
import { isClientLength, SMALL_MESSAGE } from './lengths.js';
import type { Limits } from './limits.js';
import {
  addQuery,
  cString,
  FRONTEND,
  readParse,
  STATEMENT,
  SYNC as SYNC_MESSAGE,
  writeParse,
  writeQuery,
} from './messages.js';
import type { Outbox } from './outbox.js';
import { isReplaced, markRight } from './prepare.js';
import { STALE } from './shape.js';
import { ShortNames } from './short-names.js';
import { Closing, type Statement } from './statements.js';
import { REFUSED_FIRST, REFUSED_TEXT, Use } from './use.js';

type Sent = Extract<Decision, { step: 'send' }>;

/** What a client's messages lead to. Pure: the session writes what the reader collects. */
export class Frontend implements FrameSink {
  readonly reader: FrameReader;
  private readonly use: Use;
  private readonly names = new ShortNames();

  constructor(
    private readonly d: Dialogue,
    private readonly control: Control,
    private readonly limits: Limits,
    metrics: Metrics,
    out?: Outbox,
  ) {
    this.reader = new FrameReader(this, out);
    this.use = new Use(d, control, metrics, this.reader);
  }

  valid(type: number, length: number): boolean {
    return isClientLength(type, length);
  }

  steady(type: number): boolean {
    return type === FRONTEND.copyData && this.d.copyPasses;
  }

  holdBytes(type: number): number {
    if (type === FRONTEND.query || type === FRONTEND.parse) return this.limits.parseBytes;
    if (type !== FRONTEND.bind) return SMALL_MESSAGE + 1;
    return this.d.describes ? this.limits.parseBytes : this.limits.bindPrefixBytes;
  }

  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    const verdict = this.judge(type, length, buf, at, end);
    if (this.d.retained.seq > 0 && (verdict === PASS || verdict === DROP)) {
      if (at < 0 || end - at !== length - 4) this.d.retained.clear();
      else this.d.retained.add(buf, at - 5, end, type);
    }
    return verdict;
  }

  private judge(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    d.waiting = null;
    if (d.lookup?.done) {
      const verdict = this.use.afterLookup(d.lookup, type === FRONTEND.query);
      if (verdict !== null) return verdict;
    }
    if (d.skipping) {
      if (type === FRONTEND.terminate) return PASS;
      if (type !== FRONTEND.sync) return DROP;
      d.skipping = false;
    }
    if (d.ledger.isUnsure || d.ledger.pending >= this.limits.unanswered) {
      const waits = end < 0 ? HOLD : this.use.turn(type, this.limits.unanswered);
      if (waits !== PASS) return waits;
    }
    switch (type) {
      case FRONTEND.query:
        return this.query(length, buf, at, end);
      case FRONTEND.parse:
        return at < 0 ? HOLD : this.parse(length, buf, at, end);
      case FRONTEND.bind:
        return this.bind(length, buf, at, end);
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
      case FRONTEND.copyData:
        return d.copyIn.watching ? this.use.copyData(at) : PASS;
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        if (d.copyIn.isActive) d.copyIn.ends(type === FRONTEND.copyDone, this.reader.tail);
        d.ledger.push(COPY_END);
        return PASS;
      default:
        return PASS;
    }
  }

  /** It does nothing that matters, or the server throws it away, or ends the session for it. */
  private passBy(kind: Kind): Verdict {
    this.d.ledger.push(kind);
    return PASS;
  }

  body(buf: Buffer, from: number, to: number): void {
    this.d.copyIn.take(buf, from, to, this.reader.tail);
  }

  private query(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const { rewriter } = this.control.force;
    // The part of the text that is here; a header that came in pieces has none.
    const from = at >= 0 ? at : end - length + 4;
    const led = end < 0 || leads(buf, from, Math.min(end, buf.length));
    const watched = d.schema.active && d.statements.size > 0;
    const { lost } = d.statements;
    if (!rewriter && !led && !watched && lost.size === 0) return this.passBy(QUERY);
    if (at < 0) return HOLD;
    if (d.ledger.skipping || d.ledger.copyOpen) return this.passBy(QUERY);
    const whole = end - at === length - 4 && length <= this.limits.parseBytes;
    const nul = buf.indexOf(0, at);
    // The server refuses it as malformed, and runs no part of it.
    if (whole && nul !== end - 1) return this.passBy(QUERY);
    const text = whole ? buf.subarray(at, end - 1) : null;
    if (lost.size > 0) {
      const waits = this.use.beforeNames(text?.toString('latin1') ?? null, true);
      if (waits !== PASS) return waits;
    }
    const fresh = this.d.isFresh;
    const command = text && (led || watched) ? readQuery(text, led, d.resolver.plain) : null;
    for (const name of command?.executes ?? []) {
      const waits = this.use.inQuery(name, command!.isExecute, text!);
      if (waits !== PASS) return waits;
    }
    const body = command?.prepares ? Buffer.from(command.prepares.body, 'latin1') : text;
    const decision = this.decide(body, !command?.prepares);
    if (decision.step !== 'send') return this.use.wait(decision, true);
    d.resolver.sends(text, command?.prepares ? null : decision.rewrite);
    this.use.count(decision.rewrite, decision.touches, decision.reason);
    d.touches.mark(decision.touches, d.ledger.pushed + 1);
    if (command?.alters) d.schema.sent(command.temporary);
    if (command?.isExecute && fresh) d.retained.begin(d.ledger.pushed + 1);
    const change =
      command && d.changeBy(command, decision === AS_IS ? '' : null, this.control.force.epoch);
    if (!change || decision.rewrite?.refusal) return this.sendQuery(text, decision.rewrite);
    return this.sendChange(change, decision);
  }

  private decide(text: Buffer | null, once: boolean): Decision {
    const { isOwn } = this.reader;
    return decide(text, 'too-large', this.d, this.control, { once, isOwn });
  }

  /** A simple Query that is PREPARE or DEALLOCATE. */
  private sendChange(change: Statement | Closing, { rewrite, touches, reason }: Sent): Verdict {
    const { d } = this;
    d.statements.sent(change, d.ledger.pushed + 1);
    d.ledger.push(QUERY, FORWARD, new SqlChange(change));
    if (change instanceof Closing || !rewrite || reason !== null) return PASS;
    const key = this.control.force.touchKey(touches);
    markRight(change, { rewrite, touches, key, reason }, d, this.control);
    if (!isReplaced(rewrite)) return PASS;
    const prefix = Buffer.from(change.prefix ?? '', 'latin1');
    this.reader.emit(writeQuery(Buffer.concat([prefix, rewrite.text])));
    return DROP;
  }

  private sendQuery(text: Buffer | null, rewrite: Rewrite | null): Verdict {
    const { ledger } = this.d;
    if (rewrite?.refusal) {
      const first = text && rewrite.reason === 'syntax' ? REFUSED_FIRST : null;
      this.reader.emit(writeQuery(first ? Buffer.concat([first, text!]) : REFUSED_TEXT));
      ledger.push(QUERY, FORWARD, new Refused(rewrite.refusal, null, first?.length));
      return DROP;
    }
    if (text && isReplaced(rewrite)) {
      addQuery(this.reader.tail, rewrite);
      this.d.copyIn.sends(rewrite);
      const original = rewrite.original ?? (this.reader.isOwn ? text : Buffer.from(text));
      ledger.push(QUERY, FORWARD, new Replaced(original, rewrite, this.control.force.rewriter!));
      return DROP;
    }
    ledger.push(QUERY);
    return PASS;
  }

  private parse(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    if (d.ledger.skipping || d.ledger.copyOpen) return this.passBy(PARSE);
    const whole = end - at === length - 4 && length <= this.limits.parseBytes;
    const body = whole ? readParse(buf, at, end) : null;
    const name = body ? body.name : cString(buf, at, end);
    if (name === null || (whole && !body)) return this.passBy(PARSE);
    const waits = this.use.beforeParse(name);
    if (waits !== PASS) return waits;
    const { epoch } = this.control.force;
    const statement = d.statements.make(name, body?.text ?? null, body?.types ?? '', epoch);
    statement.schema = d.schema.version;
    const start = at + name.length + 1;
    if (body && leads(buf, start, end)) this.notice(statement, body.text);
    if (!this.control.force.rewriter) return this.sendParse(statement);
    const text = body ? buf.subarray(start, start + body.text.length) : null;
    const decision = this.decide(text, name === '');
    if (decision.step !== 'send') return this.use.wait(decision, false);
    const { rewrite, touches, reason } = decision;
    this.use.count(rewrite, touches, reason, 0);
    d.touches.mark(touches, d.ledger.pushed + 1);
    if (rewrite?.refusal) {
      const refused = new Refused(rewrite.refusal, statement);
      if (text && rewrite.reason === 'syntax') this.use.parseFirst(name, text, refused);
      this.reader.emit(writeParse(name, REFUSED_TEXT, statement.types));
      d.ledger.push(PARSE, FORWARD, refused);
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

  /** A text that says what its later Execute will change, or run. */
  private notice(statement: Statement, text: string): void {
    const { d } = this;
    const command = readCommand(text, d.resolver.plain);
    if (!command) return;
    statement.command = command;
    d.attentive = true;
    if (command.alters) d.schema.sent(command.temporary);
  }

  private sendParse(statement: Statement): Verdict {
    this.d.statements.sent(statement, this.d.ledger.pushed + 1);
    this.d.ledger.push(PARSE, FORWARD, statement);
    return PASS;
  }

  private bind(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const fresh = this.d.isFresh;
    if (at < 0) return HOLD;
    const portal = this.names.read(buf, at, end);
    const name = portal === null ? null : this.names.read(buf, at + portal.length + 1, end);
    if (portal === null || name === null) {
      if (end - at < length - 4) return FAIL;
      // The server refuses it as malformed.
      d.ledger.push(BIND);
      return PASS;
    }
    const statement = d.statements.find(name);
    d.lastBound = name === '' ? undefined : statement;
    if (!d.attentive && !d.schema.active) {
      // Kept until it is answered: somebody may have altered what it gives.
      if (fresh) d.retained.begin(d.ledger.pushed + 1);
      d.ledger.push(BIND, FORWARD, undefined, portal !== '');
      return PASS;
    }
    const waits = this.use.inBatch(name, statement, portal);
    if (waits !== PASS) return waits;
    if (fresh) d.retained.begin(d.ledger.pushed + 1);
    d.bound(portal, statement, buf, at + portal.length + name.length + 2, end);
    d.ledger.push(BIND, FORWARD, statement?.rewrite ? statement : undefined, portal !== '');
    return PASS;
  }

  private describe(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const name = this.names.read(buf, at + 1, end);
    if (buf[at] !== STATEMENT) {
      d.ledger.push(DESCRIBE_PORTAL, FORWARD, d.describesPortal(name ?? ''));
      return PASS;
    }
    const statement = name === null ? undefined : d.statements.find(name);
    const fresh = this.d.isFresh;
    if ((d.attentive || d.schema.active) && name !== null) {
      const waits = this.use.inBatch(name, statement, null);
      if (waits !== PASS) return waits;
    }
    if (fresh) d.retained.begin(d.ledger.pushed + 1);
    if (statement?.now) statement.told = statement.now;
    d.ledger.push(DESCRIBE_STATEMENT, FORWARD, statement);
    return PASS;
  }

  private execute(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const named = buf[at] !== 0;
    const { force } = this.control;
    if (d.statements.lost.size > 0 && d.attentive && !d.ledger.skipping) {
      const runs = d.portals.get(this.names.read(buf, at, end) ?? '');
      const waits = runs ? this.use.beforeNames(runs.text, false) : PASS;
      if (waits !== PASS) return waits;
    }
    const converted =
      d.converted.size > 0 ? d.converted.get(this.names.read(buf, at, end) ?? '') : undefined;
    const copy = d.copies.size > 0 ? d.copies.get(this.names.read(buf, at, end) ?? '') : undefined;
    d.copyIn.sends(copy?.rewrite);
    if (converted?.columns === null && !d.ledger.skipping) this.use.refuse(STALE);
    if (!d.attentive || d.ledger.skipping) {
      d.ledger.push(EXECUTE, FORWARD, converted, named);
      return PASS;
    }
    const portal = this.names.read(buf, at, end);
    const statement = portal === null ? undefined : d.portals.get(portal);
    const change = statement?.command && d.changeBy(statement.command, null, force.epoch);
    if (change) {
      d.statements.sent(change, d.ledger.pushed + 1);
      d.ledger.push(EXECUTE, FORWARD, new SqlChange(change), named);
      return PASS;
    }
    if (statement?.command?.alters) d.schema.sent(statement.command.temporary);
    if (!force.rewriter) {
      d.ledger.push(EXECUTE, FORWARD, converted ?? copy, named);
      return PASS;
    }
    // A portal from before the rules, or a cursor of SQL: nothing is known of it.
    const text = d.resolver.plain && statement ? statement.text : null;
    if (statement && text !== null) {
      statement.suspect ??= mayChangeNames(text);
      statement.ends ??= endsTransaction(text);
      d.resolver.ran(statement.suspect, statement.ends);
    } else d.resolver.ran(true, true);
    d.touches.mark(statement ? statement.touches : force.oids, d.ledger.pushed + 1);
    const side = converted ?? copy ?? (statement?.rewrite ? statement : undefined);
    d.ledger.push(EXECUTE, FORWARD, side, named);
    return PASS;
  }

  private close(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const name = this.names.read(buf, at + 1, end);
    if (buf[at] !== STATEMENT || name === null) {
      d.ledger.push(CLOSE);
      return PASS;
    }
    const closing = new Closing(name);
    if (!d.ledger.skipping) d.statements.sent(closing, d.ledger.pushed + 1);
    d.ledger.push(CLOSE, FORWARD, closing);
    return PASS;
  }

  /**
   * The batch that was kept is to be sent again. False: not yet, what the server still has to
   * answer comes first (and `reader` may have a Sync for it).
   */
  replay(): boolean {
    const { ledger, retained } = this.d;
    if (ledger.skipping) {
      this.reader.emit(SYNC_MESSAGE);
      ledger.push(SYNC, SWALLOW);
    }
    if (ledger.pending > 0) return false;
    this.reader.rewind(retained.take());
    this.d.waiting = null;
    return true;
  }
}
