import type { ColumnFacts } from '../db/catalog.js';
import type { ColumnRule } from '../sql/rules.js';

/** What the rules need to know of a column in the catalog. Pure. */
export function columnRule(facts: ColumnFacts): ColumnRule {
  const { name, type, baseType, under, notNull, identity, generated, defaultVolatile } = facts;
  return {
    name,
    type,
    baseType,
    ...(under !== null && { under }),
    notNull,
    identity,
    generated,
    default: facts.default,
    defaultVolatile,
  };
}
