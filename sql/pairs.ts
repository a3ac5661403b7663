import { castTo, type Fragment, fill } from './fragment.js';
import { Unsure } from './plan.js';
import { columnOfTable, leadsOf, type PreparedPair, type PreparedTable } from './prepared.js';
import type { Part } from './rows.js';
import { fitsConstant, isRepeatable } from './safety.js';
import { type ByteString, toBytes } from './tree.js';

/** A column that a statement writes only because it is rewritten. */
export interface Addition {
  column: ByteString;
  value: Fragment;
  /** Only a part of the column is given. */
  part?: Part;
}

/** What the statement does to the row, as far as the pairs are concerned. */
export interface RowWrite {
  table: PreparedTable;
  kind: 'insert' | 'update';
  isGiven(column: ByteString): boolean;
  /**
   * The column's value in the new row, as the column holds it.
   *
   * @throws Unsure when it cannot be written a second time.
   */
  value(column: ByteString): Fragment;
  /** The follow column's value where it needs no expression; null: it does. */
  constant?(pair: PreparedPair): Fragment | null;
}

/**
 * The columns to add so that every pair of the table is written together. A statement that gives
 * both sides of a pair, or the follow column and is to be trusted with it, is left as it is.
 *
 * @throws Unsure when that is not certain.
 */
export function additionsTo(write: RowWrite): Addition[] {
  const { table } = write;
  for (const pair of table.pairs) {
    if (table.pairs.some((other) => leadsOf(other).includes(pair.follow))) {
      throw new Unsure('chained');
    }
  }
  const derived = deriveLeads(write);
  const additions = [...derived].map(([column, value]) => ({ column, value }));
  for (const pair of table.pairs) {
    if (write.isGiven(pair.follow) || !isWritten(write, pair, derived)) continue;
    const constant = derived.size === 0 ? write.constant?.(pair) : null;
    if (constant) {
      additions.push({ column: pair.follow, value: constant });
      continue;
    }
    const value = fill(pair.forward, (column) => {
      const backwards = derived.get(column);
      const { type } = columnOfTable(table, column);
      return backwards ? castTo(backwards, type) : write.value(column);
    });
    additions.push({ column: pair.follow, value });
  }
  return additions;
}

/** Leads of which the statement gives only the follow column, with their values. */
function deriveLeads(write: RowWrite): Map<ByteString, Fragment> {
  const { table } = write;
  const derived = new Map<ByteString, Fragment>();
  for (const pair of table.pairs) {
    if (!write.isGiven(pair.follow) || leadsOf(pair).some((lead) => write.isGiven(lead))) continue;
    if (!pair.backward) throw new Unsure('follow-only');
    const { lead, value } = pair.backward;
    const { rule } = columnOfTable(table, lead);
    if (rule.generated) throw new Unsure('generated');
    if (rule.identity === 'always') throw new Unsure('identity');
    if (!derived.has(lead))
      derived.set(
        lead,
        fill(value, (column) => write.value(column)),
      );
  }
  return derived;
}

function isWritten(
  write: RowWrite,
  pair: PreparedPair,
  derived: ReadonlyMap<ByteString, Fragment>,
): boolean {
  if (write.kind === 'insert' || pair.everyUpdate) return true;
  return leadsOf(pair).some((lead) => write.isGiven(lead) || derived.has(lead));
}

/**
 * What DEFAULT means for a follow column that is written without its lead: it has no default of its
 * own, and what it is made from is the lead's. Null where it is no such column.
 */
export function impliedDefault(
  table: PreparedTable,
  column: ByteString,
  isGiven: (column: ByteString) => boolean,
): Fragment | null {
  const pair = table.pairs.find(({ follow, backward }) => follow === column && backward !== null);
  const [lead, ...others] = pair ? leadsOf(pair) : [];
  if (!pair || lead === undefined || others.length > 0 || isGiven(lead)) return null;
  const { rule, fallback, type } = columnOfTable(table, lead);
  if (rule.default === null || rule.generated || rule.identity) return null;
  return fill(pair.forward, () => castTo(fallback, type));
}

/** What a column holds when the statement leaves it to its default. */
export function fallbackOf(table: PreparedTable, name: ByteString): Fragment {
  const { rule, type, fallback } = columnOfTable(table, name);
  if (rule.generated) throw new Unsure('generated');
  if (rule.identity) throw new Unsure('identity');
  if (rule.defaultVolatile) throw new Unsure('volatile');
  return castTo(fallback, type);
}

/** Other columns that are not given and draw from the same sequence: they keep their turn. */
export function sameDefaults(
  table: PreparedTable,
  given: readonly ByteString[],
  column: ByteString,
): ByteString[] {
  const { rule } = columnOfTable(table, column);
  return table.rule.columns
    .filter((other) => other.default === rule.default && !other.identity && !other.generated)
    .map((other) => toBytes(other.name))
    .filter((name) => name !== column && !given.includes(name));
}

/** What a column holds when the statement gives it an expression. */
export function assigned(table: PreparedTable, name: ByteString, value: Fragment): Fragment {
  const { rule, type, base } = columnOfTable(table, name);
  if (rule.generated) throw new Unsure('generated');
  // Such a cast may not exist; the server is to say so in the words it has for the assignment.
  if (!fitsConstant(value.node, base.node, rule.baseType)) throw new Unsure('type');
  if (!isRepeatable(value.node, type.node, table.rule.guard === 'none')) {
    throw new Unsure('volatile');
  }
  return castTo(value, type);
}
