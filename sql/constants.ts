import { join } from './edits.js';
import type { Fragment } from './fragment.js';
import { columnOfTable, type PreparedPair, type PreparedTable } from './prepared.js';
import { repeats } from './same-text.js';
import type { ByteString } from './tree.js';

/*
 * A constant in a row of VALUES is given to the other column as a constant, where it is certain that
 * this is what the expression makes of it: a cast of each value costs the server more than to write
 * the column (a name to look up, and an expression to evaluate, for each row).
 *
 *   INSERT INTO t (a, "_pgtandem_new_a") VALUES (7, '7'), ('8', '8'), (NULL, NULL)
 *
 * A constant without a type is read by the input function of the column that it is assigned to,
 * which is what COPY does to a field (same-text.ts). Rows of VALUES are assigned one by one, in the
 * order of their columns, so that what the first column does not take fails as it always did.
 *
 * What is done to a constant must not depend on more of it than `skeletonOf` (literals.ts) keeps:
 * what was made of one text is made of all that differ from it in their constants.
 */

/** Which constants of a pair's lead are constants for its follow column, too. */
export interface Constants {
  lead: ByteString;
  /** The columns are of one type: every constant is. */
  all: boolean;
  /** Those in quotes are. */
  texts: boolean;
  /** Integers are, in quotes, when they are written like this. */
  integers: RegExp | null;
}

/** All that `skeletonOf` takes for integers of one kind are matched; they fit four bytes. */
const INTEGER = /^-?(?:0|[1-9][0-9]{0,8})$/;
/** As the server would print it, which has no `-0`. */
const PRINTED = /^(?:0|[1-9][0-9]{0,8})$/;

/** @returns null when none is for certain. */
export function constantsOf(table: PreparedTable, pair: PreparedPair): Constants | null {
  const found = repeats(table, pair.forward, pair.follow, false);
  if (!found) return null;
  const { column: lead, repeat } = found;
  const { rule: from } = columnOfTable(table, lead);
  const { rule: to } = columnOfTable(table, pair.follow);
  if (from.generated) return null;
  const { integer, printed, total } = repeat;
  const isNarrower = integer !== null && integer.to < integer.from;
  const isNumber = /^(?:smallint|integer|bigint)$/.test(from.type) && to.type !== 'smallint';
  const isPlain = total && printed === null && !isNarrower;
  let integers: RegExp | null = null;
  if (isNumber && total) integers = printed === null ? INTEGER : PRINTED;
  return { lead, all: from.type === to.type, texts: isPlain, integers };
}

/** The constant that the other column gets; null when it is none, or that is not certain. */
export function constantFor(known: Constants, value: Fragment): Fragment | null {
  const { node, text } = value;
  if (!('A_Const' in node)) return null;
  if (known.all || node.A_Const.isnull || (known.texts && 'sval' in node.A_Const)) return value;
  if (!known.integers?.test(text) || 'sval' in node.A_Const) return null;
  return { ...join("'", value, "'"), node: { A_Const: { sval: { sval: text } } } };
}
