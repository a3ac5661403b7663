import type { Dependent, IndexFacts, ServerFacts, TableFacts } from '../db/catalog.js';
import type { Guard } from '../sql/rules.js';
import type { Change, Definition } from './definition.js';
import { UserError } from './errors.js';
import { ARRIVAL_TRIGGER, GUARD_TRIGGER, hiddenName } from './plan.js';

/** What of the server makes a migration impossible. Pure. */
export function serverRefusals(server: ServerFacts): UserError[] {
  const refusals: UserError[] = [];
  if (server.versionNumber < 140000) {
    refusals.push(
      new UserError(
        `The server is PostgreSQL ${server.version}; pgtandem needs 14 or newer.`,
        'Upgrade the server first: TID range scans, on which the backfill rests, came with 14.',
      ),
    );
  }
  if (server.inRecovery) {
    refusals.push(
      new UserError('This server is a standby.', 'Give the connection string of the primary.'),
    );
  }
  if (!server.canInstall) {
    refusals.push(
      new UserError(
        `Role ${server.user} may not make the schema pgtandem in database ${server.database}.`,
        `GRANT CREATE ON DATABASE ${server.database} TO ${server.user}.`,
      ),
    );
  }
  return refusals;
}

/**
 * What of the table makes this migration impossible. Pure.
 * @param isPart whether it is a partition or a child of the table that is migrated.
 */
export function tableRefusals(
  table: TableFacts,
  server: ServerFacts,
  definition: Definition,
  guard: Guard,
  isPart = false,
): UserError[] {
  const name = `${table.schema}.${table.name}`;
  const refusals: UserError[] = [];
  const refuse = (message: string, hint: string) => refusals.push(new UserError(message, hint));
  if (!isPart && table.isPartition) {
    refuse(`${name} is a partition.`, 'Migrate the partitioned table: its partitions go with it.');
  } else if (table.kind !== 'r' && table.kind !== 'p' && !isPart) {
    refuse(`${name} is ${describeKind(table.kind)}.`, 'Only tables can be migrated.');
  }
  if (table.persistence === 't') refuse(`${name} is a temporary table.`, 'Change it directly.');
  if (!table.owned) {
    refuse(
      `Role ${server.user} does not own ${name}, so it may not alter it.`,
      `GRANT the owner's role to ${server.user}, or connect as the owner.`,
    );
  }
  if (table.rowSecurity) {
    refuse(
      `Row security hides rows of ${name} from role ${server.user}: the backfill would miss them.`,
      `ALTER ROLE ${server.user} BYPASSRLS, or connect as a role that is not subject to it.`,
    );
  }
  if (table.hasRules) refuse(`${name} has rules.`, 'Drop them (a trigger does the same) first.');
  if (table.subscribed) {
    refuse(
      `${name} is filled by a logical replication subscription.`,
      'Migrate it on the publisher, or take it out of the subscription first.',
    );
  }
  for (const publication of table.publications) {
    refuse(
      `${name} is in publication ${publication}: a subscriber without the new column would stop.`,
      `ALTER PUBLICATION ${publication} DROP TABLE ${name} while it is migrated.`,
    );
  }
  for (const user of table.rowTypeUsers) {
    refuse(
      `${capital(user)} uses the row type of ${name}, in which the new column would be seen.`,
      'Name its columns there instead of the row type.',
    );
  }
  for (const index of table.indexes.filter((index) => !index.valid)) {
    refuse(`Index ${index.name} is not valid.`, `DROP INDEX ${index.name}, or REINDEX it.`);
  }
  const renames = definition.changes.some((change) => change.kind === 'rename');
  refusals.push(...triggerRefusals(table, guard, renames));
  if (guard === 'none' && table.blindWriters.length > 0) {
    refuse(
      `${table.blindWriters.join(', ')} may write ${name} without reading it, or single columns ` +
        'of it; then only a guard can keep the new column.',
      'Use --guard repair, or GRANT SELECT, INSERT, UPDATE on the table.',
    );
  }
  const columns = new Set(table.columns.map((column) => column.name));
  for (const change of isPart ? [] : definition.changes) {
    refusals.push(...changeRefusals(change, columns, table));
  }
  return refusals.map((r) => new UserError(r.message, r.hint, r.where ?? `${definition.file}:1`));
}

function triggerRefusals(table: TableFacts, guard: Guard, renames: boolean): UserError[] {
  const refusals: UserError[] = [];
  for (const trigger of table.triggers) {
    if (guard === 'none' && trigger.before && trigger.row) {
      refusals.push(
        new UserError(
          `Trigger ${trigger.name} runs before each row and may change what was written.`,
          'Use --guard repair: the guard runs after it.',
        ),
      );
    }
    if (guard === 'repair' && trigger.before && trigger.name >= GUARD_TRIGGER) {
      refusals.push(
        new UserError(
          `Trigger ${trigger.name} would run after the guard (triggers run in order of name).`,
          'Rename it: ALTER TRIGGER ... RENAME TO a name that begins with one of a to z.',
        ),
      );
    }
    if (guard === 'repair' && renames && trigger.before && trigger.name <= ARRIVAL_TRIGGER) {
      refusals.push(
        new UserError(
          `Trigger ${trigger.name} would run before the guard knows which column was written ` +
            '(triggers run in order of name).',
          'Rename it: ALTER TRIGGER ... RENAME TO a name that begins with one of a to z.',
        ),
      );
    }
  }
  return refusals;
}

function changeRefusals(change: Change, columns: Set<string>, table: TableFacts): UserError[] {
  const where = (message: string, hint: string) => [new UserError(message, hint)];
  const created =
    change.kind === 'rename'
      ? change.to
      : change.kind === 'change-type'
        ? hiddenName('new', change.column)
        : change.column;
  if (columns.has(created)) {
    return where(
      `${table.name} has a column ${created} already.`,
      change.kind === 'change-type'
        ? 'It is left of an earlier migration: look at pgtandem status, and drop it if unused.'
        : 'Choose another name.',
    );
  }
  if (change.kind === 'add-derived') return [];
  const column = table.columns.find((candidate) => candidate.name === change.column);
  if (!column) {
    return where(
      `${table.schema}.${table.name} has no column ${change.column}.`,
      `Its columns are ${[...columns].join(', ')}.`,
    );
  }
  if (column.identity) {
    return where(
      `${change.column} is an identity column.`,
      'Identity is not carried over yet: ALTER COLUMN ... DROP IDENTITY and use a sequence.',
    );
  }
  if (column.demandingDomain) {
    return where(
      `${change.column} is of domain ${column.type}, which is NOT NULL or has a default.`,
      'Put NOT NULL and the default on the column, and take them off the domain, first.',
    );
  }
  if (column.generated) {
    return where(`${change.column} is a generated column.`, 'Change the columns it is made from.');
  }
  return [];
}

/**
 * What hangs on a column and is not carried over, by name. NOT NULL, the default, a sequence that
 * the column owns and indexes that are not unique are carried.
 * @param whole of a partition or a child: the table. Only parts of its indexes are carried, as they are there.
 */
export function dependentRefusals(
  change: Change,
  dependents: Dependent[],
  table: TableFacts,
  file: string,
  whole: TableFacts | null = null,
): UserError[] {
  const plain = new Set(
    table.indexes.filter((index) => isCarried(index, whole)).map((index) => index.oid),
  );
  return dependents
    .filter((dependent) => {
      if (dependent.catalog === 'pg_attrdef') return dependent.kind !== 'own';
      if (dependent.catalog === 'pg_constraint') return dependent.kind !== 'n';
      if (dependent.catalog !== 'pg_class') return true;
      if (dependent.kind === 'S') return false;
      return !plain.has(dependent.oid);
    })
    .map(
      (dependent) =>
        new UserError(
          `${named(dependent.description)} depends on column ${change.column} of ${table.name}.`,
          'It is not carried over yet: drop it for the time of the migration, if you can.',
          `${file}:${change.line}`,
        ),
    );
}

function isCarried(index: IndexFacts, whole: TableFacts | null): boolean {
  if (index.unique || index.primary || index.clustered) return false;
  if (whole === null) return true;
  const { definition, tablespace } = index;
  const isSame = (other: IndexFacts) =>
    other.definition === definition && other.tablespace === tablespace;
  return index.inherited && index.comment === null && whole.indexes.some(isSame);
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** The catalog calls the expression of a generated column its default value. */
const named = (description: string) =>
  capital(
    description.replace(/^default value for column (.+) of table .+$/, 'generated column $1'),
  );

function describeKind(kind: string): string {
  const kinds: Record<string, string> = {
    v: 'a view',
    m: 'a materialized view',
    f: 'a foreign table',
    S: 'a sequence',
    i: 'an index',
    c: 'a composite type',
  };
  return kinds[kind] ?? `a relation of kind ${kind}`;
}
