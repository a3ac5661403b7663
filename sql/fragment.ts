import type { Node, RawStmt, SelectStmt, TypeName } from 'libpg-query';
import { join, type Piece } from './edits.js';
import { readByAll } from './escapes.js';
import { parse } from './parser.js';
import { type Expression, quoteIdentifier } from './rules.js';
import { type ByteString, stringNodes, toBytes } from './tree.js';

/** An expression twice: as text to be inserted, and as the tree that this text must parse to. */
export interface Fragment extends Piece {
  node: Node;
}

/** A type to cast to, as text and as tree. */
export interface CastTarget {
  text: ByteString;
  node: TypeName;
}

/** An expression with holes, as text and as tree. */
export interface Template {
  texts: readonly ByteString[];
  columns: readonly ByteString[];
  node: Node;
}

/** `(value)::type`: the value as a column of the type holds it. */
export function castTo(value: Fragment, type: CastTarget): Fragment {
  const node: Node = { TypeCast: { arg: value.node, typeName: type.node } };
  return { ...join('(', value, `)::${type.text}`), node };
}

/** A column reference, qualified. */
export function columnOf(qualifier: readonly ByteString[], column: ByteString): Fragment {
  const names = [...qualifier, column];
  const node: Node = { ColumnRef: { fields: stringNodes(names) } };
  return { text: names.map(quoteIdentifier).join('.'), copies: [], node };
}

export const NULL_VALUE: Fragment = {
  text: 'NULL',
  copies: [],
  node: { A_Const: { isnull: true } },
};

/** Puts a value into each hole, in parentheses. */
export function fill(template: Template, value: (column: ByteString) => Fragment): Fragment {
  const values = template.columns.map(value);
  const parts: (ByteString | Piece)[] = [template.texts[0]!];
  values.forEach((part, i) => {
    parts.push('(', part, ')', template.texts[i + 1]!);
  });
  const nodes = new Map(values.map((part, i) => [holeName(i), part.node]));
  return { ...join(...parts), node: withHoles(template.node, nodes) };
}

/** @throws SyntaxFailure when the rule's expression is not one that the grammar knows. */
export function prepareTemplate(expression: Expression): Template {
  // The client's session may have standard_conforming_strings off.
  const texts = expression.texts.map((text) => readByAll(toBytes(text)));
  const holes = texts.map((text, i) =>
    i === 0 ? text : `(${quoteIdentifier(holeName(i - 1))})${text}`,
  );
  return { texts, columns: expression.columns.map(toBytes), node: parseValue(holes.join('')) };
}

export function prepareType(type: string): CastTarget {
  const text = toBytes(type);
  const node = parseValue(`NULL::${text}`);
  if (!('TypeCast' in node) || !node.TypeCast.typeName) throw new TypeError(`no type: ${type}`);
  return { text, node: node.TypeCast.typeName };
}

/** The tree of one expression of ours. */
export function parseValue(text: ByteString): Node {
  const node = onlyValue(parse(`SELECT (${text}\n)`));
  if (!node) throw new TypeError(`not one expression: ${text}`);
  return node;
}

/** The expression of `SELECT expression`; undefined when there is anything else. */
export function onlyValue(stmts: readonly RawStmt[]): Node | undefined {
  const stmt = stmts[0]?.stmt;
  if (stmts.length !== 1 || !stmt || !('SelectStmt' in stmt)) return undefined;
  const { targetList, limitOption, op, ...rest }: SelectStmt = stmt.SelectStmt;
  const target = targetList?.[0];
  if (targetList?.length !== 1 || !target || !('ResTarget' in target)) return undefined;
  if (Object.keys(rest).length > 0 || target.ResTarget.name !== undefined) return undefined;
  return target.ResTarget.val;
}

function holeName(index: number): string {
  return `pgtandem hole ${index}`;
}

/** A copy of a tree in which each hole is its value. */
function withHoles(node: Node, values: ReadonlyMap<string, Node>): Node {
  const visit = (part: unknown): unknown => {
    if (typeof part !== 'object' || part === null) return part;
    if (Array.isArray(part)) return part.map(visit);
    const hole = holeOf(part);
    if (hole !== undefined && values.has(hole)) return values.get(hole);
    return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, visit(value)]));
  };
  return visit(node) as Node;
}

function holeOf(part: object): string | undefined {
  if (!('ColumnRef' in part)) return undefined;
  const { ColumnRef } = part as Extract<Node, { ColumnRef: unknown }>;
  const [field] = ColumnRef.fields ?? [];
  if (ColumnRef.fields?.length !== 1 || !field || !('String' in field)) return undefined;
  return field.String.sval;
}
