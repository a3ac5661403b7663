import { performance } from 'node:perf_hooks';
import type { Metrics } from '../metrics/registry.js';
import type { Timings } from '../metrics/timings.js';
import type { Rewrite, StatementRewriter } from '../sql/outcome.js';
import { restoreFields } from './copy-context.js';
import {
  Converted,
  type Dialogue,
  Hidden,
  Refused,
  Replaced,
  type Side,
  SqlChange,
} from './dialogue.js';
import { DROP, FAIL, FrameReader, type FrameSink, HOLD, PASS, type Verdict } from './frames.js';
import {
  BIND,
  DESCRIBE_PORTAL,
  DESCRIBE_STATEMENT,
  EXECUTE,
  type Kind,
  QUERY,
  STARTUP,
} from './kinds.js';
import { FORWARD, IDLE, MISMATCH, SWALLOW } from './ledger.js';
import { isServerLength } from './lengths.js';
import { Errand, Lookup } from './lookup.js';
import {
  BACKEND,
  cString,
  message,
  readDataRow,
  readFields,
  writeError,
  writeFields,
} from './messages.js';
import type { Outbox } from './outbox.js';
import { Preparation } from './prepare.js';
import { isPlainTag, tagMatters } from './schema.js';
import { convertRow, readRowTypes } from './shape.js';
import { Statement } from './statements.js';
import { REFUSED_CODE } from './use.js';

/** Longest message that is gathered to be read; a longer one goes by as it is. */
const HOLD_BYTES = 1024 * 1024;
/** Longest row that is converted. */
const ROW_BYTES = 64 * 1024 * 1024;

/**
 * Name of the server's function that refuses a prepared statement whose result would have another
 * type than the client was told. The message is translated; this is not.
 */
const REVALIDATES = 'RevalidateCachedQuery';
const RESULT_TYPE_CODE = '0A000';

/** What a server's messages lead to. Pure: the session writes what the reader collects. */
export class Backend implements FrameSink {
  readonly reader: FrameReader;
  private readonly timings: Timings;
  /** Process id and secret key as the server gave them, for a CancelRequest of our own. */
  keyData: Buffer | null = null;
  /** The first ReadyForQuery has come. */
  loggedIn = false;
  /** A ReadyForQuery has come since this was set to false. */
  becameReady = false;
  /** The server is not of the wanted kind; the client has been told, and gets no more of it. */
  misplaced = false;
  /** A ParameterDescription, until it is known that the rest of the answer follows. */
  private types: Buffer | null = null;
  /** A value does not fit the type that the client was told. */
  misfit = false;
  /** The last message was an error: if nothing follows it, it says why the server has closed. */
  saidWhy = false;

  /** @param standby what `in_hot_standby` has to be at login; null: either. */
  constructor(
    private readonly d: Dialogue,
    private readonly metrics: Metrics,
    private readonly client: Pick<FrameReader, 'canRewind'>,
    out?: Outbox,
    private readonly standby: boolean | null = null,
  ) {
    this.timings = metrics.timings('pgtandem_request_seconds');
    this.reader = new FrameReader(this, out);
  }

  valid(type: number, length: number): boolean {
    return isServerLength(type, length);
  }

  steady(type: number): boolean {
    const rows = type === BACKEND.dataRow || type === BACKEND.copyData;
    const { ledger } = this.d;
    return rows && ledger.headFate === FORWARD && !(ledger.headSide instanceof Converted);
  }

  holdBytes(type: number): number {
    return type === BACKEND.dataRow ? ROW_BYTES : HOLD_BYTES;
  }

  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    if (this.types && type !== BACKEND.error) this.tellTypes();
    this.saidWhy = type === BACKEND.error;
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
      case BACKEND.notice:
        return this.notice(length, buf, at, end);
      case BACKEND.copyIn:
        return this.copyBegins(length, buf, at, end);
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
    const hidden = side instanceof Hidden || side instanceof Preparation;
    const statement = hidden ? side.statement : side;
    const describes = ledger.headKind === DESCRIBE_STATEMENT || ledger.headKind === DESCRIBE_PORTAL;
    // What a statement gives stays what was told, until it is prepared again.
    if (describes && statement instanceof Statement && (hidden || !statement.isTold)) {
      if (at < 0) return HOLD;
      const types = end - at === length - 4 ? readRowTypes(buf, at, end) : null;
      if (hidden) statement.now = types ?? '';
      else statement.told = types;
      this.d.describes = true;
    }
    return verdictOf(ledger.reply(BACKEND.rowDescription));
  }

  private commandComplete(buf: Buffer, at: number, end: number): Verdict {
    const { d } = this;
    if (d.copyIn.rows) d.copyIn.over();
    const fate = d.ledger.headFate;
    const matters = d.attentive ? !isPlainTag(buf, at) : tagMatters(buf, at, d.schema.isChanged);
    if (fate !== FORWARD || !matters) return verdictOf(d.ledger.reply(BACKEND.commandComplete));
    const tag = cString(buf, at, end) ?? '';
    d.tagged(tag);
    const verdict = verdictOf(d.ledger.reply(BACKEND.commandComplete));
    d.ended(tag);
    return verdict;
  }

  private ready(status: number): Verdict {
    const { d } = this;
    const kind = d.ledger.headKind;
    const side = d.ledger.headSide;
    const touched = d.touches.any ? d.touches.since(d.ledger.lastReady) : null;
    const fate = d.ledger.reply(BACKEND.readyForQuery, status);
    if (fate === MISMATCH) return FAIL;
    if (kind === QUERY) d.statements.queried();
    d.ready(status);
    this.becameReady = true;
    if (kind === STARTUP) this.loggedIn = true;
    else if (fate === FORWARD) {
      const seconds = (performance.now() - d.ledger.readySince) / 1000;
      this.timings.record(seconds);
      d.waits.add(seconds, touched);
      if (status === IDLE) d.waits.end(d.latencies);
    }
    // The answer to our question was an error, and it stands for the client's own Query.
    const endsQuery = side instanceof Errand && side.failed && side.forQuery;
    return fate === FORWARD || endsQuery ? PASS : DROP;
  }

  private parameter(buf: Buffer, at: number, end: number): Verdict {
    const name = cString(buf, at, end);
    if (name !== null) {
      const value = cString(buf, at + name.length + 1, end);
      this.d.resolver.parameter(name, value ?? '');
      if (name === 'server_version') this.d.copyIn.serverIs(value ?? '');
      if (name === 'in_hot_standby' && this.isMisplaced(value)) return this.refuse();
      if (name === 'application_name') this.d.witness.application = value ?? '';
      if (name === 'search_path' && this.loggedIn) this.d.schema.namesChanged();
    }
    return verdictOf(this.d.ledger.reply(BACKEND.parameterStatus));
  }

  /** From PostgreSQL 14 on a server says at login whether it is a standby. */
  private isMisplaced(inHotStandby: string | null): boolean {
    return !this.loggedIn && this.standby !== null && (inHotStandby === 'on') !== this.standby;
  }

  private refuse(): Verdict {
    this.misplaced = true;
    const message = this.standby
      ? 'the server is not in hot standby mode'
      : 'the server is in hot standby mode';
    const hint = 'The proxy is looking for the right one now; connect again.';
    const { utf8 } = this.d.resolver;
    this.reader.emit(writeError({ severity: 'FATAL', code: '57P03', message, hint }, utf8));
    return FAIL;
  }

  /** A COPY FROM STDIN: the client is told of its own fields only. */
  private copyBegins(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { ledger, copyIn } = this.d;
    const rewrite = rewriteOf(ledger.headSide);
    if (rewrite?.copies && at < 0) return HOLD;
    const rows = copyIn.begins(rewrite, ledger.answered);
    const verdict = verdictOf(ledger.reply(BACKEND.copyIn));
    if (!rows || verdict !== PASS || end - at !== length - 4) return verdict;
    const told = Buffer.from(buf.subarray(at, at + 3 + 2 * rows.fields));
    told.writeUInt16BE(rows.fields, 1);
    this.reader.emit(message(BACKEND.copyIn, told));
    return DROP;
  }

  private notice(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { ledger, copyIn } = this.d;
    const ours = changeOf(ledger.headSide);
    if (at < 0 && (ours || copyIn.rows)) return HOLD;
    const verdict = verdictOf(ledger.reply(BACKEND.notice));
    if (verdict !== PASS || end - at !== length - 4) return verdict;
    if (!ours && !copyIn.rows) return verdict;
    const fields = readFields(buf, at, end);
    const restored = copyIn.rows !== null && restoreFields(fields, copyIn.rows);
    if (!(ours && this.mapPosition(fields, ours)) && !restored) return verdict;
    this.reader.emit(writeFields(fields, BACKEND.notice));
    return DROP;
  }

  private tellTypes(): void {
    if (this.types) this.reader.emit(this.types);
    this.types = null;
  }

  private parameterTypes(length: number, buf: Buffer, at: number, end: number): Verdict {
    const side = this.d.ledger.headSide;
    if (side instanceof Statement && end - at === length - 4) {
      side.learnt = buf.toString('latin1', at + 2, end);
    }
    const { ledger, retained } = this.d;
    const verdict = verdictOf(ledger.reply(BACKEND.parameterDescription));
    if (verdict !== PASS || !retained.canReplay(ledger.answered + 1)) return verdict;
    if (end - at !== length - 4) return verdict;
    this.types = Buffer.from(buf.subarray(at - 5, end));
    return DROP;
  }

  /**
   * Somebody has altered what a statement gives, and no command that went by here has said so.
   * True: the error is swallowed, and the client's batch will be sent again.
   */
  private resultTypeChanged(fields: Map<string, string>): boolean {
    const { ledger, retained, schema, status } = this.d;
    if (fields.get('R') !== REVALIDATES || fields.get('C') !== RESULT_TYPE_CODE) return false;
    schema.found();
    const alone = status === IDLE && this.client.canRewind && this.d.waiting !== 'hold';
    const first = retained.canReplay(ledger.answered + 1) && !ledger.headBegun;
    if (!alone || !first) {
      this.metrics.count('pgtandem_result_type_errors_total', {});
      return false;
    }
    ledger.reply(BACKEND.error);
    ledger.swallowHead();
    retained.replaying = true;
    this.d.waiting = 'replay';
    this.metrics.count('pgtandem_replayed_total', {});
    return true;
  }

  private error(length: number, buf: Buffer, at: number, end: number): Verdict {
    const { ledger, resolver } = this.d;
    this.d.copyIn.stops();
    const change = changeOf(ledger.headSide);
    const runs = RUNS.has(ledger.headKind) && ledger.headFate === FORWARD;
    if (!change && !runs) {
      this.tellTypes();
      return verdictOf(ledger.reply(BACKEND.error));
    }
    if (at < 0) return HOLD;
    const whole = end - at === length - 4;
    if (runs && whole && buf.subarray(at, end).includes(REVALIDATES)) {
      if (this.resultTypeChanged(readFields(buf, at, end))) {
        this.types = null;
        return DROP;
      }
    }
    this.tellTypes();
    ledger.reply(BACKEND.error);
    if (!change || !whole) return PASS;
    const fields = readFields(buf, at, end);
    // In a failed transaction, or cancelled, or of a text that is none: the server's own word stands.
    if ('refusal' in change && fields.get('C') === REFUSED_CODE) {
      const error = { severity: 'ERROR', code: '0A000', ...change.refusal } as const;
      this.reader.emit(writeError(error, resolver.utf8));
      return DROP;
    }
    const { rows } = this.d.copyIn;
    const restored = rows !== null && restoreFields(fields, rows);
    if (!this.mapPosition(fields, change) && !restored) return PASS;
    this.reader.emit(writeFields(fields));
    return DROP;
  }

  /** @returns false when there is none to map. */
  private mapPosition(fields: Map<string, string>, change: Change): boolean {
    const position = Number(fields.get('P'));
    const refused = 'refusal' in change;
    const lead = refused ? change.lead : charactersOf(change.prefix ?? '', this.d.resolver.utf8);
    if (!position || position <= lead) return false;
    if (refused) return fields.set('P', String(position - lead)).size > 0;
    const { original, rewrite, rewriter } = change;
    const { utf8 } = this.d.resolver;
    const mapped = rewriter.mapPosition(original, rewrite, position - lead, utf8);
    if (mapped > 0) fields.set('P', String(mapped + lead));
    else fields.delete('P');
    return true;
  }
}

/** Messages that a statement whose result would have another type makes fail. */
const RUNS: ReadonlySet<Kind> = new Set([BIND, DESCRIBE_STATEMENT, EXECUTE, QUERY]);

function verdictOf(fate: number): Verdict {
  if (fate === FORWARD) return PASS;
  return fate === SWALLOW ? DROP : FAIL;
}

interface Rewritten {
  original: Buffer;
  rewrite: Rewrite;
  rewriter: StatementRewriter;
  prefix?: string | null;
}

type Change = Pick<Refused, 'refusal' | 'lead'> | Rewritten;

/** What was made of the text that an entry runs. */
function rewriteOf(side: Side | undefined): Rewrite | undefined {
  return side instanceof Replaced ? side.rewrite : undefined;
}

/** What an error about this entry has to be changed by; null: it goes by as it is. */
function changeOf(side: Side | undefined): Change | null {
  if (side === undefined) return null;
  if (side instanceof Refused || side instanceof Replaced) return side;
  const statement = statementOf(side);
  if (!(statement instanceof Statement)) return null;
  const { rewrite, rewriter, text, prefix } = statement;
  if (!rewrite || !rewriter || text === null) return null;
  return { original: Buffer.from(text, 'latin1'), rewrite, rewriter, prefix };
}

function statementOf(side: Side): Side {
  if (side instanceof Hidden || side instanceof Preparation) return side.statement;
  if (side instanceof Converted) return side.statement;
  return side instanceof SqlChange ? side.change : side;
}

/** Characters of a text that is bytes in latin1, as the server counts positions. */
function charactersOf(text: string, utf8: boolean): number {
  return utf8 ? Array.from(Buffer.from(text, 'latin1').toString('utf8')).length : text.length;
}
