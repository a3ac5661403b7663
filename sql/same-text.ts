import type { Node } from 'libpg-query';
import { prepareTemplate, type Template } from './fragment.js';
import {
  columnOfTable,
  type PreparedColumn,
  type PreparedTable,
  withoutModifier,
} from './prepared.js';
import { fitsLength, isCertain, type Printed, printedOf } from './printed.js';
import type { ColumnRule, Guard } from './rules.js';
import { type ByteString, sameTree } from './tree.js';

/*
 * When a field of COPY may be given twice: the text that one column reads has to mean to the other
 * what the expression makes of the first one's value. That holds for one type, modifier included,
 * read twice, and for the pairs below; `test/sql/same-text.test.ts` asks the servers. It does not
 * for much that looks alike: `numeric` of another scale rounds twice, '-0' and '0o17' are integers
 * and no floats, a float4 is another number as float8. A column of text that is made from some
 * other type gets what that type's output function prints (`printed.ts`).
 */

/** How a column's field follows from another's. */
export interface Repeat {
  /** Sizes of two integer types that differ. */
  integer: { from: number; to: number } | null;
  /** The type of which it is the text; null: it is the field itself. */
  printed: Printed | null;
  /** It is certain that what the one reads the other reads too. */
  total: boolean;
}

const INTEGERS: Readonly<Record<string, number>> = { smallint: 2, integer: 4, bigint: 8 };
const SAME: Repeat = { integer: null, printed: null, total: true };
const PARTIAL: Repeat = { ...SAME, total: false };
const TEXTS = /^(text|character varying)$/;
/** What a text is cast to by the input function that COPY calls. */
const READ = /^(smallint|integer|bigint|numeric|boolean|uuid|json|jsonb)$/;

/** @param binary whether the data is binary. @returns null when it is not certain. */
function repeatOf(
  column: ColumnRule,
  to: ColumnRule,
  binary: boolean,
  guard: Guard,
): Repeat | null {
  if (column.type === to.type) return SAME;
  const from = underDomain(column);
  if (from.type === to.type) return SAME;
  if (TEXTS.test(from.type) && TEXTS.test(to.type)) return SAME;
  const sizes = { from: INTEGERS[from.type] ?? 0, to: INTEGERS[to.type] ?? 0 };
  if (sizes.from > 0 && sizes.to > sizes.from) return { ...SAME, integer: sizes };
  const printed = printedAs(from, to);
  if (printed && (isCertain(printed) || guard === 'repair')) {
    return binary && /^(numeric|bit)$/.test(printed.kind) ? null : { ...SAME, printed };
  }
  if (binary) return null;
  if (TEXTS.test(from.type) && READ.test(to.baseType)) return PARTIAL;
  if (from.type === 'json' && TEXTS.test(to.type)) return SAME;
  // The server refuses a value out of range as it refuses the cast.
  if (sizes.from > 0 && sizes.to > 0) return PARTIAL;
  if (sizes.from > 0 && to.type === 'numeric') return SAME;
  if (sizes.from > 0 && to.baseType === 'numeric') return PARTIAL;
  if (from.type === 'numeric' && to.baseType === 'numeric') return PARTIAL;
  if (from.type === 'json' && to.type === 'jsonb') return PARTIAL;
  return null;
}

/**
 * A domain reads a text as the type under it does, is sent as that, and has its casts; what its checks
 * refuse is refused where it stands, before what is added behind it is read. In binary an array says
 * of which domain its elements are.
 */
function underDomain(column: ColumnRule): ColumnRule {
  const { under, type } = column;
  if (under === undefined || type.endsWith('[]')) return column;
  return { ...column, type: under, baseType: withoutModifier(under) };
}

/** Of which type a column of text is to have the text of, so that nothing of it is cut off. */
function printedAs(from: ColumnRule, to: ColumnRule): Printed | null {
  const length = /^character varying\((\d+)\)$/.exec(to.type)?.[1];
  if (!TEXTS.test(to.type) && length === undefined) return null;
  if (length !== undefined && !fitsLength(from.type, Number(length))) return null;
  return printedOf(from.type);
}

/**
 * How the field of `target` follows from that of the expression's one column: because it is that
 * column, or a plain cast of it, or the narrower integer with NULL for what does not fit.
 *
 * @returns null when it is not certain.
 */
export function repeats(
  table: PreparedTable,
  expression: Template,
  target: ByteString,
  binary: boolean,
): { column: ByteString; repeat: Repeat } | null {
  const [name] = expression.columns;
  if (name === undefined) return null;
  const column = columnOfTable(table, name);
  const to = columnOfTable(table, target);
  const narrow = narrowing(expression, column.rule, to.rule);
  if (narrow) return { column: name, repeat: narrow };
  if (expression.columns.length > 1 || !isCast(expression.node, column, to)) return null;
  const repeat = repeatOf(column.rule, to.rule, binary, table.rule.guard);
  return repeat && { column: name, repeat };
}

/** Whether a node is the hole of a template, with no casts but to the two columns' own types. */
function isCast(node: Node, column: PreparedColumn, to: PreparedColumn): boolean {
  let inner = node;
  while ('TypeCast' in inner) {
    const { arg, typeName } = inner.TypeCast;
    const own = [to.type, to.base].some((type) => sameTree(type.node, typeName));
    const plain = column.rule.type === to.rule.type && sameTree(column.base.node, typeName);
    if (!arg || !(own || plain)) return false;
    inner = arg;
  }
  return 'ColumnRef' in inner;
}

/** `CASE WHEN a BETWEEN min AND max THEN a::integer END`: the way back to a narrower integer. */
function narrowing(expression: Template, column: ColumnRule, to: ColumnRule): Repeat | null {
  const sizes = { from: INTEGERS[column.type] ?? 0, to: INTEGERS[to.type] ?? 0 };
  const [first, second] = expression.columns;
  if (sizes.to === 0 || sizes.from <= sizes.to || first !== second) return null;
  const max = 2 ** (8 * sizes.to - 1) - 1;
  const texts = ['CASE WHEN ', ` BETWEEN ${-max - 1} AND ${max} THEN `, `::${to.type} END`];
  const expected = prepareTemplate({ texts, columns: [column.name, column.name] });
  return sameTree(expected.node, expression.node) ? { ...SAME, integer: sizes } : null;
}
