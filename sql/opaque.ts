import { namePattern } from './names.js';
import type { Rewrite } from './outcome.js';
import { misplacing, type Refusal, unguarded } from './plan.js';
import type { PreparedTable } from './prepared.js';
import type { ByteString } from './tree.js';

/**
 * Why a text that may touch a table under migration was not understood:
 * - `encoding`: bytes below 0x80 may be parts of characters, or N'' and U&'' have escapes;
 * - `size`: it is longer than what is parsed;
 * - `depth`: it is nested deeper than the parser or we can go;
 * - `parser`: no parser is ready after one died (not kept: the next try may do);
 * - `syntax`: the grammar, which is PostgreSQL 18's, does not know it. An older server may: 14 reads
 *   `1where` as two words, and functions of the user's called json_table and the like as calls; and
 *   every server goes on with a string constant after a comment, which this grammar's scanner does
 *   not. What both read they read alike, but for `1_000` and `0x1F`, where 14 sees a number with a
 *   label, and `system_user`, there a column: a copy of the first is a syntax error, never a wrong
 *   value;
 * - `search-path`: within the text it changes what names mean, or on which side the session is.
 */
export type OpaqueReason = 'encoding' | 'size' | 'depth' | 'parser' | 'syntax' | 'search-path';

const REMEDY: Readonly<Record<OpaqueReason, string>> = {
  encoding: 'Set client_encoding to UTF8 and standard_conforming_strings to on.',
  size: 'Send it in several smaller statements, or raise the limit of the proxy.',
  depth: 'Write it with less nesting.',
  parser: 'Send it again.',
  syntax: 'Write it in a way that PostgreSQL 18 accepts too.',
  'search-path':
    'Send the statement that changes search_path or view by itself, or qualify the names.',
};

/** Whether a text was not understood. */
export function isOpaque(reason: string | null): boolean {
  return reason !== null && Object.hasOwn(REMEDY, reason);
}

/**
 * A text that was not understood goes as it is. Nothing is assumed of it: it touches each table
 * whose name is in it, and where the guard cannot make up for what it may do it is refused. A
 * syntax error is the server's to tell: where there is no guard, the proxy lets it parse such a text, and
 * not run it.
 *
 * @param writes false when it is known that nothing is written.
 */
export function opaque(
  text: Buffer,
  bytes: ByteString,
  tables: readonly PreparedTable[],
  reason: OpaqueReason,
  writes = true,
): Rewrite {
  const named = tables.filter(({ rule }) => namePattern([rule.name]).test(bytes));
  const touches = [...new Set(named.map(({ rule }) => rule.oid))];
  const rewrite: Rewrite = { outcome: 'guarded', text, touches, reason, refusal: null, edits: [] };
  if (!writes) return rewrite;
  for (const table of named) {
    const bare = table.rule.guard === 'none' && table.pairs.length > 0;
    const displaced = !table.inPlace && reason !== 'syntax';
    if (!bare && !displaced) continue;
    const { message }: Refusal = bare ? unguarded(table, reason) : misplacing(table);
    return { ...rewrite, outcome: 'refused', refusal: { message, hint: REMEDY[reason] } };
  }
  return rewrite;
}
