import type { Node } from 'libpg-query';
import { castTo, type Fragment } from './fragment.js';
import { Unsure } from './plan.js';
import type { PreparedColumn } from './prepared.js';
import type { Cell } from './rows.js';
import { isBuiltIn, isScalar } from './safety.js';
import { sameTree } from './tree.js';

/*
 * A column of a VALUES list takes one type for all rows, before the target column is known; in
 * INSERT ... VALUES each value is assigned to the column by itself. These are the columns of which
 * it is certain that both are the same. Unknown literals and parameters are cast to the column's
 * type without its modifier (with it, an explicit cast would cut what an assignment refuses).
 */

const NUMBERS = /^(smallint|integer|bigint|numeric|real|double precision)$/;

/** @throws Unsure when it is not certain. */
export function typedCells(cells: readonly Cell[], column: PreparedColumn): Fragment[] {
  const values = cells.map((cell): Fragment => {
    if (cell === 'default') throw new Unsure('volatile');
    return cell;
  });
  const kinds = new Set(values.map(({ node }) => kindOf(node)).filter((kind) => kind !== 'null'));
  const cast = () => values.map((value) => castTo(value, baseOf(column)));
  if (kinds.size === 0) return cast();
  if (![...kinds].some((kind) => kind !== 'text' && kind !== 'param')) return cast();
  if (kinds.size === 1 && (kinds.has('integer') || kinds.has('boolean'))) return values;
  const numeric = [...kinds].every((kind) => /^(integer|number|param)$/.test(kind));
  if (numeric && NUMBERS.test(column.rule.baseType)) {
    return values.map((value) =>
      'ParamRef' in value.node ? castTo(value, baseOf(column)) : value,
    );
  }
  if (kinds.size === 1 && kinds.has('expression') && isUniform(values)) return values;
  throw new Unsure('volatile');
}

function baseOf(column: PreparedColumn) {
  // A domain may have a modifier of its own, by which the cast would cut.
  if (!isBuiltIn(column.base.node)) throw new Unsure('volatile');
  // Its modifier takes part in reading a literal: '1' is a minute for interval minute.
  if (/^interval/.test(column.rule.baseType) && column.rule.type !== column.rule.baseType) {
    throw new Unsure('volatile');
  }
  return column.base;
}

function kindOf(node: Node): string {
  if ('ParamRef' in node) return 'param';
  if (!('A_Const' in node)) return 'expression';
  if (node.A_Const.isnull) return 'null';
  if ('ival' in node.A_Const) return 'integer';
  if ('fval' in node.A_Const) return 'number';
  if ('boolval' in node.A_Const) return 'boolean';
  return 'sval' in node.A_Const ? 'text' : 'bits';
}

/** Whether all expressions have one type for certain: one cast, or one and the same call. */
function isUniform(values: readonly Fragment[]): boolean {
  const written = values.filter(({ node }) => kindOf(node) !== 'null');
  const first = written[0]!.node;
  return written.every(({ node }) => {
    if ('CollateClause' in node || !isScalar(node)) return false;
    if ('TypeCast' in node && 'TypeCast' in first) {
      return sameTree(node.TypeCast.typeName, first.TypeCast.typeName);
    }
    return ('FuncCall' in node || 'SQLValueFunction' in node) && sameTree(node, first);
  });
}
