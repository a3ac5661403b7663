/**
 * The rule set: the one value in which the control plane tells the data plane what to do. It is
 * plain data (JSON), made by a plan, published in the database, followed by every proxy.
 */

/** What the database itself holds against writes that did not come through the rewriter. */
export type Guard = 'repair' | 'reject' | 'none';

/** The dual-write rules in force. */
export interface RuleSet {
  /** Grows by one at each publication. 0 is the empty rule set that a proxy starts with. */
  epoch: number;
  /** One entry for each table under migration; no two have the same oid. */
  tables: TableRule[];
}

export interface TableRule {
  /** `pg_class.oid`. */
  oid: number;
  schema: string;
  name: string;
  /**
   * The epoch at which this entry last changed (holding aside). A statement that touches the
   * table and was prepared under another version is prepared again before its next Bind.
   */
  version: number;
  /** While true, statements that touch the table wait in the proxy (a cutover is being taken). */
  held: boolean;
  guard: Guard;
  /**
   * The migration is over and only the order of the columns is kept: the table may be altered.
   */
  orderOnly?: true;
  /** Every column that statements may name, in `attnum` order, hidden ones included. */
  columns: ColumnRule[];
  /** What `*` stands for, and what INSERT without a column list fills: names, in this order. */
  visible: string[];
  /**
   * The same for sessions that say on which side they are (`pgtandem.view`); absent where it makes
   * no difference. One of them is `visible`.
   */
  views?: { old: string[]; new: string[] };
  /** Columns whose name goes away when the migration ends: who names them is recorded. */
  watched?: string[];
  /** Statements that touch the table are recorded. */
  observed?: true;
  /** Empty while columns are hidden only, with no dual write. */
  pairs: Pair[];
  /**
   * Of a partitioned table its partitions, of any other its children by inheritance, at every level:
   * statements may name them too.
   */
  parts?: PartRule[];
}

/** What differs of a partition or a child from the table's own rule. */
export interface PartRule {
  /** `pg_class.oid`. */
  oid: number;
  schema: string;
  name: string;
  /** Of a child, which may have more columns than the table, in another order; see `TableRule`. */
  columns?: ColumnRule[];
  visible?: string[];
  views?: { old: string[]; new: string[] };
}

/** On which side of a migration a session is: what it has put in `pgtandem.view`. */
export type View = 'old' | 'new';

export interface ColumnRule {
  name: string;
  /** The exact type, schema-qualified, with its modifier: `character varying(5)`. */
  type: string;
  /** The same without the modifier, `format_type(atttypid, -1)`: `character varying`, `bpchar`. */
  baseType: string;
  /**
   * Of a domain, or of an array of one, the type that is under it, with its modifier: `integer`,
   * `character varying(5)[]`. It is no domain, but it may be an array of some. Absent of any other type.
   */
  under?: string;
  notNull: boolean;
  /** `ALWAYS` or `BY DEFAULT` identity; `null` for an ordinary column. */
  identity: 'always' | 'by default' | null;
  /** A generated column cannot be assigned. */
  generated: boolean;
  /**
   * The default as the server prints it with an empty search_path; `null` when there is none. A
   * column without one of its own has that of its domain.
   */
  default: string | null;
  /** Whether evaluating the default twice may give two values (nextval, random, clock). */
  defaultVolatile: boolean;
}

/**
 * Columns that are written together: a write to a lead column also writes the follow column.
 * Before cutover the lead is the source and the follow the shadow; after it the other way round.
 */
export interface Pair {
  /** For messages and metrics: the migration's name, with the column's when it has several. */
  name: string;
  follow: string;
  /** The value of `follow`, from the lead columns (`forward.columns`, distinct). */
  forward: Expression;
  /** How a lead column is derived by a statement that gives only `follow`; null: it is left. */
  backward: { lead: string; value: Expression } | null;
  /**
   * True while rows may exist that were never filled: an UPDATE that assigns neither side also
   * assigns `follow` (the strong invariant).
   */
  everyUpdate: boolean;
}

/**
 * An SQL expression over columns of one row, as a template: `texts[0] + columns[0] + texts[1] +
 * ... + texts[n]`. Everything in it is schema-qualified, so it means the same under any
 * search_path; `texts.length === columns.length + 1`. It is immutable, and safe to put in
 * parentheses; columns are raw names (not quoted), to be replaced by a quoted name or a
 * parenthesised value.
 */
export interface Expression {
  texts: string[];
  columns: string[];
}

/** The rule set of a proxy that has heard of no migration. */
export const NO_RULES: RuleSet = Object.freeze({ epoch: 0, tables: [] });

/** An identifier as it is written in SQL: always quoted, so that no keyword or case matters. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string constant as it is written in SQL, right with `standard_conforming_strings` on or off. */
export function quoteLiteral(value: string): string {
  const quoted = `'${value.replaceAll("'", "''")}'`;
  return value.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** Prints an expression, each column through `value` (default: the quoted name). */
export function printExpression(
  expression: Expression,
  value: (column: string) => string = quoteIdentifier,
): string {
  return expression.texts
    .map((text, i) => (i === 0 ? text : value(expression.columns[i - 1]!) + text))
    .join('');
}
