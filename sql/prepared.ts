import {
  type CastTarget,
  type Fragment,
  NULL_VALUE,
  prepareTemplate,
  prepareType,
  type Template,
} from './fragment.js';
import { relationsOf } from './relations.js';
import type { ColumnRule, RuleSet, TableRule, View } from './rules.js';
import { type ByteString, toBytes } from './tree.js';

/** A rule set made ready: names as byte strings, expressions and types parsed once. */
export interface PreparedTable {
  /** `pg_class.oid` of what is named; of a partition or a child it is not `rule.oid`, the table's. */
  oid: number;
  rule: TableRule;
  /** Whether it is a partitioned table, or a partition of one. */
  isPartitioned: boolean;
  schema: ByteString;
  name: ByteString;
  columns: ReadonlyMap<ByteString, PreparedColumn>;
  visible: readonly ByteString[];
  /** Whether `visible` is of the view that goes away when the migration ends. */
  isAside: boolean;
  /** Columns of which it is recorded who names them. */
  watched: ReadonlySet<ByteString>;
  /** Whether a star means anything else than what the server makes of it. */
  hides: boolean;
  /**
   * Whether the visible columns come first and in order, so that an INSERT without a column list
   * puts each value where it belongs.
   */
  inPlace: boolean;
  pairs: readonly PreparedPair[];
}

export interface PreparedColumn {
  rule: ColumnRule;
  type: CastTarget;
  /** The type without its modifier: what a value is before the column's own assignment. */
  base: CastTarget;
  /** What the column holds when a statement gives no value; NULL without a default. */
  fallback: Fragment;
  /** Of a column whose type is an array, or a domain over one. */
  array: ArrayType | null;
  /** The type under a domain, or under that of an array's elements; null: there is none. */
  under: CastTarget | null;
}

/** The type of an array's elements with its modifier; without it, and whatever domain it is. */
export interface ArrayType {
  type: CastTarget;
  base: CastTarget;
  baseType: string;
}

export interface PreparedPair {
  follow: ByteString;
  forward: Template;
  backward: { lead: ByteString; value: Template } | null;
  everyUpdate: boolean;
}

/** @throws when an expression or a type of the rules does not parse: a rule set is all or nothing. */
export function prepareRules(rules: RuleSet): PreparedTable[] {
  const tables = new Map<TableRule['columns'], PreparedTable>();
  return relationsOf(rules).map(({ oid, rule, isPartitioned }) => {
    // A partition differs in its name only: there may be hundreds, and sessions wait for this.
    const table = tables.get(rule.columns) ?? prepareTable(rule);
    tables.set(rule.columns, table);
    const { schema, name } = rule;
    return { ...table, oid, rule, isPartitioned, schema: toBytes(schema), name: toBytes(name) };
  });
}

/** The tables as a session sees them that has said on which side it is. */
export function inView(tables: readonly PreparedTable[], view: View): PreparedTable[] {
  return tables.map((table) => {
    const visible = table.rule.views?.[view];
    if (!visible) return table;
    const isAside = visible.join('\0') !== table.rule.visible.join('\0');
    return isAside ? { ...table, ...shown(table.rule, visible), isAside } : table;
  });
}

function shown({ columns }: TableRule, visible: readonly string[]) {
  const order = columns.map((column) => column.name);
  const inPlace = visible.every((name, i) => name === order[i]);
  const hides = !inPlace || order.length !== visible.length;
  return { visible: visible.map(toBytes), hides, inPlace };
}

function prepareTable(rule: TableRule): PreparedTable {
  return {
    oid: rule.oid,
    rule,
    isPartitioned: false,
    schema: toBytes(rule.schema),
    name: toBytes(rule.name),
    columns: new Map(rule.columns.map((column) => [toBytes(column.name), prepareColumn(column)])),
    ...shown(rule, rule.visible),
    isAside: false,
    watched: new Set((rule.watched ?? []).map(toBytes)),
    pairs: rule.pairs.map((pair) => ({
      follow: toBytes(pair.follow),
      forward: prepareTemplate(pair.forward),
      backward: pair.backward && {
        lead: toBytes(pair.backward.lead),
        value: prepareTemplate(pair.backward.value),
      },
      everyUpdate: pair.everyUpdate,
    })),
  };
}

function prepareColumn(rule: ColumnRule): PreparedColumn {
  return {
    rule,
    type: prepareType(rule.type),
    base: prepareType(unmodified(rule.baseType)),
    fallback: rule.default === null ? NULL_VALUE : prepareDefault(rule.default),
    array: prepareArray(rule),
    under: rule.under === undefined ? null : prepareType(rule.under),
  };
}

function prepareArray({ type, baseType, under }: ColumnRule): ArrayType | null {
  // Of elements that are arrays themselves, within a domain, only the server knows.
  if (!(under ?? type).endsWith('[]') || under?.endsWith('[][]')) return null;
  const whole = type.endsWith('[]') ? type : under!;
  const base = (under === undefined ? baseType : withoutModifier(under)).slice(0, -2);
  return {
    type: prepareType(whole.slice(0, -2)),
    base: prepareType(unmodified(base)),
    baseType: base,
  };
}

/** A type that `format_type` gives, without its modifier. */
export function withoutModifier(type: string): string {
  return type.replace(/\(\d+(?:,-?\d+)?\)/, '');
}

/** `character` and `bit` without a length mean a length of 1 in SQL; other names stand for none. */
function unmodified(type: string): string {
  return type.replace(/^character(?=$|\[)/, 'bpchar').replace(/^bit(?=$|\[)/, '"bit"');
}

function prepareDefault(text: string): Fragment {
  const { texts, node } = prepareTemplate({ texts: [text], columns: [] });
  return { text: texts[0]!, copies: [], node };
}

/** The leads of a pair, each once. */
export function leadsOf(pair: PreparedPair): ByteString[] {
  return [...new Set(pair.forward.columns)];
}

export function columnOfTable(table: PreparedTable, name: ByteString): PreparedColumn {
  const column = table.columns.get(name);
  if (!column) throw new RangeError(`${table.name} has no column ${name} in its rule`);
  return column;
}

/** The leads that a pair of the table derives from its follow column, and all leads. */
export function allLeads(table: PreparedTable): Set<ByteString> {
  return new Set(
    table.pairs.flatMap((pair) => [
      ...leadsOf(pair),
      ...(pair.backward ? [pair.backward.lead] : []),
    ]),
  );
}
