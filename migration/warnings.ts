import type { TableFacts } from '../db/catalog.js';
import type { Member } from '../db/tree.js';
import { outsideOf } from './child-refusals.js';
import type { Plan } from './plan.js';

/** What the operator should know of a plan before it is carried out. Pure. */
export function warnings(plan: Plan, table: TableFacts): string[] {
  const found: string[] = [];
  const moved = plan.changes.filter((change) => change.kind !== 'add-derived');
  const last = table.columns.at(-1)!.name;
  if (moved.some((change) => change.source!.before !== last)) {
    const names = moved.map((change) => change.shadow.after).join(', ');
    found.push(
      `When the migration is complete, ${names} is the last column of the table, as PostgreSQL can ` +
        'not put a column in the middle. The proxies go on showing it in its place (SELECT *, INSERT ' +
        'without a column list) until --column-order physical; direct connections see it last.',
    );
  }
  const firing = table.triggers.filter((trigger) => trigger.row && trigger.update);
  if (!plan.silenceTriggers && firing.length > 0) {
    found.push(
      `The backfill will fire ${firing.map((trigger) => trigger.name).join(', ')} on every row: ` +
        'the control role may not set session_replication_role (superuser, or from PostgreSQL 15 ' +
        'on GRANT SET ON PARAMETER session_replication_role).',
    );
  }
  if (!plan.everyUpdate) {
    found.push(
      `${table.blindWriters.join(', ')} may write the table without reading it, or single columns ` +
        'of it: an UPDATE of other columns is left to the guard.',
    );
  }
  if (plan.guard === 'reject') {
    found.push(
      'With --guard reject a write that does not come through the proxy fails, and until its row ' +
        'is filled so does such an update of any other column, a cascade, and a write of a trigger.',
    );
  }
  if (plan.guard === 'none') {
    found.push(
      'With --guard none nothing repairs or rejects a write that does not come through a proxy: ' +
        'make sure that there is none.',
    );
  }
  return found;
}

/** A statement may reach rows by the name of a table above them, which no rule knows. */
export function parentWarnings(members: readonly Member[]): string[] {
  if (members[0]?.kind === 'p') return [];
  return members.flatMap((member) => {
    const parents = outsideOf(member, members);
    if (parents.length === 0) return [];
    const name = `${member.schema}.${member.name}`;
    return [
      `What is written to ${name} by the name of ${parents.join(', ')} is left to the guard.`,
    ];
  });
}
