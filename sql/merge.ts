import type { MergeStmt, MergeWhenClause, Node } from 'libpg-query';
import { joinWith } from './edits.js';
import { additionsTo, assigned, fallbackOf, impliedDefault } from './pairs.js';
import { misplacing, type Plan, Unsure, Wrong } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import type { Cell } from './rows.js';
import { quoteIdentifier } from './rules.js';
import { isRepeatable } from './safety.js';
import type { Source } from './source.js';
import type { ByteString } from './tree.js';
import { rewriteSet } from './update.js';
import { isStar } from './values.js';

/** Whether a MERGE inserts without a column list. */
export function isUnlisted(stmt: MergeStmt): boolean {
  return (stmt.mergeWhenClauses ?? []).some(
    (node) =>
      'MergeWhenClause' in node &&
      node.MergeWhenClause.commandType === 'CMD_INSERT' &&
      !node.MergeWhenClause.targetList &&
      node.MergeWhenClause.values !== undefined,
  );
}

/** One action with its place: tokens from the word behind THEN on, up to `limit` (not included). */
interface Action {
  clause: MergeWhenClause;
  from: number;
  limit: number;
}

/** Adds the other column of each pair to every action of a MERGE. */
export function rewriteMerge(plan: Plan, stmt: MergeStmt, table: PreparedTable): void {
  const unlisted = isUnlisted(stmt) && table.hides && !table.inPlace;
  if (unlisted) plan.needed.add(table);
  let actions: Action[];
  try {
    actions = findActions(plan.source, stmt);
  } catch (error) {
    if (!(error instanceof Unsure)) throw error;
    if (unlisted) plan.refuse('merge', misplacing(table));
    if (table.pairs.length > 0) plan.guardWrite(table, error.reason);
    return;
  }
  const taking = actions.filter(
    ({ clause }) => isUpdate(clause) && mayTakeSubselect(clause, table),
  );
  const inserts = actions.some(({ clause }) => clause.commandType === 'CMD_INSERT');
  const crowded = taking.length > (table.isPartitioned && inserts ? 0 : 1);
  for (const action of actions) {
    const { commandType, targetList } = action.clause;
    if (isUpdate(action.clause) && crowded) {
      if (table.pairs.length > 0) plan.guardWrite(table, 'volatile');
    } else if (commandType === 'CMD_UPDATE' && targetList && stmt.relation) {
      const { relation } = stmt;
      const { limit } = action;
      const list = { targets: targetList, relation, limit, reads: null, namesOf: () => null };
      rewriteSet(plan, list, table);
    } else if (commandType === 'CMD_INSERT') rewriteAction(plan, action, table);
  }
}

const isUpdate = (clause: MergeWhenClause) => clause.commandType === 'CMD_UPDATE';

/**
 * Whether the SET of an action has, or may be given, several columns from a subselect. PostgreSQL (15
 * to 18 at least) takes the subselects of two actions of one MERGE for each other: it fails with 42804,
 * or the server crashes. Where a row is inserted into a partition that was not read, it fails with XX000
 * (`SubPlan found with no parent plan`) if an UPDATE action has a subselect, though that is not taken.
 */
function mayTakeSubselect({ targetList }: MergeWhenClause, table: PreparedTable): boolean {
  return (targetList ?? []).some((node) => {
    if (!('ResTarget' in node) || !node.ResTarget.val) return true;
    const { name = '', val } = node.ResTarget;
    if (!table.columns.has(name) || !('MultiAssignRef' in val)) return !isPlain(val, name, table);
    const { source, colno = 1 } = val.MultiAssignRef;
    const row = source && 'RowExpr' in source ? source.RowExpr.args : undefined;
    const cell = row?.[colno - 1];
    return !cell || !isPlain(cell, name, table);
  });
}

/** A value that may be given twice. */
function isPlain(value: Node, column: ByteString, table: PreparedTable): boolean {
  if ('SetToDefault' in value || !table.columns.has(column)) return false;
  return isRepeatable(value, columnOfTable(table, column).type.node, table.rule.guard === 'none');
}

function findActions(source: Source, stmt: MergeStmt): Action[] {
  const clauses = (stmt.mergeWhenClauses ?? []).flatMap((node) =>
    'MergeWhenClause' in node ? [node.MergeWhenClause] : [],
  );
  const { whens, thens, end } = scan(source, source.indexAt(stmt.relation?.location ?? 0));
  if (whens.length !== clauses.length || thens.length !== clauses.length) throw new Unsure('shape');
  return clauses.map((clause, i) => {
    return { clause, from: thens[i]! + 1, limit: whens[i + 1] ?? end };
  });
}

/** Where the WHEN and THEN of the actions are: those within CASE or brackets are not. */
function scan(source: Source, from: number): { whens: number[]; thens: number[]; end: number } {
  const whens: number[] = [];
  const thens: number[] = [];
  let depth = 0;
  let cases = 0;
  for (let index = from; ; index++) {
    const word = source.word(index);
    const over = index >= source.count || word === ';' || (depth === 0 && word === ')');
    const label = source.word(index - 1) === '.' || source.word(index - 1) === 'as';
    if (over || (word === 'returning' && depth === 0 && !label))
      return { whens, thens, end: index };
    if (word === '(' || word === '[') depth++;
    else if (word === ')' || word === ']') depth--;
    else if (word === 'case' && !label) cases++;
    else if (word === 'end' && !label && cases > 0) cases--;
    else if (depth === 0 && cases === 0 && !label) {
      if (word === 'when') whens.push(index);
      if (word === 'then') thens.push(index);
    }
  }
}

function rewriteAction(plan: Plan, action: Action, table: PreparedTable): void {
  const layout = layOut(plan.source, action, table);
  let added = false;
  try {
    added = table.pairs.length > 0 && addToAction(plan, layout);
  } catch (error) {
    if (error instanceof Unsure) plan.guardWrite(table, error.reason);
    else if (!(error instanceof Wrong)) throw error;
  }
  const listed = layout.implied && table.hides && (!table.inPlace || layout.tooMany);
  if (listed && !added) list(plan, layout, []);
}

interface ActionLayout {
  clause: MergeWhenClause;
  table: PreparedTable;
  columns: ByteString[];
  /** Whether there is no column list. */
  implied: boolean;
  tooMany: boolean;
  /** Byte after INSERT, or after the last name of the column list. */
  after: number;
  /** Token index of VALUES or DEFAULT. */
  values: number;
}

function layOut(source: Source, { clause, from }: Action, table: PreparedTable): ActionLayout {
  source.expect(from, 'insert');
  let at = from + 1;
  let after = source.end(from);
  const implied = !clause.targetList;
  if (!implied) {
    source.expect(at, '(');
    at = source.close(at);
    after = source.end(at - 1);
    at++;
  }
  if (source.word(at) === 'overriding') at += 3;
  const count = clause.values?.length ?? 0;
  const columns = implied
    ? table.visible.slice(0, count)
    : (clause.targetList ?? []).map((node) =>
        'ResTarget' in node ? (node.ResTarget.name ?? '') : '',
      );
  const tooMany = count > table.visible.length;
  return { clause, table, columns, implied: implied && count > 0, tooMany, after, values: at };
}

function addToAction(plan: Plan, layout: ActionLayout): boolean {
  const { clause, table, columns } = layout;
  const { source } = plan;
  checkColumns(layout);
  const cells = readCells(plan, layout);
  const additions = additionsTo({
    table,
    kind: 'insert',
    isGiven: (column) => columns.includes(column),
    value: (column) => {
      const cell = cells[columns.indexOf(column)];
      // One row is made for each row that does not match: there is no place for a subselect that
      // is computed for each.
      return !cell || cell === 'default'
        ? fallbackOf(table, column)
        : assigned(table, column, cell);
    },
  });
  if (additions.length === 0) return false;
  const values = joinWith(
    ', ',
    additions.map(({ value }) => value),
  );
  if (cells.length === 0) {
    const { values: at } = layout;
    plan.replace(source.start(at), source.end(at + 1), 'VALUES (', values, ')');
  } else plan.insert(source.start(source.close(layout.values + 1)), ', ', values);
  clause.values = [...(clause.values ?? []), ...additions.map(({ value }) => value.node)];
  list(
    plan,
    layout,
    additions.map(({ column }) => column),
  );
  return true;
}

function checkColumns({ clause, table, columns }: ActionLayout): void {
  const paired = new Set(table.pairs.flatMap((pair) => [pair.follow, ...pair.forward.columns]));
  const given = columns.filter((column) => paired.has(column));
  const isIdentity = (column: ByteString) => columnOfTable(table, column).rule.identity !== null;
  if (clause.override === 'OVERRIDING_USER_VALUE' && given.some(isIdentity)) {
    throw new Unsure('overriding');
  }
  let parts = false;
  for (const node of clause.targetList ?? []) {
    if (!('ResTarget' in node) || !node.ResTarget.indirection) continue;
    parts = true;
    if (paired.has(node.ResTarget.name ?? '')) throw new Unsure('indirection');
  }
  if (!parts && new Set(columns).size !== columns.length) throw new Wrong('a column twice');
}

function readCells(plan: Plan, layout: ActionLayout): Cell[] {
  const { source } = plan;
  const nodes = layout.clause.values ?? [];
  if (nodes.length === 0) {
    source.expect(layout.values, 'default', 'values');
    return [];
  }
  source.expect(layout.values, 'values', '(');
  const spans = source.items(layout.values + 2);
  if (spans.length !== nodes.length) throw new Unsure('shape');
  if (nodes.some(isStar)) throw new Unsure('star');
  if (nodes.length !== layout.columns.length) throw new Wrong('as many values as columns');
  const { table, columns } = layout;
  return nodes.map((node, i) => {
    if (!('SetToDefault' in node)) return plan.copy(spans[i]!, node);
    const value = impliedDefault(table, columns[i]!, (column) => columns.includes(column));
    if (!value) return 'default';
    plan.replace(source.start(spans[i]!.first), source.end(spans[i]!.last), value);
    nodes[i] = value.node;
    return value;
  });
}

/** Adds names to the action's column list, or writes one. */
function list(plan: Plan, layout: ActionLayout, names: readonly ByteString[]): void {
  const { clause, columns, after } = layout;
  const node = (name: ByteString): Node => ({ ResTarget: { name } });
  if (clause.targetList) {
    plan.insert(after, ...names.map((name) => `, ${quoteIdentifier(name)}`));
    clause.targetList.push(...names.map(node));
    return;
  }
  const all = [...columns, ...names];
  plan.insert(after, ` (${all.map(quoteIdentifier).join(', ')})`);
  clause.targetList = all.map(node);
}
