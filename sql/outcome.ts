import type { CopyRows } from './copy-rows.js';
import type { RuleSet, View } from './rules.js';

/**
 * What a rule set makes of one text: a value, made once per text and epoch.
 * - `unchanged`: nothing has to be done; `touches` may name tables all the same;
 * - `rewritten`: the text that is sent does all that has to be done;
 * - `guarded`: something in it relies on the guard, or shows columns that should be hidden. The text
 *   that is sent may have edits none the less: those that are certain;
 * - `refused`: the client gets `refusal`, and the server nothing.
 */
export type Outcome = 'unchanged' | 'rewritten' | 'guarded' | 'refused';

/** One positional edit: bytes `start` to `end` of the client's text became `length` bytes. */
export interface Edit {
  /** Byte offsets in the client's text; equal for an insertion. */
  start: number;
  end: number;
  /** Bytes that stand there in the server's text. */
  length: number;
  /**
   * Copies of the client's own text within the inserted bytes, so that an error inside a copy is
   * shown where the client wrote it: `at` is relative to the edit's first inserted byte. A negative
   * `from`: an error there has no place.
   */
  copies: readonly { at: number; from: number; length: number }[];
}

/** What is recorded of a statement; one object for all texts that differ in nothing of it. */
export interface Shape {
  /** The statement without its values (see normal.ts); empty when its text is not known. */
  text: string;
  /** Whether `text` is all of it. */
  isWhole: boolean;
  outcome: Outcome;
  reason: string | null;
  /** Tables whose statements are recorded. */
  tables: readonly {
    oid: number;
    /** `schema.name`. */
    name: string;
    /** The watched columns that the statement names. */
    named: readonly string[];
  }[];
}

/** Memory that is written to the server. */
export interface Target {
  /** Makes room for so many bytes behind what is there. @returns where in `memory`, which may be another one. */
  room(length: number): number;
  readonly memory: Buffer;
}

export interface Rewrite {
  outcome: Outcome;
  /** What to send, in the client's encoding, without the terminating NUL. */
  text: Buffer;
  /** Writes `text` there without making it first; absent: it is made. */
  writeTo?(target: Target): void;
  /** The client's text, as bytes of its own; absent: whoever needs it copies it. */
  original?: Buffer;
  /** oids of the tables under migration that the text may touch; empty: none. */
  touches: readonly number[];
  /** Why it was guarded or refused, a short slug for metrics (`copy`, `merge`, ...); else null. */
  reason: string | null;
  /** What the client is told when it is refused: SQLSTATE 0A000 with this message and hint. */
  refusal: { message: string; hint: string } | null;
  /** Ascending, not overlapping; empty when unchanged. */
  edits: readonly Edit[];
  /**
   * Relations, as they are written in SQL, of which it would be known how to rewrite it if it were known
   * how many columns they have, or how many of a name (`readAsked` of names.ts); absent when there are none. `isNeeded`: all
   * columns had to be listed meanwhile, and the server may refuse that.
   */
  wants?: { relations: readonly string[]; isNeeded: boolean };
  /**
   * What of a text that is remembered is known of its end (steady.ts): whether names may mean something
   * else then, and whether it ends a transaction; absent: to be looked for.
   */
  found?: { suspect: boolean; ends: boolean };
  /** What is recorded of it; absent when nothing is. */
  shape?: Shape;
  /**
   * For each COPY FROM STDIN in the text, in order, what is done to its rows; null: nothing. Left out
   * when that is nothing for all.
   */
  copies?: readonly (CopyRows | null)[];
}

/**
 * What the session's search_path makes of the unqualified names in `StatementRewriter.names`:
 * the oid of the relation that each means, 0 for none. Asked of the server, on the session. With it may
 * come how many columns the relations have that a rewrite `wants`.
 */
export type Resolution = ReadonlyMap<string, number>;

/** What the proxy needs of the rewriter; one for each rule set. */
export interface StatementRewriter {
  readonly rules: RuleSet;
  /** Unqualified names that must be resolved before `rewrite` is called. */
  readonly names: readonly string[];
  /** The prefilter: false only when the text can not touch a table under migration. */
  mayTouch(text: Buffer): boolean;
  /**
   * @param text the client's text, without the NUL.
   * @param resolution of `names`.
   * @param plain whether bytes below 0x80 are ASCII in the session's client_encoding; when not,
   *   whatever touches is guarded. Where the rules are not all ASCII (`isAscii` of names.ts) it is true
   *   of sessions in UTF8 only.
   * @param view what the session has put in `pgtandem.view`; by default the rules' own.
   * @param escapes whether standard_conforming_strings is off.
   * @param isOwn whether nobody else writes to the text's memory, ever: it need not be copied.
   */
  rewrite(
    text: Buffer,
    resolution: Resolution,
    plain: boolean,
    view?: View | null,
    escapes?: boolean,
    isOwn?: boolean,
  ): Rewrite;
  /**
   * Maps a position (characters from 1) in `rewrite.text` to one in `original`; 0: it has none.
   * @param utf8 whether they are in UTF-8, by the session's client_encoding.
   */
  mapPosition(original: Buffer, rewrite: Rewrite, position: number, utf8: boolean): number;
}
