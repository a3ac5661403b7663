import type { ThrottleSettings } from '../backfill/job.js';
import {
  type ColumnRule,
  type Expression,
  type Guard,
  type PartRule,
  quoteIdentifier,
} from '../sql/rules.js';

/**
 * A plan: everything that is needed to carry a migration out or to take it back, found out while
 * nothing had been changed. Plain data; saved with the migration, never changed.
 */
export interface Plan {
  table: { oid: number; schema: string; name: string };
  /** Of a partitioned table: its partitions when it was planned; absent of any other. */
  parts?: PartRule[];
  /** Of a table with children by inheritance: these when it was planned; absent of any other. */
  children?: ChildPlan[];
  guard: Guard;
  /** The columns that were there, in order. */
  columns: ColumnRule[];
  /** Their names as applications see them in `*`: an earlier migration may have left another order. */
  visible: string[];
  changes: PlannedChange[];
  /** Plain secondary indexes on columns that change: made anew on the shadows. */
  indexes: PlannedIndex[];
  /** Whether the fill may run with `session_replication_role = replica`. */
  silenceTriggers: boolean;
  /**
   * Whether an UPDATE that names neither column may be given both: not where a role may write
   * what it may not read. Then the guard does it.
   */
  everyUpdate: boolean;
  /** Whether triggers of the user's run before each row that is written, and may change it. */
  rowTriggers: boolean;
  /** What the operator should know; printed by `plan` and `start`. */
  warnings: string[];
}

/** A child by inheritance, at any level: it has columns of its own, and those of the table elsewhere. */
export interface ChildPlan extends PartRule {
  columns: ColumnRule[];
  visible: string[];
  /** Columns of the migration that it defines too: those stay when they go from the table. */
  local: string[];
}

/** A column that has one name before cutover and another (or the same) after it. */
export interface NamedTwice {
  before: string;
  after: string;
}

export interface PlannedChange {
  kind: 'change-type' | 'rename' | 'add-derived';
  /** The user's own words. */
  action: string;
  /** The column there was; null for an added column, which has none. */
  source: (NamedTwice & ColumnPlan) | null;
  shadow: NamedTwice & ColumnPlan;
  /** Shadow from the source: over the names before cutover. */
  up: Expression;
  /** Source from the shadow, NULL where it does not fit: over the name after cutover. */
  down: Expression | null;
  /** The same as an expression that raises, for the function that makes it safe; null: not needed. */
  downFunction: { name: string; body: Expression } | null;
}

/** What a column is when the migration is complete (shadow) or was before it (source). */
export interface ColumnPlan {
  rule: ColumnRule;
  collation: string | null;
  comment: string | null;
  notNullName: string | null;
  ownedSequence: string | null;
  statisticsTarget: number;
  equalImage: boolean;
  grants: { role: string; privilege: string; grantable: boolean }[];
}

export interface PlannedIndex {
  name: string;
  /** Its name while it is not the one in use: of the new one before cutover, the old one after. */
  spare: string;
  /** What follows `CREATE INDEX name ON table `, over the names before cutover. */
  definition: string;
  tablespace: string | null;
  comment: string | null;
}

/** A relation's name as it is written in SQL. */
export const relationName = (relation: { schema: string; name: string }) =>
  `${quoteIdentifier(relation.schema)}.${quoteIdentifier(relation.name)}`;

/** Whether other tables belong to the plan's: it is of all of them, and they are locked together. */
export const hasMembers = (plan: Plan): boolean => (plan.parts ?? plan.children) !== undefined;

/** The plan as one of the table's children alone would have it. */
export const planOf = (plan: Plan, { oid, schema, name, columns, visible }: ChildPlan): Plan => ({
  ...plan,
  table: { oid, schema, name },
  columns,
  visible,
});

/** The table's name as it is written in SQL. */
export const tableName = (plan: Plan) => relationName(plan.table);

/** Names that the columns have which a migration brings, before the cutover or after it. */
export const ownColumns = (plan: Plan): string[] =>
  plan.changes.flatMap(({ source, shadow }) => [
    shadow.before,
    ...(source && source.after !== source.before ? [source.after] : []),
  ]);

/** How a migration is carried out; may be changed while it runs. */
export interface Settings
  extends Partial<Omit<ThrottleSettings, 'maxLagMs' | 'maxLagBytes' | 'chunkTargetMs'>> {
  cutover: 'auto' | 'manual';
  /** Whether the proxies go on showing columns in their old places when it is complete. */
  columnOrder: 'keep' | 'physical';
  /** How long old and new are both written after cutover, milliseconds. */
  soakMs: number;
  /** How long the old name must be unused before the old column is dropped by itself; 0: no matter. */
  unusedForMs?: number;
  /** How long the application's p99 is learned before the backfill at most; 0: not. Milliseconds. */
  learnMs?: number;
  /** While a cutover waits, its rows are compared again so long after the last time; 0: never. */
  verifyEveryMs?: number;
  maxLagMs: number;
  maxLagBytes: number;
  chunkTargetMs: number;
}

/** Longest identifier of PostgreSQL, bytes (NAMEDATALEN - 1). */
const NAME_BYTES = 63;

/** Name of a hidden column: while the new one waits, or when the old one has been replaced. */
export function hiddenName(role: 'new' | 'old', column: string): string {
  const name = `_pgtandem_${role}_${column}`;
  if (Buffer.byteLength(name) <= NAME_BYTES) return name;
  let hash = 0;
  for (const char of column) hash = (hash * 31 + char.codePointAt(0)!) >>> 0;
  const suffix = `_${hash.toString(36)}`;
  let cut = name;
  while (Buffer.byteLength(cut + suffix) > NAME_BYTES) cut = [...cut].slice(0, -1).join('');
  return cut + suffix;
}

/** Name of the guard's trigger: `~` sorts after letters, so it runs after the user's own. */
export const GUARD_TRIGGER = '~~pgtandem_guard';

/** Name of the one that runs before the user's: `!` sorts before letters, digits and `_`. */
export const ARRIVAL_TRIGGER = '!!pgtandem_arrival';

/** Names of our own objects for one table, in our schema. */
export const ownName = (
  kind: 'arrival' | 'guard' | 'repairs' | 'misfits' | 'down',
  oid: number,
  n?: number,
) => `${kind}_${oid}${n === undefined ? '' : `_${n}`}`;
