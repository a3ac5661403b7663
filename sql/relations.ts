import type { RuleSet, TableRule } from './rules.js';

/** A relation that statements may name: a table of the rules, or a partition or child of one. */
export interface Relation {
  /** `pg_class.oid` of the relation itself; `rule.oid` is that of the table under migration. */
  oid: number;
  /** The table's rule, under the relation's own name. */
  rule: TableRule;
}

/** Everything that the rules speak of by name, a table before its partitions or children. */
export function relationsOf(rules: RuleSet): Relation[] {
  return rules.tables.flatMap(({ parts, ...rule }) => [
    { oid: rule.oid, rule },
    ...(parts ?? []).map(({ oid, ...part }) => ({ oid, rule: { ...rule, ...part } })),
  ]);
}
