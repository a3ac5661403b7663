import {
  type ColumnFacts,
  findTable,
  type IndexFacts,
  readDependents,
  readServer,
  readTable,
  type TableFacts,
} from '../db/catalog.js';
import { type Connection, sqlState } from '../db/connect.js';
import { layoutVersion } from '../db/schema.js';
import { type Member, readKeyColumns, readTree } from '../db/tree.js';
import { toTemplate } from '../sql/expression.js';
import type { Guard } from '../sql/rules.js';
import { childRefusals, inheritanceRefusals } from './child-refusals.js';
import { columnRule } from './columns.js';
import type { Change, Definition } from './definition.js';
import { safeDown } from './down.js';
import { RefusedError, UserError } from './errors.js';
import { capped, partRefusals, treeRefusals } from './part-refusals.js';
import { partRule } from './parts.js';
import {
  type ChildPlan,
  type ColumnPlan,
  hiddenName,
  type Plan,
  type PlannedChange,
  type PlannedIndex,
} from './plan.js';
import { type Probe, probe } from './probe.js';
import { dependentRefusals, serverRefusals, tableRefusals } from './refusals.js';
import { shownOrder } from './shown.js';
import { listMigrations } from './store.js';
import { parentWarnings, warnings } from './warnings.js';

/**
 * Makes a plan of a definition, in a transaction that is rolled back: nothing is changed.
 * @throws RefusedError with everything that stands in the way, UserError for what can't be read.
 */
export async function makePlan(
  connection: Connection,
  definition: Definition,
  guard: Guard,
): Promise<Plan> {
  await connection.query('BEGIN');
  try {
    await connection.query(`SET LOCAL lock_timeout = '5s'`);
    return await planInTransaction(connection, definition, guard);
  } finally {
    await connection.query('ROLLBACK');
  }
}

async function planInTransaction(
  connection: Connection,
  definition: Definition,
  guard: Guard,
): Promise<Plan> {
  const server = await readServer(connection);
  refuse(serverRefusals(server));
  const oid = await findTable(connection, definition.table.schema, definition.table.name);
  if (oid === null) throw noTable(definition, server.database);
  const path = (await connection.query('SHOW search_path')).rows[0].search_path;
  await connection.query(`SET LOCAL search_path = ''`);
  const table = await readTable(connection, oid);
  refuse(tableRefusals(table, server, definition, guard));
  const members = await readTree(connection, oid);
  const parts = await readParts(connection, table, members, definition, guard);
  const every = [table, ...parts];
  refuse(capped(parts.flatMap((part) => tableRefusals(part, server, definition, guard, true))));
  refuse(await columnRefusals(connection, every, definition));
  await connection.query(`SELECT set_config('search_path', $1, true)`, [path]);
  const probed = await runProbe(connection, definition, table);
  const changes = definition.changes.map((change, i) => plannedChange(change, i, table, probed));
  refuse(chainRefusals(definition, changes, probed.after));
  refuse(partColumnRefusals(table, parts, changes, definition));
  const blind = new Set(every.flatMap(({ blindWriters }) => blindWriters));
  const silence = server.canSilenceTriggers;
  const triggers = triggersOf(every);
  const shown = await readShown(connection);
  const plan: Plan = {
    table: { oid, schema: table.schema, name: table.name },
    ...(table.kind === 'p' && { parts: members.slice(1).map(partRule) }),
    ...(table.kind !== 'p' &&
      parts.length > 0 && { children: plannedChildren(parts, changes, shown) }),
    guard,
    columns: table.columns.map(columnRule),
    visible: shown(table),
    changes,
    indexes: plannedIndexes(table, probed),
    silenceTriggers: silence,
    everyUpdate: blind.size === 0,
    rowTriggers: triggers.some(({ before, row, writes }) => before && row && writes),
    warnings: [],
  };
  const whole = { ...table, blindWriters: [...blind], triggers };
  return { ...plan, warnings: [...warnings(plan, whole), ...parentWarnings(members)] };
}

function plannedChildren(
  facts: readonly TableFacts[],
  changes: readonly PlannedChange[],
  shown: (table: TableFacts) => string[],
): ChildPlan[] {
  const changed = changes.flatMap(({ source }) => (source ? [source.before] : []));
  return facts.map((child) => {
    const { oid, schema, name, columns } = child;
    const own = columns.filter((column) => column.local && changed.includes(column.name));
    return {
      ...{ oid, schema, name },
      columns: columns.map(columnRule),
      visible: shown(child),
      local: own.map((column) => column.name),
    };
  });
}

/** Those of a table and its partitions, which have most of them from it, once each. */
function triggersOf(every: readonly TableFacts[]): TableFacts['triggers'] {
  const all = every.flatMap(({ triggers }) => triggers);
  return [...new Map(all.map((trigger) => [JSON.stringify(trigger), trigger])).values()];
}

/** The partitions or children at every level, as they are now. */
async function readParts(
  connection: Connection,
  table: TableFacts,
  members: Member[],
  definition: Definition,
  guard: Guard,
): Promise<TableFacts[]> {
  const oids = members.map(({ oid }) => oid);
  if (table.kind === 'p') {
    refuse(treeRefusals(members, await readKeyColumns(connection, oids), definition, guard));
  }
  const parts: TableFacts[] = [];
  for (const { oid } of members.slice(1)) parts.push(await readTable(connection, oid));
  if (table.kind !== 'p') {
    refuse(capped(inheritanceRefusals(members, [table, ...parts], definition, guard)));
  }
  return parts;
}

/** The columns' names in the order that the proxies show: an earlier migration may keep another. */
async function readShown(connection: Connection): Promise<(table: TableFacts) => string[]> {
  const used = (await layoutVersion(connection)) > 0;
  const migrations = used ? await listMigrations(connection) : [];
  return ({ oid, columns }) => shownOrder(migrations, oid) ?? columns.map((column) => column.name);
}

function refuse(refusals: UserError[]): void {
  if (refusals.length > 0) throw new RefusedError(refusals);
}

function noTable(definition: Definition, database: string): UserError {
  const { schema, name } = definition.table;
  return new UserError(
    `There is no table ${schema === null ? name : `${schema}.${name}`} in database ${database}.`,
    schema === null
      ? "Write the schema before the name, or set the control role's search_path."
      : 'Look at the spelling, and at the database in the connection string.',
    `${definition.file}:${definition.changes[0]?.line ?? 1}`,
  );
}

/** @param every the table, and its partitions or children. */
async function columnRefusals(
  connection: Connection,
  every: readonly TableFacts[],
  definition: Definition,
): Promise<UserError[]> {
  const refusals: UserError[] = [];
  const seen = new Set<string>();
  for (const change of definition.changes) {
    const where = `${definition.file}:${change.line}`;
    if (seen.has(change.column)) {
      refusals.push(
        new UserError(
          `Column ${change.column} is changed twice.`,
          'Write one action for each column; run the second when the first is complete.',
          where,
        ),
      );
    }
    seen.add(change.column);
    if (change.kind === 'add-derived') continue;
    for (const table of every) {
      const column = table.columns.find((candidate) => candidate.name === change.column)!;
      const dependents = await readDependents(connection, table.oid, column.attnum);
      const whole = table === every[0] ? null : every[0]!;
      const found = dependentRefusals(change, dependents, table, definition.file, whole);
      refusals.push(...found);
      // What the partitions have from the table is not told once more for each of them.
      if (found.length > 0) break;
    }
  }
  return refusals;
}

function partColumnRefusals(
  table: TableFacts,
  parts: readonly TableFacts[],
  changes: readonly PlannedChange[],
  { file }: Definition,
): UserError[] {
  const changed = changes.flatMap(({ source }) => (source ? [source.before] : []));
  const leads = changes.flatMap(({ up }) => up.columns);
  return capped(
    parts.flatMap((part) =>
      table.kind === 'p'
        ? partRefusals(table, part, changed, leads, file)
        : childRefusals(table, part, changed, file),
    ),
  );
}

async function runProbe(
  connection: Connection,
  definition: Definition,
  table: TableFacts,
): Promise<Probe> {
  try {
    return await probe(connection, definition, table.oid, table.columns);
  } catch (error) {
    if (sqlState(error) === '42501') {
      throw new UserError(
        `The plan can't be tried out: ${(error as Error).message}.`,
        'GRANT TEMPORARY ON DATABASE to the control role: it makes an empty copy of the table.',
      );
    }
    throw error;
  }
}

function plannedChange(
  change: Change,
  ordinal: number,
  table: TableFacts,
  probed: Probe,
): PlannedChange {
  const names = table.columns.map((column) => column.name);
  const find = (columns: ColumnFacts[], name: string) =>
    columns.find((column) => column.name === name)!;
  const expressions = probed.expressions[ordinal]!;
  const up = toTemplate(expressions.up, names);
  if (change.kind === 'add-derived') {
    const shadow = columnPlan(find(probed.after, change.column));
    return {
      kind: change.kind,
      action: change.action,
      source: null,
      shadow: { before: change.column, after: change.column, ...shadow },
      up,
      down: null,
      downFunction: null,
    };
  }
  const renamed = change.kind === 'rename';
  const after = renamed ? change.to : change.column;
  const source = columnPlan(find(table.columns, change.column));
  const shadow = columnPlan(find(probed.after, after));
  const back = toTemplate(
    expressions.down!,
    probed.after.map((column) => column.name),
  );
  const declared = change.kind === 'change-type' && change.down !== null;
  return {
    kind: change.kind,
    action: change.action,
    source: {
      before: change.column,
      after: renamed ? change.column : hiddenName('old', change.column),
      ...source,
    },
    shadow: {
      before: renamed ? change.to : hiddenName('new', change.column),
      after,
      ...shadow,
      ownedSequence: source.ownedSequence,
      comment: source.comment,
      notNullName: source.notNullName,
      grants: source.grants,
      statisticsTarget: source.statisticsTarget,
    },
    up,
    ...safeDown(back, declared, source.rule, shadow.rule, table.oid, ordinal),
  };
}

function plannedIndexes(table: TableFacts, probed: Probe): PlannedIndex[] {
  return table.indexes.flatMap((index: IndexFacts, i) => {
    const { untouched, altered } = probed.indexes[i]!;
    if (untouched !== index.definition) {
      throw new Error(`Index ${index.name} could not be told apart from the others.`);
    }
    if (altered === untouched) return [];
    return [
      {
        name: index.name,
        spare: `_pgtandem_${index.oid}`,
        definition: altered,
        tablespace: index.tablespace,
        comment: index.comment,
      },
    ];
  });
}

function columnPlan(facts: ColumnFacts): ColumnPlan {
  const { collation, comment, notNullName, ownedSequence, statisticsTarget, equalImage } = facts;
  return {
    rule: columnRule(facts),
    collation,
    comment,
    notNullName,
    ownedSequence,
    statisticsTarget,
    equalImage,
    grants: facts.grants,
  };
}

/** An expression over a column that changes in the same migration would mean two things. */
function chainRefusals(
  definition: Definition,
  changes: PlannedChange[],
  after: ColumnFacts[],
): UserError[] {
  const changed = new Set(
    changes.flatMap((change) => (change.source ? [change.source.before] : [])),
  );
  const refusals: UserError[] = [];
  changes.forEach((change, i) => {
    const created = after.find((column) => column.name === change.shadow.after);
    if (created?.demandingDomain) {
      refusals.push(
        new UserError(
          `"${change.action}" uses a domain that is NOT NULL or has a default.`,
          'Take them off the domain, and put them on the column when the migration is complete.',
          `${definition.file}:${definition.changes[i]!.line}`,
        ),
      );
    }
    const back = change.downFunction?.body ?? change.down;
    const foreign = back?.columns.find((column) => column !== change.shadow.after);
    if (foreign !== undefined) {
      refusals.push(
        new UserError(
          `The way back of "${change.action}" uses column ${foreign}.`,
          `Write down(...) over ${change.shadow.after} alone.`,
          `${definition.file}:${definition.changes[i]!.line}`,
        ),
      );
    }
    for (const column of new Set(change.up.columns)) {
      if (column !== change.source?.before && changed.has(column)) {
        refusals.push(
          new UserError(
            `"${change.action}" is made from ${column}, which this migration changes too.`,
            'Write two migrations, and run the second when the first is complete.',
            `${definition.file}:${definition.changes[i]!.line}`,
          ),
        );
      }
    }
  });
  return refusals;
}
