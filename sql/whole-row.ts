import type { Node, TypeName } from 'libpg-query';
import { columnOf, prepareType } from './fragment.js';
import type { Plan } from './plan.js';
import { quoteIdentifier } from './rules.js';
import { findItem, type Item, type Scope } from './scope.js';
import { endsTargets } from './select.js';
import { type ByteString, strings } from './tree.js';

/*
 * A whole row of a table that hides columns, where a row of the visible ones is the same: turned to
 * text, compared, or tested for NULL. Elsewhere its type or the names of its columns would be seen.
 */

/** A whole-row reference in a place where it can be spelled out. */
export interface WholeRow {
  /** The node that holds it, and under which key. */
  holder: Record<string, unknown>;
  key: string;
  item: Item;
  /** As an operand its type has to be that of a row, so that the operator is one of rows. */
  operand: boolean;
  /** The target that is called after the row. */
  target: Node | null;
}

const COMPARISONS = new Set(['=', '<>', '!=', '<', '>', '<=', '>=']);
const TEXTS = new Set(['text', 'varchar']);

/** Whole-row references right below a node of this kind. */
export function wholeRows(kind: string, node: unknown, scope: Scope | null): WholeRow[] {
  const holder = node as Record<string, unknown>;
  const at = (key: string, operand: boolean): WholeRow[] => {
    const item = itemOfRow(holder[key] as Node | undefined, scope);
    return item ? [{ holder, key, item, operand, target: null }] : [];
  };
  if (kind === 'TypeCast') return isText(holder.typeName as TypeName) ? at('arg', false) : [];
  if (kind === 'NullTest') return at('arg', false);
  if (kind !== 'A_Expr') return [];
  const names = strings(holder.name as Node[]);
  const compares = names.length === 1 && COMPARISONS.has(String(names[0]));
  const how = holder.kind;
  const fits = how === 'AEXPR_OP' || how === 'AEXPR_DISTINCT' || how === 'AEXPR_NOT_DISTINCT';
  return compares && fits ? [...at('lexpr', true), ...at('rexpr', true)] : [];
}

function isText(type: TypeName | undefined): boolean {
  const names = strings(type?.names);
  return names.length <= 2 && TEXTS.has(String(names.at(-1))) && !type?.arrayBounds;
}

function itemOfRow(value: Node | undefined, scope: Scope | null): Item | null {
  if (!scope || !value || !('ColumnRef' in value)) return null;
  const fields = strings(value.ColumnRef.fields);
  const whole = fields.length === 2 && fields[1] === null;
  const name = fields[0];
  if (typeof name !== 'string' || (!whole && fields.length !== 1)) return null;
  const item = findItem(scope, name);
  if (!item?.table?.hides || item.columns.length > 0) return null;
  for (let at: Scope | null = scope; at; at = at.parent) {
    // A column of that name comes first.
    const named = at.items.some(({ table }) => !table || table.columns.has(name));
    if (!whole && named) return null;
    // A row that an outer join makes up of nothing is NULL; one of its columns would not be.
    if (at.items.includes(item)) return at.outer ? null : item;
  }
  return null;
}

/**
 * The cast that gives a target its name, and that of the row in it; null when the target has a
 * label, or its name from elsewhere.
 */
export function namingCast(target: Node): object | null {
  const { name, val } = 'ResTarget' in target ? target.ResTarget : {};
  if (name !== undefined) return null;
  for (let node = val; node; ) {
    if ('CollateClause' in node) node = node.CollateClause.arg;
    else if (!('TypeCast' in node)) return null;
    else if (node.TypeCast.arg && 'ColumnRef' in node.TypeCast.arg) return node.TypeCast;
    else node = node.TypeCast.arg;
  }
  return null;
}

/** Spells the row out. */
export function expandRow(plan: Plan, row: WholeRow): void {
  const { holder, key, item, operand } = row;
  const { source } = plan;
  const value = holder[key] as Extract<Node, { ColumnRef: unknown }>;
  const { location = 0, fields } = value.ColumnRef;
  const first = source.indexAt(location);
  const star = strings(fields).at(-1) === null;
  const last = star ? source.afterName(first) + 1 : source.afterName(first) - 1;
  if (star) source.expect(last, '*');
  const columns = (item.table?.visible ?? []).map((column) => columnOf(item.path, column));
  const record = prepareType('pg_catalog.record');
  const texts: ByteString = columns.map(({ text }) => text).join(', ');
  const cast = operand ? `::${record.text}` : '';
  plan.replace(source.start(first), source.end(last), `ROW(${texts})${cast}`);
  const args = columns.map(({ node }) => node);
  const spelled: Node = { RowExpr: { args, row_format: 'COERCE_EXPLICIT_CALL' } };
  holder[key] = operand ? { TypeCast: { arg: spelled, typeName: record.node } } : spelled;
  const target = row.target && 'ResTarget' in row.target ? row.target.ResTarget : null;
  if (!target) return;
  const [span] = source.items(source.indexAt(target.location ?? 0), (index) =>
    endsTargets(source, index),
  );
  plan.insert(source.end(span!.last), ` AS ${quoteIdentifier(item.name ?? '')}`);
  target.name = item.name ?? '';
}
