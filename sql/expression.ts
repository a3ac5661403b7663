import type { FuncCall, Node, RawStmt } from 'libpg-query';
import { onlyValue } from './fragment.js';
import { parse, SyntaxFailure } from './parser.js';
import type { Expression } from './rules.js';
import { isAggregate } from './safety.js';
import { Source, type Span } from './source.js';
import { type ByteString, fromBytes, sameTree, strings, toBytes } from './tree.js';

/** Why a text is not an expression that a migration can use; the message says what to change. */
export class ExpressionError extends Error {}

/** A column as an expression names it. */
export interface ExpressionColumn {
  /** The qualifier, when it is written. */
  table: string | null;
  name: string;
}

export interface ParsedExpression {
  /** The text without the white space and comments around it. */
  sql: string;
  /** Names of the columns that it refers to, each once, in order. */
  columns: string[];
  /** The same with their qualifiers, one for each reference. */
  references: ExpressionColumn[];
}

/** Kinds of node that no expression over one row has. */
const REFUSED: Readonly<Record<string, string>> = {
  SubLink: 'a subquery',
  ParamRef: 'a parameter',
  SetToDefault: 'DEFAULT',
  A_Star: '*',
  GroupingFunc: 'GROUPING',
  MergeSupportFunc: 'MERGE_ACTION',
  CurrentOfExpr: 'CURRENT OF',
  SelectStmt: 'a subquery',
};

interface Reference {
  names: ByteString[];
  location: number;
}

/**
 * Parses one expression over the columns of one row, with the server's own grammar.
 *
 * @throws ExpressionError for anything else: several statements, clauses, labels, aggregates,
 *   window functions, subqueries, parameters.
 */
export function parseExpression(sql: string): ParsedExpression {
  const { span, source, references } = read(sql);
  const named = references.map(({ names }): ExpressionColumn => {
    if (names.length > 2) {
      throw new ExpressionError(`"${fromBytes(names.join('.'))}" has too many qualifiers`);
    }
    const table = names.length === 2 ? fromBytes(names[0]!) : null;
    return { table, name: fromBytes(names.at(-1)!) };
  });
  return {
    sql: fromBytes(source.textOf(span)),
    columns: [...new Set(named.map(({ name }) => name))],
    references: named,
  };
}

/**
 * Makes a template of an expression as the server prints it (pg_get_expr). References to
 * `columns`, plain or qualified by `table`, become its holes.
 *
 * @throws ExpressionError when it refers to anything else, or is no expression.
 */
export function toTemplate(
  sql: string,
  columns: readonly string[],
  table: string | null = null,
): Expression {
  const { source, span, references } = read(sql);
  const holes = [...references].sort((a, b) => a.location - b.location);
  const texts: string[] = [];
  let at = source.start(span.first);
  for (const { names, location } of holes) {
    const name = fromBytes(names.at(-1)!);
    const qualifier = names.length > 1 ? fromBytes(names.at(-2)!) : null;
    const known = names.length <= 2 && columns.includes(name);
    if (!known || (qualifier !== null && qualifier !== table)) {
      throw new ExpressionError(
        `"${fromBytes(names.join('.'))}" is not one of the columns ${columns.join(', ')}`,
      );
    }
    texts.push(fromBytes(source.text.slice(at, location)));
    at = source.end(source.afterName(source.indexAt(location)) - 1);
  }
  texts.push(fromBytes(source.text.slice(at, source.end(span.last))));
  return { texts, columns: holes.map(({ names }) => fromBytes(names.at(-1)!)) };
}

function read(sql: string): { source: Source; span: Span; references: Reference[] } {
  if (sql.includes('\0')) throw new ExpressionError('an expression has no NUL character');
  const bytes = toBytes(sql);
  const prefix = 'SELECT ';
  const bare = parsed(prefix + bytes);
  // In parentheses only an expression is left; both readings have to be the same one.
  const node = onlyValue(bare);
  const wrapped = node && onlyValue(parsed(`SELECT (${bytes}\n)`));
  if (!node || !wrapped || !sameTree(node, wrapped)) {
    throw new ExpressionError(`not one expression: ${sql.trim()}`);
  }
  const references: Reference[] = [];
  collect(node, references, prefix.length);
  const source = new Source(bytes);
  return { source, span: { first: 0, last: source.count - 1 }, references };
}

function parsed(text: ByteString): RawStmt[] {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SyntaxFailure) throw new ExpressionError(fromBytes(error.message));
    throw error;
  }
}

function collect(value: unknown, references: Reference[], offset: number): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    const what = REFUSED[key];
    if (what !== undefined) throw new ExpressionError(`${what} is not allowed in an expression`);
    if (key === 'FuncCall') checkCall(child as FuncCall);
    if (key === 'RowExpr' && isImplicit(child)) {
      throw new ExpressionError('several expressions where one is expected');
    }
    if (key === 'ColumnRef') {
      const { fields, location = 0 } = child as { fields?: Node[]; location?: number };
      const names = strings(fields);
      if (names.some((name) => name === null)) throw new ExpressionError('* is not allowed');
      references.push({ names: names.map(String), location: location - offset });
    } else collect(child, references, offset);
  }
}

function isImplicit(row: unknown): boolean {
  return (row as { row_format?: string }).row_format === 'COERCE_IMPLICIT_CAST';
}

function checkCall(call: FuncCall): void {
  const name = strings(call.funcname).at(-1) ?? '';
  if (call.over) throw new ExpressionError(`window function "${name}" is not allowed`);
  const aggregate =
    isAggregate(name) ||
    call.agg_star ||
    call.agg_distinct ||
    call.agg_order ||
    call.agg_filter ||
    call.agg_within_group;
  if (aggregate) throw new ExpressionError(`aggregate function "${name}" is not allowed`);
}
