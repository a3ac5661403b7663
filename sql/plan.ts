import type { CopyStmt, Node } from 'libpg-query';
import type { CopyRows } from './copy-rows.js';
import { type Draft, join, type Piece } from './edits.js';
import type { Fragment } from './fragment.js';
import type { PreparedTable } from './prepared.js';
import type { Source, Span } from './source.js';

/** A statement, or a part of it, that cannot be rewritten with certainty; `reason` is a slug. */
export class Unsure extends Error {
  constructor(readonly reason: string) {
    super(reason);
  }
}

/** The server refuses the statement whatever is done to it; it is to say so itself. */
export class Wrong extends Error {}

export interface Refusal {
  message: string;
  hint: string;
}

/** What has been decided about one text so far. The tree is changed along with the drafts. */
export class Plan {
  drafts: Draft[] = [];
  /** Why a write is left to the guard, or a read may show hidden columns; the first of each. */
  writeReason: string | null = null;
  readReason: string | null = null;
  refusal: (Refusal & { reason: string }) | null = null;
  /** Tables whose statement is only right with its edits: sent without them, it is refused. */
  readonly needed = new Set<PreparedTable>();
  /** Targets that a star was spelled out to, and where the server sees it; below 0: nowhere. */
  readonly spelled = new Map<Node, number>();
  /** Whether an INSERT without a column list gives that is not known how many values. */
  uncounted = false;
  /** What is done to the data of a COPY FROM STDIN. */
  readonly copies = new Map<CopyStmt, CopyRows>();

  constructor(readonly source: Source) {}

  replace(start: number, end: number, ...parts: (string | Piece)[]): void {
    this.drafts.push({ start, end, ...join(...parts) });
  }

  insert(at: number, ...parts: (string | Piece)[]): void {
    this.replace(at, at, ...parts);
  }

  /**
   * The client's own expression, to be given a second time or somewhere else, with what was
   * already changed in it.
   */
  copy(span: Span, node: Node): Fragment {
    const { source } = this;
    const end = source.end(span.last);
    let at = source.start(span.first);
    const parts: Piece[] = [];
    const raw = (from: number, to: number): Piece => {
      const text = source.text.slice(from, to);
      return { text, copies: [{ at: 0, from, length: text.length }] };
    };
    // What has escapes is warned of where the client wrote it, and not once more.
    const own = (to: number): Piece => {
      if (!source.escaped) return raw(at, to);
      const marks = source.escaped.filter((start) => start >= at && start < to);
      const ends = [...marks, to];
      const rest = marks.map((start, i) => join(' E', raw(start, ends[i + 1]!)));
      return join(raw(at, ends[0]!), ...rest);
    };
    const inside = this.drafts.filter((draft) => draft.start < end && draft.end > at);
    for (const draft of inside.sort((a, b) => a.start - b.start)) {
      parts.push(own(draft.start), draft);
      at = draft.end;
    }
    return { ...join(...parts, own(end)), node };
  }

  /** Puts something in place of a part of the text of which copies were taken. */
  move(start: number, end: number, ...parts: (string | Piece)[]): void {
    this.drafts = this.drafts.filter((draft) => draft.start >= end || draft.end <= start);
    this.replace(start, end, ...parts);
  }

  /** A read is sent as it is, or with some columns still shown that should be hidden. */
  guardRead(reason: string): void {
    this.readReason ??= reason;
  }

  /** A write relies on the guard; where the table has none it is refused. */
  guardWrite(table: PreparedTable, reason: string): void {
    this.writeReason ??= reason;
    if (table.rule.guard === 'none') this.refusal ??= { reason, ...unguarded(table, reason) };
  }

  refuse(reason: string, refusal: Refusal): void {
    this.refusal ??= { reason, ...refusal };
  }
}

export function nameOf(table: PreparedTable): string {
  return `${table.rule.schema}.${table.rule.name}`;
}

export function migrationsOf(table: PreparedTable): string {
  const names = [...new Set(table.rule.pairs.map((pair) => pair.name))];
  return names.length > 0 ? names.join(', ') : 'a migration';
}

export function unguarded(table: PreparedTable, reason: string): Refusal {
  return {
    message: `this statement cannot be rewritten for table "${nameOf(table)}", which is under migration (${reason})`,
    hint:
      `The migration (${migrationsOf(table)}) has no guard in the database. Write the table by ` +
      'plain INSERT and UPDATE statements, or start the migration with guard "repair".',
  };
}

/** Statements that would put values into the wrong columns if they were sent as they are. */
export function misplacing(table: PreparedTable): Refusal {
  return {
    message: `INSERT without a column list cannot be rewritten here for table "${nameOf(table)}", which is under migration`,
    hint: `Name the columns in the INSERT, or wait until the migration (${migrationsOf(table)}) is complete.`,
  };
}
