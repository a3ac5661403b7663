import type { ColumnRef, CopyStmt, JoinExpr, Node, SelectStmt } from 'libpg-query';
import { namePattern } from './names.js';
import type { PreparedTable } from './prepared.js';
import { findItem, type Item, type Scope } from './scope.js';
import type { Statement } from './statement.js';
import { type ByteString, strings } from './tree.js';
import type { Findings } from './walk.js';

/*
 * Which of the columns that will go away a statement names: who still uses them is known from
 * that. Where it is not certain whose column a name is, it counts as named: what is left out here
 * is an application that fails when the column is dropped.
 */

/** By table: the watched columns that are named. */
export class Named {
  private readonly columns = new Map<PreparedTable, Set<ByteString>>();
  /** References that mean a label of the target list. */
  private readonly labels = new WeakSet<ColumnRef>();

  add(table: PreparedTable | null, name: ByteString | null | undefined): void {
    if (!table || typeof name !== 'string' || !table.watched.has(name)) return;
    const known = this.columns.get(table);
    if (known) known.add(name);
    else this.columns.set(table, new Set([name]));
  }

  of(table: PreparedTable): readonly ByteString[] {
    return [...(this.columns.get(table) ?? [])];
  }

  /** A reference within a statement, `fields` being its names. */
  reference(ref: ColumnRef, fields: readonly (ByteString | null)[], scope: Scope): void {
    const last = fields.at(-1);
    if (typeof last !== 'string' || this.labels.has(ref)) return;
    if (fields.length === 1) {
      for (let at: Scope | null = scope; at; at = at.parent) {
        for (const { table } of at.items) this.add(table, last);
      }
      return;
    }
    const qualifier = fields.at(-2) ?? '';
    const item = findItem(scope, qualifier);
    if (item) this.add(item.table, last);
  }

  /** In ORDER BY a bare name is the label of a column of the result before it is a column. */
  sorts({ targetList, sortClause }: SelectStmt): void {
    if (!sortClause) return;
    const labels = new Set(
      (targetList ?? []).map((node) => ('ResTarget' in node ? node.ResTarget.name : undefined)),
    );
    for (const node of sortClause) {
      const key = 'SortBy' in node ? node.SortBy.node : undefined;
      if (!key || !('ColumnRef' in key)) continue;
      const [name, ...more] = strings(key.ColumnRef.fields);
      if (more.length === 0 && labels.has(name ?? undefined)) this.labels.add(key.ColumnRef);
    }
  }

  joins({ usingClause }: JoinExpr, scope: Scope | null): void {
    for (const name of strings(usingClause)) {
      for (const { table } of scope?.items ?? []) this.add(table, name);
    }
  }

  /** What a star, or INSERT without a column list, stands for in a view that will go away. */
  all(table: PreparedTable): void {
    if (table.isAside) for (const name of table.visible) this.add(table, name);
  }
}

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
