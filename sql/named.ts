import type { CopyStmt, Node } from 'libpg-query';
import type { Findings, Named, Statement } from './findings.js';
import { namePattern } from './names.js';
import type { PreparedTable } from './prepared.js';
import { findItem, type Item } from './scope.js';
import { type ByteString, strings } from './tree.js';

/*
 * Which of the columns that will go away a statement names: who still uses them is known from
 * that. Where it is not certain whose column a name is, it counts as named: what is left out here
 * is an application that fails when the column is dropped.
 */

/** Kinds whose references the walk has seen; of any other the names in its text count. */
const WALKED = /^(Select|Insert|Update|Delete|Merge|Explain|DeclareCursor|CreateTableAs|Copy)Stmt$/;

/**
 * The watched columns that a text names, by table; null: it was not understood, and its text has a
 * word that is the name of one.
 * @param statements what was found in it, before anything is changed; null: it was not parsed.
 */
export function namedIn(
  bytes: ByteString,
  statements: readonly Statement[] | null,
  table: PreparedTable,
): readonly ByteString[] {
  if (table.watched.size === 0) return [];
  const known = statements?.every(({ kind }) => WALKED.test(kind) || kind === 'PrepareStmt');
  if (!statements || !known) {
    return [...table.watched.keys()].filter((name) => namePattern([name]).test(bytes));
  }
  const found = new Set<ByteString>();
  for (const { kind, value, findings } of statements) {
    if (!findings.touched.has(table)) continue;
    addTargets(findings);
    if (kind === 'CopyStmt' && (value as CopyStmt).relation) {
      for (const name of strings((value as CopyStmt).attlist)) findings.named.add(table, name);
      if (!(value as CopyStmt).attlist) findings.named.all(table);
    }
    for (const name of findings.named.of(table)) found.add(name);
  }
  return [...found];
}

/** Columns that are assigned, and what stars stand for. */
function addTargets(findings: Findings): void {
  const { named } = findings;
  for (const { table, kind, stmt } of findings.writes) {
    if (kind === 'insert') {
      if (!stmt.cols) named.all(table);
      assigns(named, table, stmt.cols);
      assigns(named, table, stmt.onConflictClause?.targetList);
      for (const node of stmt.onConflictClause?.infer?.indexElems ?? []) {
        if ('IndexElem' in node) named.add(table, node.IndexElem.name);
      }
    } else if (kind === 'update') assigns(named, table, stmt.targetList);
    else if (kind === 'merge') {
      for (const node of stmt.mergeWhenClauses ?? []) {
        if (!('MergeWhenClause' in node)) continue;
        const { targetList, commandType } = node.MergeWhenClause;
        assigns(named, table, targetList);
        if (commandType === 'CMD_INSERT' && !targetList) named.all(table);
      }
    }
  }
  for (const { ref, scope } of findings.stars) {
    const qualifier = strings(ref.fields).at(-2);
    const item = typeof qualifier === 'string' ? findItem(scope, qualifier) : null;
    const items: readonly (Item | null)[] = typeof qualifier === 'string' ? [item] : scope.items;
    for (const each of items) if (each?.table) named.all(each.table);
  }
}

function assigns(named: Named, table: PreparedTable, targets: readonly Node[] | undefined): void {
  for (const node of targets ?? []) if ('ResTarget' in node) named.add(table, node.ResTarget.name);
}
