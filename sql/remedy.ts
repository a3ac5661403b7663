/**
 * What to do about a statement that is not rewritten, by its reason. A test looks for every reason
 * of the rewriter here.
 */
const REMEDIES: Readonly<Record<string, string>> = {
  chained: 'Do the changes one after the other, in migrations of their own.',
  copy: 'Use INSERT, or let the guard do its work.',
  'copy-default': 'Give the column in the data, or let the guard do its work.',
  'copy-expression': 'Use INSERT, or let the guard do its work.',
  'copy-file': 'Use COPY FROM STDIN, or let the guard do its work.',
  'copy-options': 'Use plain options of COPY, or let the guard do its work.',
  ddl: 'Alter the table when the migration is complete or aborted.',
  collate: 'Leave COLLATE out, or let the guard do its work.',
  depth: 'Write it with less nesting.',
  do: 'Send the statements by themselves, or let the guard do its work.',
  encoding: 'Set client_encoding to UTF8 and standard_conforming_strings to on.',
  'failed-transaction': 'Roll back first.',
  'follow-only': 'Give the other column of the pair too, or only that.',
  function: 'What the function writes is left to the guard.',
  generated: 'Leave the generated column out.',
  identity: 'Give the identity column a value, or let the guard do its work.',
  indirection: 'Assign the whole column, not an element or a field of it.',
  'insert-select':
    'Write a plain SELECT with a column for each value: no star, DISTINCT or grouping.',
  like: 'Name the columns of the new table.',
  merge: 'Use INSERT ... ON CONFLICT, or name the columns, or let the guard do its work.',
  'natural-join': 'Name the columns to join by (USING or ON).',
  nested: 'Write it as a statement of its own.',
  overriding: 'Leave OVERRIDING out.',
  parser: 'Send it again.',
  prepare: 'Prepare it by the protocol, or send the PREPARE as a statement of its own.',
  'returning-old-new': 'Name the columns in RETURNING.',
  row: 'Assign the columns one by one.',
  'row-type': 'Name the columns in place of the row type.',
  'search-path': 'Send what changes search_path or view by itself, or qualify the names.',
  shape: 'Name the columns, one value for each.',
  size: 'Send it in several smaller statements.',
  star: 'Name the columns in place of the star.',
  statement: 'Do it when the migration is complete or aborted.',
  subselect: 'Assign the columns one by one, or let the guard do its work.',
  syntax: 'Write it in a way that PostgreSQL 18 accepts too.',
  'text-not-kept': 'Prepare it again, or send shorter statements.',
  'too-large': 'Send it in several smaller statements.',
  type: 'Give a value of the type of the column.',
  'unknown-statement': 'Prepare it by a statement of its own.',
  unverified: 'Write it more plainly; please report it.',
  values: 'Write VALUES with one value for each column.',
  view: 'Name the columns in the view, and make it when the migration is complete.',
  volatile: 'Compute the value first and send it, or let the guard do its work.',
  'whole-row': 'Name the columns in place of the whole row.',
};

/** @param reason of `Rewrite`. @returns a sentence; null for a reason that is not known here. */
export function remedyOf(reason: string | null): string | null {
  return reason === null ? null : (REMEDIES[reason] ?? null);
}

/** Reasons that have a remedy. */
export const REMEDIED: readonly string[] = Object.keys(REMEDIES);
