import type { Node, RangeVar, UpdateStmt } from 'libpg-query';
import { columnOf, copyOf, type Fragment } from './fragment.js';
import { additionsTo, assigned, fallbackOf } from './pairs.js';
import { type Plan, Unsure } from './plan.js';
import { columnOfTable, type PreparedTable } from './prepared.js';
import { quoteIdentifier } from './rules.js';
import type { Source, Span } from './source.js';
import type { ByteString } from './tree.js';

/** What one column is assigned; `null` when it is not known apart (subselect, part of a value). */
type Assignment = { value: Fragment } | 'default' | { unsure: string };

/** A SET list: of an UPDATE, or of ON CONFLICT DO UPDATE. */
export interface SetList {
  targets: Node[];
  /** The table as it is named in the statement. */
  relation: RangeVar;
}

/** Adds the other column of each pair to the SET list of an UPDATE. */
export function rewriteUpdate(plan: Plan, stmt: UpdateStmt, table: PreparedTable): void {
  const { relation } = stmt;
  stmt.targetList ??= [];
  if (relation) rewriteSet(plan, { targets: stmt.targetList, relation }, table);
}

/** The same for any SET list; what is not certain is left to the guard. */
export function rewriteSet(plan: Plan, list: SetList, table: PreparedTable): void {
  if (table.pairs.length === 0) return;
  try {
    addAssignments(plan, list, table);
  } catch (error) {
    if (!(error instanceof Unsure)) throw error;
    plan.guardWrite(table, error.reason);
  }
}

function addAssignments(plan: Plan, list: SetList, table: PreparedTable): void {
  const { assignments, end } = readSet(plan.source, list.targets);
  const alias = list.relation.alias?.aliasname;
  const path = alias ? [alias] : [table.schema, table.name];
  const additions = additionsTo({
    table,
    kind: 'update',
    isGiven: (column) => assignments.has(column),
    value: (column) => {
      const given = assignments.get(column);
      if (given === 'default') return fallbackOf(table, column);
      if (given && 'unsure' in given) throw new Unsure(given.unsure);
      if (given) return assigned(table, column, given.value);
      // A generated column is computed after the assignments; its old value is not the new one.
      if (columnOfTable(table, column).rule.generated) throw new Unsure('generated');
      return columnOf(path, column);
    },
  });
  for (const { column, value } of additions) {
    plan.insert(end, `, ${quoteIdentifier(column)} = `, value);
    list.targets.push({ ResTarget: { name: column, val: value.node } });
  }
}

/** The assignments of a SET list by column, and the byte after the last of them. */
function readSet(
  source: Source,
  targets: readonly Node[],
): { assignments: Map<ByteString, Assignment>; end: number } {
  const first = targets[0];
  if (!first || !('ResTarget' in first)) throw new Unsure('shape');
  let start = source.indexAt(first.ResTarget.location ?? 0);
  if (source.word(start - 1) === '(') start--;
  source.expect(start - 1, 'set');
  const items = source.items(start, (index) => endsSet(source, index));
  const assignments = new Map<ByteString, Assignment>();
  let next = 0;
  for (const item of items) {
    const isRow = source.word(item.first) === '(';
    const count = isRow ? columnsOf(targets[next]) : 1;
    const group = targets.slice(next, next + count);
    next += count;
    group.forEach((target, i) => {
      const name = nameOf(target);
      const assignment = isRow
        ? rowAssignment(source, item, target, i)
        : plainAssignment(source, item, target);
      assignments.set(name, assignments.has(name) ? { unsure: 'indirection' } : assignment);
    });
  }
  if (next !== targets.length) throw new Unsure('shape');
  return { assignments, end: source.end(items.at(-1)!.last) };
}

function endsSet(source: Source, index: number): boolean {
  const word = source.word(index);
  if (word !== 'from' && word !== 'where' && word !== 'returning') return false;
  if (source.word(index - 1) === '.') return false;
  // IS [NOT] DISTINCT FROM
  return !(
    word === 'from' &&
    source.word(index - 1) === 'distinct' &&
    source.word(index - 2) !== '.'
  );
}

function nameOf(target: Node): ByteString {
  return 'ResTarget' in target ? (target.ResTarget.name ?? '') : '';
}

function columnsOf(target: Node | undefined): number {
  const value = target && 'ResTarget' in target ? target.ResTarget.val : undefined;
  return value && 'MultiAssignRef' in value ? (value.MultiAssignRef.ncolumns ?? 1) : 1;
}

function plainAssignment(source: Source, item: Span, target: Node): Assignment {
  const { val, indirection } = 'ResTarget' in target ? target.ResTarget : {};
  if (!val) throw new Unsure('shape');
  if (indirection) return { unsure: 'indirection' };
  if ('SetToDefault' in val) return 'default';
  const equals = source.afterName(item.first);
  source.expect(equals, '=');
  return { value: copyOf(source, { first: equals + 1, last: item.last }, val) };
}

/** One column of `(a, b) = (x, y)` or `(a, b) = ROW (x, y)`. */
function rowAssignment(source: Source, item: Span, target: Node, place: number): Assignment {
  const { val, indirection } = 'ResTarget' in target ? target.ResTarget : {};
  if (!val || !('MultiAssignRef' in val)) throw new Unsure('shape');
  const row = val.MultiAssignRef.source;
  if (indirection) return { unsure: 'indirection' };
  if (!row || !('RowExpr' in row)) return { unsure: 'subselect' };
  const node = row.RowExpr.args?.[place];
  if (row.RowExpr.args?.length !== val.MultiAssignRef.ncolumns || !node) {
    return { unsure: 'shape' };
  }
  if ('SetToDefault' in node) return 'default';
  let open = source.close(item.first) + 1;
  source.expect(open, '=');
  open += source.word(open + 1) === 'row' ? 2 : 1;
  source.expect(open, '(');
  const span = source.items(open + 1)[place];
  if (!span) throw new Unsure('shape');
  return { value: copyOf(source, span, node) };
}
