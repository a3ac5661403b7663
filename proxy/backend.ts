import { performance } from 'node:perf_hooks';
import type { Metrics } from '../metrics/registry.js';
import type { Rewrite, StatementRewriter } from '../sql/outcome.js';
import { type Dialogue, Hidden, Refused, Replaced, type Side } from './dialogue.js';
import { DROP, FAIL, FrameReader, type FrameSink, HOLD, PASS, type Verdict } from './frames.js';
import { REFUSED_CODE } from './frontend.js';
import { FORWARD, MISMATCH, QUERY, STARTUP, SWALLOW } from './ledger.js';
import { Lookup } from './lookup.js';
import { BACKEND, cString, readDataRow, readFields, writeError, writeFields } from './messages.js';
import { Statement } from './statements.js';

/** Longest message of the types that are never long; the server's own client library does the same. */
const SHORT_MESSAGE = 30_000;
const LONG_TYPES: ReadonlySet<number> = new Set([
  BACKEND.rowDescription,
  BACKEND.dataRow,
  BACKEND.copyData,
  BACKEND.functionResult,
  BACKEND.error,
  BACKEND.notice,
  BACKEND.notification,
  // Beyond the client library's list: 65,535 parameters, and tokens of GSSAPI.
  BACKEND.parameterDescription,
  BACKEND.authentication,
]);
const LONGEST = 0x3fffffff;
/** Longest message that is gathered to be read; a longer one goes by as it is. */
const HOLD_BYTES = 1024 * 1024;

const LETTER_D = 0x44;
const LETTER_L = 0x4c;

/** What a server's messages lead to. Pure: the session writes what the reader collects. */
export class Backend implements FrameSink {
  readonly reader = new FrameReader(this);
  /** Process id and secret key as the server gave them, for a CancelRequest of our own. */
  keyData: Buffer | null = null;
  /** The first ReadyForQuery has come. */
  loggedIn = false;
  /** A ReadyForQuery has come since this was set to false. */
  becameReady = false;
  /** The last message was an error: if nothing follows it, it says why the server has closed. */
  saidWhy = false;

  constructor(
    private readonly d: Dialogue,
    private readonly metrics: Metrics,
  ) {}

  valid(type: number, length: number): boolean {
    return length >= 4 && length <= (LONG_TYPES.has(type) ? LONGEST : SHORT_MESSAGE);
  }

  holdBytes(): number {
    return HOLD_BYTES;
  }

  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    this.saidWhy = type === BACKEND.error;
    switch (type) {
      case BACKEND.dataRow:
        if (this.d.ledger.headFate === SWALLOW) return this.hiddenRow(buf, at);
        break;
      case BACKEND.commandComplete:
        return at < 0 ? HOLD : this.commandComplete(buf, at, end);
      case BACKEND.readyForQuery:
        return at < 0 ? HOLD : this.ready(buf[at]!);
      case BACKEND.error:
        return this.error(length, buf, at, end);
      case BACKEND.parameterStatus:
        return at < 0 ? HOLD : this.parameter(buf, at, end);
      case BACKEND.parameterDescription:
        return at < 0 ? HOLD : this.parameterTypes(length, buf, at, end);
      case BACKEND.backendKeyData:
        if (at < 0) return HOLD;
        this.keyData = Buffer.from(buf.subarray(at, end));
        break;
    }
    return verdictOf(this.d.ledger.reply(type));
  }

  private hiddenRow(buf: Buffer, at: number): Verdict {
    if (at < 0) return HOLD;
    const side = this.d.ledger.headSide;
    if (side instanceof Lookup) side.row = readDataRow(buf, at);
    return verdictOf(this.d.ledger.reply(BACKEND.dataRow));
  }

  private commandComplete(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    const fate = d.ledger.headFate;
    // DEALLOCATE, DISCARD and DECLARE always matter; DELETE is told apart by its third letter.
    const matters = d.attentive || (buf[at] === LETTER_D && buf[at + 2] !== LETTER_L);
    if (fate !== FORWARD || !matters) return verdictOf(d.ledger.reply(BACKEND.commandComplete));
    const tag = cString(buf, at, end) ?? '';
    d.tagged(tag);
    const verdict = verdictOf(d.ledger.reply(BACKEND.commandComplete));
    d.ended(tag);
    return verdict;
  }

  private ready(status: number): Verdict {
    const { d, metrics } = this;
    const kind = d.ledger.headKind;
    const side = d.ledger.headSide;
    const fate = d.ledger.reply(BACKEND.readyForQuery, status);
    if (fate === MISMATCH) return FAIL;
    if (kind === QUERY) d.statements.queried();
    d.ready(status);
    this.becameReady = true;
    if (kind === STARTUP) this.loggedIn = true;
    else if (fate === FORWARD) {
      const seconds = (performance.now() - d.ledger.readySince) / 1000;
      metrics.observe('pgtandem_request_seconds', {}, seconds);
    }
    // The answer to our question was an error, and it stands for the client's own Query.
    const endsQuery = side instanceof Lookup && side.failed && side.forQuery;
    return fate === FORWARD || endsQuery ? PASS : DROP;
  }

  private parameter(buf: Buffer, at: number, end: number): Verdict {
    const name = cString(buf, at, end);
    if (name !== null) {
      const value = cString(buf, at + name.length + 1, end);
      this.d.resolver.parameter(name, value ?? '');
    }
    return verdictOf(this.d.ledger.reply(BACKEND.parameterStatus));
  }

  private parameterTypes(length: number, buf: Buffer, at: number, end: number): Verdict {
    const side = this.d.ledger.headSide;
    if (side instanceof Statement && end - at === length - 4) {
      side.learnt = buf.toString('latin1', at + 2, end);
    }
    return verdictOf(this.d.ledger.reply(BACKEND.parameterDescription));
  }

  private error(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { ledger, resolver } = this.d;
    const change = changeOf(ledger.headSide);
    if (!change) return verdictOf(ledger.reply(BACKEND.error));
    if (at < 0) return HOLD;
    ledger.reply(BACKEND.error);
    if (end - at !== length - 4) return PASS;
    const fields = readFields(buf, at, end);
    if ('refusal' in change) {
      // In a failed transaction, or cancelled: the server's own word stands.
      if (fields.get('C') !== REFUSED_CODE) return PASS;
      const { message, hint } = change.refusal;
      const severity = 'ERROR';
      this.reader.emit(writeError({ severity, code: '0A000', message, hint }, resolver.utf8));
      return DROP;
    }
    const position = Number(fields.get('P'));
    if (!position) return PASS;
    const { original, rewrite, rewriter } = change;
    const mapped = rewriter.mapPosition(original, rewrite, position);
    if (mapped > 0) fields.set('P', String(mapped));
    else fields.delete('P');
    this.reader.emit(writeFields(fields));
    return DROP;
  }
}

function verdictOf(fate: number): Verdict {
  if (fate === FORWARD) return PASS;
  return fate === SWALLOW ? DROP : FAIL;
}

type Change =
  | { refusal: { message: string; hint: string } }
  | { original: Buffer; rewrite: Rewrite; rewriter: StatementRewriter };

/** What an error about this entry has to be changed by; null: it goes by as it is. */
function changeOf(side: Side | undefined): Change | null {
  if (side === undefined) return null;
  if (side instanceof Refused) return { refusal: side.refusal };
  if (side instanceof Replaced) return side;
  const statement = side instanceof Hidden ? side.statement : side;
  if (!(statement instanceof Statement)) return null;
  const { rewrite, rewriter, text } = statement;
  if (!rewrite || !rewriter || text === null) return null;
  return { original: Buffer.from(text, 'latin1'), rewrite, rewriter };
}
