import type { A_Indirection, ColumnRef, Node, TypeName } from 'libpg-query';
import { PLAIN } from './assign.js';
import { columnOf, prepareType } from './fragment.js';
import type { Plan } from './plan.js';
import { quoteIdentifier } from './rules.js';
import { findItem, type Item, mayHave, type Scope } from './scope.js';
import { endsTargets } from './select.js';
import { type ByteString, stringNodes, strings } from './tree.js';

/*
 * A whole row of a table that hides columns, where a row of the visible ones is the same: turned to
 * text, compared, tested for NULL, or sent to the client; and as a row whose columns have their names
 * where a function of the server's takes rows of any type:
 *
 *   row_to_json(o)    row_to_json((SELECT r FROM (SELECT o.id, o.note) AS r))
 *
 * A row that an outer join makes up of nothing, or that RETURNING has not, is NULL, which a row of its
 * columns is not: `CASE WHEN o.* IS DISTINCT FROM NULL THEN ... END`, which asks for the value itself.
 * Elsewhere the row's type would be seen.
 */

/** A whole-row reference in a place where it can be spelled out. */
export interface WholeRow {
  /** The node or list that holds it, and under which key. */
  holder: Record<string, unknown>;
  key: string;
  item: Item;
  /**
   * What takes its place: a `row`; one of the type `record`, so that an operator is one of rows and
   * the client is told of rows of any type; or one whose columns are `named`. Who counts rows sees
   * nothing of them: that one is `kept`.
   */
  form: 'row' | 'record' | 'named' | 'kept';
  /**
   * Whether there may be no row at all, and that makes a difference. So it is asked for where rows are
   * grouped, too: whether it may be named there only the server knows.
   */
  missing: boolean;
  /** The target that is called after the row. */
  target: Node | null;
}

const COMPARISONS = new Set(['=', '<>', '!=', '<', '>', '<=', '>=']);
const TEXTS = new Set(['text', 'varchar']);
/** Functions of the server's that take rows of any type and see the names of their columns. */
const AGGREGATES = new Set(['json_agg', 'jsonb_agg', 'json_object_agg', 'jsonb_object_agg']);
const FUNCTIONS = new Set(
  `row_to_json to_json to_jsonb json_build_object jsonb_build_object json_build_array
  jsonb_build_array`.split(/\s+/),
);

/** Whole-row references right below a node of this kind. */
export function wholeRows(kind: string, node: unknown, scope: Scope | null): WholeRow[] {
  const holder = node as Record<string, unknown>;
  const at = (key: string, form: WholeRow['form'], minds = true): WholeRow[] => {
    const found = rowIn(holder[key] as Node | undefined, scope, false);
    if (!found) return [];
    const missing = found.grouped || (minds && found.missing);
    return [{ holder, key, item: found.item, missing, form, target: null }];
  };
  if (kind === 'TypeCast') return isText(holder.typeName as TypeName) ? at('arg', 'row') : [];
  // Of a row of nothing but NULL it says what it says of none.
  if (kind === 'NullTest') return at('arg', 'row', false);
  if (kind === 'FuncCall') return argumentsOf(holder, scope);
  if (kind !== 'A_Expr') return [];
  const names = strings(holder.name as Node[]);
  const compares = names.length === 1 && COMPARISONS.has(String(names[0]));
  const how = holder.kind;
  const fits = how === 'AEXPR_OP' || how === 'AEXPR_DISTINCT' || how === 'AEXPR_NOT_DISTINCT';
  return compares && fits ? [...at('lexpr', 'record'), ...at('rexpr', 'record')] : [];
}

function argumentsOf({ funcname, args }: Record<string, unknown>, scope: Scope | null): WholeRow[] {
  const [name, ...more] = strings(funcname as Node[]).reverse();
  if (typeof name !== 'string' || more.some((schema) => schema !== 'pg_catalog')) return [];
  const form = name === 'count' ? 'kept' : 'named';
  const aggregates = form === 'kept' || AGGREGATES.has(name);
  if ((!aggregates && !FUNCTIONS.has(name)) || !Array.isArray(args)) return [];
  return (args as Node[]).flatMap((argument, place): WholeRow[] => {
    const found = rowIn(argument, scope, aggregates);
    const holder = args as unknown as Record<string, unknown>;
    return found ? [{ holder, key: String(place), ...asked(found), form, target: null }] : [];
  });
}

/** A target that is a whole row, in what the client is sent. */
export function rowSent(target: Node, scope: Scope): WholeRow | null {
  if (!('ResTarget' in target)) return null;
  const found = rowIn(target.ResTarget.val, scope, false);
  const holder = target.ResTarget as Record<string, unknown>;
  const label = target.ResTarget.name === undefined ? target : null;
  return found && { holder, key: 'val', ...asked(found), form: 'record', target: label };
}

const asked = ({ item, missing, grouped }: Found) => ({ item, missing: missing || grouped });

interface Found {
  item: Item;
  /** Whether there may be no row. */
  missing: boolean;
  /** Whether it is used where rows are grouped. */
  grouped: boolean;
}

function isText(type: TypeName | undefined): boolean {
  const names = strings(type?.names);
  return names.length <= 2 && TEXTS.has(String(names.at(-1))) && !type?.arrayBounds;
}

/** @param aggregated whether it is what an aggregate is made of, so that grouping does not concern it. */
function rowIn(value: Node | undefined, scope: Scope | null, aggregated: boolean): Found | null {
  if (!scope || !value || !('ColumnRef' in value)) return null;
  const fields = strings(value.ColumnRef.fields);
  const whole = fields.length === 2 && fields[1] === null;
  const name = fields[0];
  if (typeof name !== 'string' || (!whole && fields.length !== 1)) return null;
  const item = findItem(scope, name);
  if (!item?.table?.hides || item.columns.length > 0) return null;
  for (let at: Scope | null = scope; at; at = at.parent) {
    // A column of that name comes first.
    if (!whole && at.items.some((other) => mayHave(other, name))) return null;
    const isVersion = at.versions.includes(item);
    // Rows that are grouped by as a whole are no columns.
    if (at.items.includes(item) || isVersion) {
      const groups = aggregated ? null : at.groups;
      if (groups === 'row') return null;
      return { item, missing: at.outer || isVersion, grouped: groups !== null };
    }
  }
  return null;
}

/** What a whole row is of that stands in parentheses, and what is taken of it: `(o).a`, `(o).*`. */
export function rowPart(
  { arg, indirection }: A_Indirection,
  scope: Scope | null,
): { item: Item; ref: ColumnRef; part: ByteString | null } | null {
  const [part] = strings(indirection);
  const found = arg && 'ColumnRef' in arg ? rowIn(arg, scope, false) : null;
  if (!found || !arg || !('ColumnRef' in arg) || part === undefined) return null;
  const { ColumnRef: ref } = arg;
  const [first, ...more] = indirection ?? [];
  const isAll = first && 'A_Star' in first && more.length === 0 && ref.fields?.length === 1;
  const isColumn = part !== null && found.item.table?.columns.has(part);
  return isAll || isColumn ? { item: found.item, ref, part } : null;
}

/** `o.*` in a row, which stands for its columns. */
export function starInRow(node: Node, scope: Scope | null): Item | null {
  const isStar = 'ColumnRef' in node && node.ColumnRef.fields?.length === 2;
  return isStar ? (rowIn(node, scope, false)?.item ?? null) : null;
}

/** Whether what is grouped by may be a whole row. */
export function isRowOf(node: Node, scope: Scope): boolean {
  if (!('ColumnRef' in node)) return false;
  const fields = strings(node.ColumnRef.fields);
  return fields.at(-1) === null || (fields.length === 1 && !!findItem(scope, fields[0] ?? ''));
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

/** The name of a row that has names for its columns. */
const NAMED = 'pgtandem row';

/** Spells the row out. */
export function expandRow(plan: Plan, row: WholeRow): void {
  const { holder, key } = row;
  if (row.form === 'kept') return;
  const { source } = plan;
  const value = holder[key] as Extract<Node, { ColumnRef: unknown }>;
  const { location = 0, fields } = value.ColumnRef;
  const first = source.indexAt(location);
  const star = strings(fields).at(-1) === null;
  const last = star ? source.afterName(first) + 1 : source.afterName(first) - 1;
  if (star) source.expect(last, '*');
  const spelled = spell(row);
  plan.replace(source.start(first), source.end(last), spelled.text);
  holder[key] = spelled.node;
  const target = row.target && 'ResTarget' in row.target ? row.target.ResTarget : null;
  if (!target) return;
  const [span] = source.items(source.indexAt(target.location ?? 0), (index) =>
    endsTargets(source, index),
  );
  plan.insert(source.end(span!.last), ` AS ${quoteIdentifier(row.item.name ?? '')}`);
  target.name = row.item.name ?? '';
}

function spell({ item, form, missing }: WholeRow): { text: ByteString; node: Node } {
  const columns = (item.table?.visible ?? []).map((column) => columnOf(item.path, column));
  const texts = columns.map(({ text }) => text).join(', ');
  const nodes = columns.map(({ node }) => node);
  const made = form === 'named' ? namedRow(texts, nodes) : plainRow(texts, nodes, form);
  if (!missing) return made;
  const whole: Node = { ColumnRef: { fields: [...stringNodes(item.path), { A_Star: {} }] } };
  const isThere: Node = {
    A_Expr: {
      kind: 'AEXPR_DISTINCT',
      name: stringNodes(['=']),
      lexpr: whole,
      rexpr: { A_Const: { isnull: true } },
    },
  };
  const path = item.path.map(quoteIdentifier).join('.');
  return {
    text: `(CASE WHEN ${path}.* IS DISTINCT FROM NULL THEN ${made.text} END)`,
    node: { CaseExpr: { args: [{ CaseWhen: { expr: isThere, result: made.node } }] } },
  };
}

function plainRow(texts: ByteString, args: Node[], form: WholeRow['form']) {
  const record = prepareType('pg_catalog.record');
  const spelled: Node = { RowExpr: { args, row_format: 'COERCE_EXPLICIT_CALL' } };
  if (form === 'row') return { text: `ROW(${texts})`, node: spelled };
  return {
    text: `ROW(${texts})::${record.text}`,
    node: { TypeCast: { arg: spelled, typeName: record.node } },
  };
}

/** A row whose columns have their names, whatever table it is of. */
function namedRow(texts: ByteString, nodes: readonly Node[]): { text: ByteString; node: Node } {
  const name = quoteIdentifier(NAMED);
  const subquery: Node = {
    SelectStmt: { targetList: nodes.map((val) => ({ ResTarget: { val } })), ...PLAIN },
  };
  const subselect: Node = {
    SelectStmt: {
      targetList: [{ ResTarget: { val: columnOf([], NAMED).node } }],
      fromClause: [{ RangeSubselect: { subquery, alias: { aliasname: NAMED } } }],
      ...PLAIN,
    },
  };
  return {
    text: `(SELECT ${name} FROM (SELECT ${texts}) AS ${name})`,
    node: { SubLink: { subLinkType: 'EXPR_SUBLINK', subselect } },
  };
}
