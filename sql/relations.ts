import type { RuleSet, TableRule } from './rules.js';

/** A relation that statements may name: a table of the rules, or a partition or child of one. */
export interface Relation {
  /** `pg_class.oid` of the relation itself; `rule.oid` is that of the table under migration. */
  oid: number;
  /** The table's rule, under the relation's own name. */
  rule: TableRule;
  /** Whether it is a partitioned table, or a partition of one. */
  isPartitioned: boolean;
}

/** Everything that the rules speak of by name, a table before its partitions or children. */
export function relationsOf(rules: RuleSet): Relation[] {
  return rules.tables.flatMap(({ parts = [], ...rule }) => {
    // A child by inheritance has columns of its own.
    const isPartitioned = parts.some(({ columns }) => !columns);
    return [
      { oid: rule.oid, rule, isPartitioned },
      ...parts.map(({ oid, ...part }) => ({ oid, rule: { ...rule, ...part }, isPartitioned })),
    ];
  });
}
