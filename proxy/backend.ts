import { performance } from 'node:perf_hooks';
import type { Metrics } from '../metrics/registry.js';
import type { Rewrite, StatementRewriter } from '../sql/outcome.js';
import { Converted, type Dialogue, Hidden, Refused, Replaced, type Side } from './dialogue.js';
import { DROP, FAIL, FrameReader, type FrameSink, HOLD, PASS, type Verdict } from './frames.js';
import {
  DESCRIBE_PORTAL,
  DESCRIBE_STATEMENT,
  FORWARD,
  MISMATCH,
  QUERY,
  STARTUP,
  SWALLOW,
} from './ledger.js';
import { Lookup } from './lookup.js';
import {
  BACKEND,
  cString,
  message,
  readDataRow,
  readFields,
  writeError,
  writeFields,
} from './messages.js';
import { REFUSED_CODE } from './prepare.js';
import { convertRow, readRowTypes } from './shape.js';
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
/** Longest row that is converted. */
const ROW_BYTES = 64 * 1024 * 1024;

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
  /** A value does not fit the type that the client was told. */
  misfit = false;

  constructor(
    private readonly d: Dialogue,
    private readonly metrics: Metrics,
  ) {}

  valid(type: number, length: number): boolean {
    return length >= 4 && length <= (LONG_TYPES.has(type) ? LONGEST : SHORT_MESSAGE);
  }

  holdBytes(type: number): number {
    return type === BACKEND.dataRow ? ROW_BYTES : HOLD_BYTES;
  }

  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    switch (type) {
      case BACKEND.dataRow:
        if (this.d.ledger.headFate === SWALLOW) return this.hiddenRow(buf, at);
        if (this.d.describes) return this.row(length, buf, at, end);
        break;
      case BACKEND.rowDescription:
        return this.rowTypes(length, buf, at, end);
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

  private row(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { ledger } = this.d;
    const side = ledger.headSide;
    if (!(side instanceof Converted)) return verdictOf(ledger.reply(BACKEND.dataRow));
    if (at < 0) return HOLD;
    const whole = end - at === length - 4;
    const row = whole && side.columns ? convertRow(buf, at, side.columns) : null;
    if (!row) {
      this.misfit = true;
      return FAIL;
    }
    const verdict = verdictOf(ledger.reply(BACKEND.dataRow));
    if (verdict !== PASS) return verdict;
    this.reader.emit(message(BACKEND.dataRow, row));
    return DROP;
  }

  private rowTypes(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { ledger } = this.d;
    const side = ledger.headSide;
    const statement = side instanceof Hidden ? side.statement : side;
    const describes = ledger.headKind === DESCRIBE_STATEMENT || ledger.headKind === DESCRIBE_PORTAL;
    if (describes && statement instanceof Statement) {
      if (at < 0) return HOLD;
      const types = end - at === length - 4 ? readRowTypes(buf, at, end) : null;
      if (side instanceof Hidden) statement.now = types ?? '';
      else statement.told = types;
      this.d.describes = true;
    }
    return verdictOf(ledger.reply(BACKEND.rowDescription));
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
      const error = { severity: 'ERROR', code: '0A000', ...change.refusal } as const;
      this.reader.emit(writeError(error, resolver.utf8));
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
  | { refusal: Refused['refusal'] }
  | { original: Buffer; rewrite: Rewrite; rewriter: StatementRewriter };

/** What an error about this entry has to be changed by; null: it goes by as it is. */
function changeOf(side: Side | undefined): Change | null {
  if (side === undefined) return null;
  if (side instanceof Refused) return { refusal: side.refusal };
  if (side instanceof Replaced) return side;
  const statement = side instanceof Hidden || side instanceof Converted ? side.statement : side;
  if (!(statement instanceof Statement)) return null;
  const { rewrite, rewriter, text } = statement;
  if (!rewrite || !rewriter || text === null) return null;
  return { original: Buffer.from(text, 'latin1'), rewrite, rewriter };
}
