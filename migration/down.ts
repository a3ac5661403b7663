import type { ColumnRule, Expression } from '../sql/rules.js';
import { ownName } from './plan.js';

/** Types of which every value of the first fits the second without loss or error. */
const TOTAL: readonly [string, string][] = [
  ['smallint', 'integer'],
  ['smallint', 'bigint'],
  ['integer', 'bigint'],
  ['smallint', 'numeric'],
  ['integer', 'numeric'],
  ['bigint', 'numeric'],
  ['real', 'double precision'],
  ['date', 'timestamp without time zone'],
  ['character varying', 'text'],
];

/** Range of an integer type that a wider one may exceed. */
const RANGES: Record<string, [string, string]> = {
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '2147483647'],
};

const INTEGERS = ['smallint', 'integer', 'bigint'];

/**
 * The way back, made safe: after cutover a value that does not fit the old type must not fail the
 * application, so it becomes NULL there (and is counted, and stops a revert). A cast that always
 * succeeds stays as it is; from a wider integer a range is asked for; anything else goes through
 * a function that catches its errors.
 *
 * @param back the old value from the new one, over the new column's name after cutover.
 * @param declared whether the user gave the expression.
 */
export function safeDown(
  back: Expression,
  declared: boolean,
  source: ColumnRule,
  shadow: ColumnRule,
  oid: number,
  ordinal: number,
): { down: Expression; downFunction: { name: string; body: Expression } | null } {
  const same = source.type === shadow.type;
  const total = TOTAL.some(([from, to]) => shadow.type === from && source.type === to);
  if (!declared && (same || total)) return { down: back, downFunction: null };
  const range = RANGES[source.type];
  if (!declared && range && INTEGERS.includes(shadow.type)) {
    const column = shadow.name;
    return {
      down: {
        texts: ['CASE WHEN ', ` BETWEEN ${range[0]} AND ${range[1]} THEN `, `::${source.type} END`],
        columns: [column, column],
      },
      downFunction: null,
    };
  }
  const name = ownName('down', oid, ordinal);
  return {
    down: { texts: [`"pgtandem"."${name}"(`, ')'], columns: [shadow.name] },
    downFunction: { name, body: back },
  };
}
