import { type Codec, codecOf } from '../sql/encoding.js';
import { readAsked, widthKey } from '../sql/names.js';
import type { Resolution, Rewrite } from '../sql/outcome.js';
import { quoteIdentifier, type View } from '../sql/rules.js';
import { endsTransaction, mayChangeNames } from '../sql/steady.js';
import { IDLE } from './ledger.js';

/** Bytes below 0x80 are not always ASCII in these; all others that a client may use are safe. */
const AWKWARD_ENCODINGS =
  /^(sjis|shift_?jis(_?2004)?|mskanji|win932|windows932|big5|win950|windows950|gbk|win936|windows936|uhc|win949|windows949|gb18030|johab)$/i;

/** Command tags after which names mean what they meant before. `SELECT` is also CREATE TABLE AS. */
const STEADY_TAG =
  /^(SELECT|INSERT|UPDATE|DELETE|MERGE|FETCH|MOVE|COPY|BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PREPARE|DECLARE CURSOR|CLOSE CURSOR|LISTEN|NOTIFY|UNLISTEN|SHOW|EXPLAIN|LOCK TABLE|DEALLOCATE)\b/;

/**
 * Asks what names mean, for the view, and which server it is, on one row, without taking any lock. The
 * names are in one column: a partitioned table has more of them than a row may have columns.
 * @param relations of which it is asked, too, how many columns they have (`readAsked`).
 */
export function lookupText(names: readonly string[], relations: readonly string[] = []): string {
  const oids = names.map(
    (name) => `pg_catalog.to_regclass(${asciiLiteral(quoteIdentifier(name))})::pg_catalog.oid`,
  );
  const asked = `SELECT pg_catalog.array_to_string(ARRAY[${oids.join(', ')}], ' ', '0'), ${VIEW_SETTING}, ${STARTED}`;
  if (relations.length === 0) return asked;
  return `${asked}, ${widthsText(relations)}`;
}

/** How many columns each has (`readAsked`), as one value. */
export function widthsText(relations: readonly string[]): string {
  return `pg_catalog.concat_ws(' ', ${relations.map(widthText).join(', ')})`;
}

/** How many columns a relation has, or of a name; 0: there is none. */
function widthText(asked: string): string {
  const { relation, column } = readAsked(asked);
  const whole = `attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(${asciiLiteral(relation)})`;
  const called = `attname OPERATOR(pg_catalog.=) ${asciiLiteral(column ?? '')}::pg_catalog.name`;
  const own = column === null ? whole : `${whole} AND ${called}`;
  return `(SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute WHERE ${own} AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped)`;
}

/** When the server was started, to the microsecond: no two servers say the same. */
const STARTED = 'extract(epoch FROM pg_catalog.pg_postmaster_start_time())';

/** On which side of a migration the session is; NULL or empty when it has not said so. */
const VIEW_SETTING = `pg_catalog.current_setting('pgtandem.view', true)`;

/** A string constant in ASCII only: the same in every encoding, whatever the settings. */
function asciiLiteral(value: string): string {
  const escaped = Array.from(value, (c) => {
    const code = c.codePointAt(0)!;
    if (c === "'" || c === '\\') return c + c;
    return code < 0x80 ? c : `\\U${code.toString(16).padStart(8, '0')}`;
  });
  return `E'${escaped.join('')}'`;
}

/**
 * What unqualified names mean in one session: asked of the server once, and forgotten as soon as
 * anything goes by that may change it. An answer asked for twice costs a round trip; an answer
 * that is not true any more may cost a lost write.
 */
export class Resolver {
  private cached: { names: readonly string[]; resolution: Resolution } | null = null;
  /** On which side the session is; null: on that of the rules. True while `get` gives an answer. */
  side: View | null = null;
  /** Something in the present transaction may be undone at its end. */
  private changedInTransaction = false;
  private encoding = '';
  private serverEncoding = '';
  private conforming = '';
  private searchPath: string | undefined;
  private widths: ReadonlyMap<string, number> = new Map();
  /**
   * Changes whenever `rewrite` may make something else of a text under the same rules. Says
   * nothing while `get` gives null.
   */
  key = '';

  /** Whether bytes below 0x80 are ASCII and strings follow the standard. */
  get plain(): boolean {
    return this.conforming === 'on' && this.isAscii;
  }

  /** Whether bytes below 0x80 are ASCII, and a backslash begins an escape in plain constants. */
  get escapes(): boolean {
    return this.conforming === 'off' && this.isAscii;
  }

  private get isAscii(): boolean {
    return this.encoding !== '' && !AWKWARD_ENCODINGS.test(this.encoding);
  }

  get utf8(): boolean {
    return /^utf-?8$/i.test(this.encoding);
  }

  /**
   * Of another encoding than UTF-8; null: not one in which a byte is a character that is known, or the
   * server takes bytes for what they are, whatever they are called.
   */
  get codec(): Codec | null {
    const isRaw = this.serverEncoding === '' || this.serverEncoding === 'SQL_ASCII';
    return isRaw ? null : codecOf(this.encoding);
  }

  /** null: has to be asked. */
  get(names: readonly string[]): Resolution | null {
    if (names.length === 0) return new Map();
    return this.cached?.names === names ? this.cached.resolution : null;
  }

  /** The answer of the server: an oid for each name, 0 for none, and the view. */
  learn(
    names: readonly string[],
    [oids, side, , widths]: readonly (string | null)[],
    relations: readonly string[] = [],
  ): void {
    const counts = widths?.split(' ') ?? [];
    this.widths = new Map(relations.map((relation, i) => [relation, Number(counts[i] ?? 0)]));
    const answers = oids?.split(' ') ?? [];
    const resolution = new Map(names.map((name, i) => [name, Number(answers[i] ?? 0)]));
    this.cached = { names, resolution };
    const view = side?.trim().toLowerCase();
    this.side = view === 'old' || view === 'new' ? view : null;
    this.key = `${this.side} ${this.plain} ${this.escapes} ${this.encoding} ${[...resolution].join()}`;
  }

  /**
   * How many columns relations have, by the answer that came last. It is given once: others may alter
   * them at any time. null: it has to be asked.
   */
  takeWidths(relations: readonly string[]): Resolution | null {
    const { widths } = this;
    this.widths = new Map();
    if (!relations.every((relation) => widths.has(relation))) return null;
    return new Map(relations.map((relation) => [widthKey(relation), widths.get(relation)!]));
  }

  forget(): void {
    this.cached = null;
  }

  /**
   * A simple Query is being sent.
   * @param text null: not known.
   * @param rewrite what was made of it; it may say already what `runs` would find.
   */
  sends(text: Buffer | null, rewrite: Rewrite | null): void {
    const found = rewrite?.found;
    if (!text || !this.plain) this.runs(null);
    else if (found) this.ran(found.suspect, found.ends);
    else this.runs(text.toString('latin1'));
  }

  /** A statement is being sent, or one that was sent before is being run. */
  runs(text: string | null): void {
    this.ran(text === null || mayChangeNames(text), text !== null && endsTransaction(text));
  }

  /** The same, when what `runs` would find is known. */
  ran(suspect: boolean, ends: boolean): void {
    if (!suspect && !(ends && this.changedInTransaction)) return;
    this.cached = null;
    this.changedInTransaction = true;
  }

  /** A Sync is being sent, which may end an implicit transaction. */
  syncs(): void {
    if (this.changedInTransaction) this.cached = null;
  }

  /** A command has ended. */
  tagged(tag: string): void {
    if (STEADY_TAG.test(tag)) return;
    this.cached = null;
    this.changedInTransaction = true;
  }

  /** ReadyForQuery came; `settled` when nothing else is in flight. */
  ready(status: number, settled: boolean): void {
    if (!this.changedInTransaction || status !== IDLE) return;
    this.cached = null;
    if (settled) this.changedInTransaction = false;
  }

  /** ParameterStatus came. PostgreSQL reports search_path from version 18 on. */
  parameter(name: string, value: string): void {
    if (name === 'client_encoding') this.encoding = value;
    else if (name === 'server_encoding') this.serverEncoding = value;
    else if (name === 'standard_conforming_strings') this.conforming = value;
    else if (name === 'search_path' && this.searchPath !== value) this.searchPath = value;
    else if (name !== 'session_authorization') return;
    this.cached = null;
  }
}
