import type { ColumnFacts, TableFacts } from '../db/catalog.js';
import type { Member } from '../db/tree.js';
import type { Guard } from '../sql/rules.js';
import type { Change, Definition } from './definition.js';
import { UserError } from './errors.js';
import { PARTS_MAX } from './part-refusals.js';
import { hiddenName } from './plan.js';

const named = ({ schema, name }: { schema: string; name: string }) => `${schema}.${name}`;

/**
 * What of inheritance makes a migration of a table impossible. Pure.
 * @param members the table and its children at every level.
 * @param facts of each of them.
 */
export function inheritanceRefusals(
  members: readonly Member[],
  facts: readonly TableFacts[],
  definition: Definition,
  guard: Guard,
): UserError[] {
  const refusals: UserError[] = [];
  const [table, ...children] = members;
  const refuse = (message: string, hint: string) =>
    refusals.push(new UserError(message, hint, `${definition.file}:1`));
  if (children.length > 0 && guard === 'none') {
    refuse(
      `${named(table!)} has children, and one that is made meanwhile is not known to the proxies.`,
      'Use --guard repair.',
    );
  }
  for (const member of guard === 'reject' ? members : []) {
    const [parent] = outsideOf(member, members);
    if (parent === undefined) continue;
    refuse(
      `${named(member)} inherits from ${parent}, and what is written by that name is not rewritten.`,
      'Use --guard repair.',
    );
  }
  if (children.length > PARTS_MAX) {
    refuse(
      `${named(table!)} has ${children.length} children, more than ${PARTS_MAX}.`,
      'Take old ones out (NO INHERIT) for the time of the migration, or merge them.',
    );
  }
  for (const child of children.filter(({ kind }) => kind === 'f')) {
    refuse(
      `Child ${named(child)} is a foreign table, which cannot be filled.`,
      `ALTER FOREIGN TABLE ${named(child)} NO INHERIT its parent for the time of the migration.`,
    );
  }
  for (const change of definition.changes) {
    refusals.push(...inheritedRefusals(change, members, facts, definition));
  }
  return refusals;
}

/** Parents of a member that are none of the tree. */
export function outsideOf(member: Member, members: readonly Member[]): string[] {
  const inside = new Set(members.map(({ oid }) => oid));
  return member.parentNames.filter((_, i) => !inside.has(member.parents[i]!));
}

/** A column goes down from the table alone, and a new one is in no child before. */
function inheritedRefusals(
  change: Change,
  members: readonly Member[],
  facts: readonly TableFacts[],
  { file }: Definition,
): UserError[] {
  const inside = new Set(members.map(({ oid }) => oid));
  const created = createdBy(change);
  return members.flatMap((member, i) => {
    const name = named(member);
    const refuse = (message: string, hint: string) => [
      new UserError(message, hint, `${file}:${change.line}`),
    ];
    const find = (column: string) => facts[i]!.columns.find((one) => one.name === column);
    if (i > 0 && find(created)) {
      return refuse(`Child ${name} has a column ${created} already.`, 'Choose another name.');
    }
    const column = change.kind === 'add-derived' ? undefined : find(change.column);
    const within = member.parents.filter((oid) => inside.has(oid)).length;
    if (!column || column.inherited === within) return [];
    const from = outsideOf(member, members).join(', ');
    return i === 0
      ? refuse(
          `Column ${change.column} of ${name} is inherited from ${from}.`,
          'Migrate the topmost table that has it: its children go with it.',
        )
      : refuse(
          `Column ${change.column} of ${name} is inherited from ${from} too, which is no child of ` +
            `${named(members[0]!)}.`,
          'A column of two tables cannot be altered: ALTER TABLE ... NO INHERIT one of them first.',
        );
  });
}

function createdBy(change: Change): string {
  if (change.kind === 'rename') return change.to;
  return change.kind === 'change-type' ? hiddenName('new', change.column) : change.column;
}

/**
 * What of one child makes a migration impossible, besides what is asked of every table: the columns
 * that change are carried over from the table. Pure.
 */
export function childRefusals(
  table: TableFacts,
  child: TableFacts,
  changed: readonly string[],
  file: string,
): UserError[] {
  return changed.flatMap((column) => {
    const find = (facts: TableFacts) => facts.columns.find((one) => one.name === column);
    const [own, whole] = [find(child), find(table)];
    const different = own && whole ? differenceOf(own, whole) : null;
    if (different === null) return [];
    return [
      new UserError(
        `Column ${column} of child ${named(child)} has ${different}.`,
        `It is not carried over yet: make it that of ${named(table)} first.`,
        `${file}:1`,
      ),
    ];
  });
}

function differenceOf(own: ColumnFacts, whole: ColumnFacts): string | null {
  if (own.default !== whole.default) return 'another default';
  if (own.identity !== whole.identity) return 'an identity of its own';
  if (own.generated !== whole.generated) return 'an expression of its own';
  if (own.notNull !== whole.notNull) return `${own.notNull ? 'a' : 'no'} NOT NULL of its own`;
  if (own.comment !== null) return 'a comment of its own';
  if (own.grants.length > 0) return 'grants of its own';
  if (own.ownedSequence !== null) return 'a sequence of its own';
  if (own.statisticsTarget !== whole.statisticsTarget) return 'another statistics target';
  return null;
}
