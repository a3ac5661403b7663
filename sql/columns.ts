import type {
  Alias,
  CommonTableExpr,
  Node,
  RangeFunction,
  RangeVar,
  ReturningClause,
  SelectStmt,
  WithClause,
} from 'libpg-query';
import { type ByteString, strings } from './tree.js';

/** What the names of a FROM clause are. */
export interface Queries {
  /** WITH queries by name, as far as they are seen. */
  ctes: ReadonlyMap<ByteString, CommonTableExpr>;
  /** How many columns any other relation has; null: not known. */
  widthOf(schema: ByteString | undefined, name: ByteString): number | null;
}

function queriesOf(clause: WithClause | undefined, { ctes, widthOf }: Queries): Queries {
  const queries = new Map(ctes);
  for (const node of clause?.ctes ?? []) {
    if ('CommonTableExpr' in node) {
      queries.set(node.CommonTableExpr.ctename ?? '', node.CommonTableExpr);
    }
  }
  return { ctes: queries, widthOf };
}

/** Functions of which it is known that they give one column. */
const ONE_COLUMN =
  /^(generate_series|generate_subscripts|regexp_split_to_table|string_to_table|unnest)$/;

/** How many columns a query gives; null where only the server knows. */
export function countColumns(select: SelectStmt, outer: Queries): number | null {
  const queries = queriesOf(select.withClause, outer);
  if (select.larg && select.rarg) {
    return countColumns(select.larg, queries) ?? countColumns(select.rarg, queries);
  }
  const row = select.valuesLists?.[0];
  if (row && 'List' in row) return row.List.items?.length ?? 0;
  return countTargets(select.targetList ?? [], select.fromClause ?? [], queries);
}

function countTargets(
  targets: readonly Node[],
  from: readonly Node[],
  queries: Queries,
): number | null {
  return sum(targets.map((target) => countTarget(target, from, queries)));
}

/** How many columns each target of a SELECT gives; null where only the server knows. */
export function targetWidths(select: SelectStmt, outer: Queries): (number | null)[] {
  const queries = queriesOf(select.withClause, outer);
  const from = select.fromClause ?? [];
  return (select.targetList ?? []).map((target) => countTarget(target, from, queries));
}

function countTarget(target: Node, from: readonly Node[], queries: Queries): number | null {
  const value = 'ResTarget' in target ? target.ResTarget.val : undefined;
  if (!value || 'A_Indirection' in value) return isWhole(value) ? null : 1;
  if (!('ColumnRef' in value)) return 1;
  const fields = strings(value.ColumnRef.fields);
  if (fields.at(-1) !== null) return 1;
  if (fields.length === 1) return sum(from.map((item) => countItem(item, queries)));
  const named = from.flatMap(flatten).filter((item) => nameOf(item) === fields.at(-2));
  return named.length === 1 && fields.length === 2 ? countItem(named[0]!, queries) : null;
}

function isWhole(value: Node | undefined): boolean {
  if (!value || !('A_Indirection' in value)) return true;
  return (value.A_Indirection.indirection ?? []).some((part) => 'A_Star' in part);
}

function sum(counts: readonly (number | null)[]): number | null {
  return counts.reduce(
    (total, count) => (total === null || count === null ? null : total + count),
    0,
  );
}

/** The items of a join, which can be named one by one. */
function flatten(node: Node): Node[] {
  if (!('JoinExpr' in node) || node.JoinExpr.alias) return [node];
  const { larg, rarg } = node.JoinExpr;
  return [larg, rarg].flatMap((side) => (side ? flatten(side) : []));
}

function nameOf(node: Node): ByteString | undefined {
  if ('RangeVar' in node) return node.RangeVar.alias?.aliasname ?? node.RangeVar.relname;
  if ('RangeSubselect' in node) return node.RangeSubselect.alias?.aliasname;
  if ('RangeFunction' in node) return node.RangeFunction.alias?.aliasname;
  if ('JoinExpr' in node) return node.JoinExpr.alias?.aliasname;
  return undefined;
}

/**
 * The columns of an item of a FROM clause, by names that its alias gives to all of them, or that VALUES
 * has; null where they are not known.
 */
export function starColumns(
  from: readonly Node[],
  name: ByteString,
  queries: Queries,
): ByteString[] | null {
  const [item, ...others] = from.flatMap(flatten).filter((each) => nameOf(each) === name);
  if (!item || others.length > 0) return null;
  const names = namesOf(item);
  if (names.length === 0 && !isValues(item)) return null;
  const count = countItem(item, queries);
  if (count === null || names.length > count) return null;
  if (isValues(item)) while (names.length < count) names.push(`column${names.length + 1}`);
  return names.length === count && new Set(names).size === count ? names : null;
}

/** Names that an alias gives to columns. */
function namesOf(node: Node): ByteString[] {
  const { alias } = Object.values(node)[0] as { alias?: Alias };
  return strings(alias?.colnames).map(String);
}

function isValues(node: Node): boolean {
  const { subquery } = 'RangeSubselect' in node ? node.RangeSubselect : {};
  return subquery !== undefined && 'SelectStmt' in subquery && !!subquery.SelectStmt.valuesLists;
}

function countItem(node: Node, queries: Queries): number | null {
  if ('RangeVar' in node) {
    const { relname, schemaname } = node.RangeVar;
    const query = schemaname ? undefined : queries.ctes.get(relname ?? '');
    if (query) return countQuery(query, queries);
    return relname === undefined ? null : queries.widthOf(schemaname, relname);
  }
  if ('RangeSubselect' in node) {
    const { subquery } = node.RangeSubselect;
    return subquery && 'SelectStmt' in subquery ? countColumns(subquery.SelectStmt, queries) : null;
  }
  if ('RangeFunction' in node) return countFunction(node.RangeFunction);
  if ('JoinExpr' in node) {
    const { larg, rarg, isNatural, usingClause } = node.JoinExpr;
    if (isNatural || !larg || !rarg) return null;
    const both = sum([countItem(larg, queries), countItem(rarg, queries)]);
    return both === null ? null : both - (usingClause?.length ?? 0);
  }
  return null;
}

function countQuery(query: CommonTableExpr, queries: Queries): number | null {
  if (query.search_clause || query.cycle_clause) return null;
  const { ctequery } = query;
  if (!ctequery) return null;
  if (!('SelectStmt' in ctequery)) return countReturning(ctequery, queries);
  // A query that reads itself is counted by its first arm.
  const others = new Map([...queries.ctes].filter(([, other]) => other !== query));
  return countColumns(ctequery.SelectStmt, { ...queries, ctes: others });
}

/** What a WITH query that writes gives: a star is of what it reads beside its table, and of that. */
function countReturning(query: Node, queries: Queries): number | null {
  const [stmt] = Object.values(query) as Writing[];
  const { relation, sourceRelation, fromClause, usingClause, returningClause } = stmt ?? {};
  // What is written is no WITH query, whatever its name is.
  if (!relation?.relname || queries.ctes.has(relation.relname)) return null;
  const others = [...(sourceRelation ? [sourceRelation] : []), ...(fromClause ?? [])];
  const from = [...others, ...(usingClause ?? []), { RangeVar: relation }];
  return countTargets(returningClause?.exprs ?? [], from, queries);
}

interface Writing {
  relation?: RangeVar;
  sourceRelation?: Node;
  fromClause?: Node[];
  usingClause?: Node[];
  returningClause?: ReturningClause;
}

function countFunction(item: RangeFunction): number | null {
  const ordinal = item.ordinality ? 1 : 0;
  if (item.coldeflist) return item.coldeflist.length + ordinal;
  const [first, ...rest] = item.functions ?? [];
  const call = first && 'List' in first ? first.List.items?.[0] : undefined;
  if (rest.length > 0 || !call || !('FuncCall' in call)) return null;
  const name = strings(call.FuncCall.funcname).at(-1) ?? '';
  // unnest of one array of a composite type gives its fields.
  if (!ONE_COLUMN.test(name) || name === 'unnest') return null;
  return 1 + ordinal;
}
