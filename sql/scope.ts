import type { CommonTableExpr, Node, RangeVar } from 'libpg-query';
import type { Queries } from './columns.js';
import type { PreparedTable } from './prepared.js';
import { type ByteString, strings } from './tree.js';

/** One thing that a FROM clause makes visible. */
export interface Item {
  /** The name by which columns are qualified; null when there is none. */
  name: ByteString | null;
  /** The table under migration that it is, else null. */
  table: PreparedTable | null;
  /** How to qualify its columns so that nothing else can be meant. */
  path: readonly ByteString[];
  /** Names given to its first columns by the alias. */
  columns: readonly ByteString[];
  /** A join with an alias over a table that hides columns: its star cannot be spelled out. */
  opaque: boolean;
  /** The node of a table in a FROM clause, else null. */
  node: Node | null;
  /** Whether it is known that another table has no column of that name; null: nothing is. */
  lacks: ((column: ByteString) => boolean) | null;
  /** Whether something refers to more than the table's visible columns. */
  needed: boolean;
}

/** What names mean at one place of a statement. */
export interface Scope {
  parent: Scope | null;
  ctes: Map<ByteString, CommonTableExpr>;
  items: Item[];
  /** Whether USING, NATURAL or a join's alias decides what a bare star is. */
  merged: boolean;
  /** Whether a row of an item may be missing, so that its columns are NULL. */
  outer: boolean;
  /** Whether it is that of a SELECT which neither groups nor locks. */
  plain: boolean;
  /** What it groups by: columns, a whole row among them, or nothing. */
  groups: 'columns' | 'row' | null;
  /** In RETURNING: the row as it was and as it is. They are no part of a bare star. */
  versions: Item[];
}

export function childOf(parent: Scope | null): Scope {
  return {
    parent,
    ctes: new Map(),
    items: [],
    merged: false,
    outer: false,
    plain: false,
    groups: null,
    versions: [],
  };
}

export function isCte(scope: Scope | null, name: ByteString): boolean {
  for (let at = scope; at; at = at.parent) if (at.ctes.has(name)) return true;
  return false;
}

/** The WITH queries that are seen at one place. */
export function queriesIn(scope: Scope): Queries['ctes'] {
  const outer = scope.parent ? queriesIn(scope.parent) : new Map();
  return new Map([...outer, ...scope.ctes]);
}

/** The nearest item of that name. */
export function findItem(scope: Scope, name: ByteString): Item | null {
  for (let at: Scope | null = scope; at; at = at.parent) {
    const named = (candidate: Item) => candidate.name === name;
    const item = at.items.find(named) ?? at.versions.find(named);
    if (item) return item;
  }
  return null;
}

/** Whether a name may be one of the columns that an application sees of an item. */
export function isVisible(item: Item, name: ByteString): boolean {
  return item.columns.includes(name) || (item.table?.visible.includes(name) ?? true);
}

/** Whether a column of an item may have that name. */
export function mayHave({ table, columns, lacks }: Item, column: ByteString): boolean {
  if (columns.includes(column)) return true;
  return table ? table.columns.has(column) : !lacks?.(column);
}

/** What `old` or `new` is. */
export function versionOf(name: ByteString, table: PreparedTable): Item {
  return { ...plainItem(name, false), table };
}

/** The item that a table reference makes. */
export function itemOf(relation: RangeVar, table: PreparedTable | null): Item {
  const name = relation.relname ?? '';
  const alias = relation.alias?.aliasname;
  const path = alias
    ? [alias]
    : table
      ? [table.schema, name]
      : relation.schemaname
        ? [relation.schemaname, name]
        : [name];
  const columns = strings(relation.alias?.colnames).map((column) => column ?? '');
  const made = plainItem(alias ?? name, false);
  return { ...made, table, path, columns };
}

/** What the items of a FROM clause are; joins are followed, what is inside is not. */
export function fromItems(
  nodes: readonly Node[] | undefined,
  scope: Scope,
  relations: Relations,
): void {
  for (const node of nodes ?? []) addItem(node, scope, relations);
}

/** What relations are that are no WITH queries. */
interface Relations {
  findVar(relation: RangeVar): PreparedTable | null;
  lacks(schema: ByteString | undefined, name: ByteString, column: ByteString): boolean;
}

function relationItem(relation: RangeVar, scope: Scope, relations: Relations): Item {
  const { schemaname, relname = '' } = relation;
  if (!schemaname && isCte(scope, relname)) return itemOf(relation, null);
  const item = itemOf(relation, relations.findVar(relation));
  return { ...item, lacks: (column) => relations.lacks(schemaname, relname, column) };
}

function addItem(node: Node, scope: Scope, relations: Relations): void {
  if ('RangeVar' in node) {
    scope.items.push({ ...relationItem(node.RangeVar, scope, relations), node });
  } else if ('RangeTableSample' in node && node.RangeTableSample.relation) {
    addItem(node.RangeTableSample.relation, scope, relations);
    scope.items.at(-1)!.needed = true;
  } else if ('JoinExpr' in node) {
    const { larg, rarg, alias, isNatural, usingClause, join_using_alias } = node.JoinExpr;
    const before = scope.items.length;
    if (node.JoinExpr.jointype !== 'JOIN_INNER') scope.outer = true;
    for (const side of [larg, rarg]) if (side) addItem(side, scope, relations);
    if (isNatural || usingClause || alias || join_using_alias) scope.merged = true;
    if (alias) {
      const inside = scope.items.splice(before);
      const opaque = inside.some((item) => item.table?.hides || item.opaque);
      scope.items.push(plainItem(alias.aliasname, opaque));
    }
  } else {
    scope.items.push(plainItem(aliasOf(node), false));
  }
}

/**
 * Whether the alias names columns by their place, which is another one than an application sees:
 * hidden columns stand before visible ones.
 */
export function isMisnamed({ columns, table }: Item): boolean {
  return columns.length > 0 && table !== null && table.hides && !table.inPlace;
}

function plainItem(name: ByteString | undefined, opaque: boolean): Item {
  const path = name === undefined ? [] : [name];
  return {
    name: name ?? null,
    table: null,
    path,
    columns: [],
    opaque,
    node: null,
    lacks: null,
    needed: false,
  };
}

function aliasOf(node: Node): ByteString | undefined {
  if ('RangeSubselect' in node) return node.RangeSubselect.alias?.aliasname;
  if ('RangeFunction' in node) return node.RangeFunction.alias?.aliasname;
  if ('RangeTableFunc' in node) return node.RangeTableFunc.alias?.aliasname;
  if ('JsonTable' in node) return node.JsonTable.alias?.aliasname;
  return undefined;
}
