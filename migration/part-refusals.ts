import type { ColumnFacts, TableFacts } from '../db/catalog.js';
import type { Member } from '../db/tree.js';
import type { Guard } from '../sql/rules.js';
import type { Definition } from './definition.js';
import { UserError } from './errors.js';

/** More partitions than this are not migrated: each is locked at once in a cutover, and named. */
export const PARTS_MAX = 1_000;

/** So many refusals of partitions are told; those behind them are of the same kind as a rule. */
const TOLD_MAX = 10;

/** What of a partitioned table as a whole makes a migration impossible. Pure. */
export function treeRefusals(
  members: readonly Member[],
  keys: readonly string[],
  definition: Definition,
  guard: Guard,
): UserError[] {
  const refusals: UserError[] = [];
  const [table, ...parts] = members;
  const name = `${table!.schema}.${table!.name}`;
  const refuse = (message: string, hint: string, line = 1) =>
    refusals.push(new UserError(message, hint, `${definition.file}:${line}`));
  if (table!.kind === 'p' && guard === 'none') {
    refuse(
      `${name} is partitioned, and a partition that is made meanwhile is known to the proxies ` +
        'only a moment later.',
      'Use --guard repair: PostgreSQL gives the guard to a new partition.',
    );
  }
  if (parts.length > PARTS_MAX) {
    refuse(
      `${name} has ${parts.length} partitions, more than ${PARTS_MAX}.`,
      'Detach old ones for the time of the migration, or merge them.',
    );
  }
  for (const part of parts) {
    if (part.kind === 'f') {
      refuse(
        `Partition ${part.schema}.${part.name} is a foreign table, which cannot be filled.`,
        `ALTER TABLE ${name} DETACH PARTITION it for the time of the migration.`,
      );
    }
    if (part.detaching) {
      refuse(
        `Partition ${part.schema}.${part.name} is being detached.`,
        `ALTER TABLE ${name} DETACH PARTITION ... FINALIZE first.`,
      );
    }
  }
  for (const change of definition.changes) {
    if (change.kind === 'add-derived' || !keys.includes(change.column)) continue;
    refuse(
      `${change.column} is part of the partition key of ${name} or of a partition.`,
      'Its rows would have to be divided anew: make a new table, and move them there.',
      change.line,
    );
  }
  return refusals;
}

/**
 * What of one partition makes a migration impossible, besides what is asked of every table: its
 * columns must be those of the table in all that the migration carries over or relies upon. Pure.
 * @param changed columns that change.
 * @param leads columns that new ones are made from.
 */
export function partRefusals(
  table: TableFacts,
  part: TableFacts,
  changed: readonly string[],
  leads: readonly string[],
  file: string,
): UserError[] {
  const name = `${part.schema}.${part.name}`;
  const refusals: UserError[] = [];
  const refuse = (message: string, hint: string) =>
    refusals.push(new UserError(message, hint, `${file}:1`));
  const order = (facts: TableFacts) => facts.columns.map((column) => column.name).join(', ');
  if (order(table) !== order(part)) {
    refuse(
      `Partition ${name} has its columns in another order than ${table.schema}.${table.name}.`,
      'Make it anew with CREATE TABLE ... (LIKE ...), and move its rows there.',
    );
    return refusals;
  }
  for (const column of new Set([...changed, ...leads])) {
    const find = (facts: TableFacts) => facts.columns.find((one) => one.name === column);
    const [own, whole] = [find(part), find(table)];
    if (!own || !whole) continue;
    const different =
      differentValue(own, whole) ?? (changed.includes(column) ? differentRest(own, whole) : null);
    if (different === null) continue;
    refuse(
      `Column ${column} of partition ${name} has ${different}.`,
      `It is not carried over yet: make it that of ${table.schema}.${table.name} first.`,
    );
  }
  return refusals;
}

/** A write that leaves a column out gives it the default of the partition that it names. */
function differentValue(own: ColumnFacts, whole: ColumnFacts): string | null {
  if (own.default !== whole.default) return 'another default';
  return own.generated !== whole.generated ? 'an expression of its own' : null;
}

/** What is carried over from the table to the new column of all partitions. */
function differentRest(own: ColumnFacts, whole: ColumnFacts): string | null {
  if (own.notNull && !whole.notNull) return 'a NOT NULL of its own';
  if (own.comment !== null) return 'a comment of its own';
  if (own.grants.length > 0) return 'grants of its own';
  if (own.ownedSequence !== null) return 'a sequence of its own';
  if (own.statisticsTarget !== whole.statisticsTarget) return 'another statistics target';
  return null;
}

/** Not more than a person reads. Pure. */
export function capped(refusals: UserError[]): UserError[] {
  if (refusals.length <= TOLD_MAX) return refusals;
  const more = refusals.length - TOLD_MAX;
  const rest = new UserError(
    `${more} more refusals of partitions.`,
    'See to the first ones first.',
  );
  return [...refusals.slice(0, TOLD_MAX), rest];
}
