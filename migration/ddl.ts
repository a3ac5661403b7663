import { childrenOf, type Member } from '../db/tree.js';
import {
  type PartRule,
  printExpression,
  quoteIdentifier as q,
  quoteLiteral,
} from '../sql/rules.js';
import { guardSql, quoteBody, removeGuardSql } from './guard.js';
import {
  ownName,
  type Plan,
  type PlannedChange,
  type PlannedIndex,
  relationName,
  tableName,
} from './plan.js';

/**
 * The DDL of a migration, as lists of statements. Each list is run in one transaction with a
 * short lock_timeout, unless it says otherwise, and may be run again after a crash.
 */

/** Adds the new columns, hidden, with the guard that keeps them. */
export function expandSql(plan: Plan, members: readonly Member[]): string[] {
  const oid = plan.table.oid;
  const counters = (['repairs', 'misfits'] as const).map(
    (kind) => `CREATE SEQUENCE IF NOT EXISTS pgtandem.${q(ownName(kind, oid))}`,
  );
  return [
    ...plan.changes.flatMap((change) => addColumnSql(plan, members, change)),
    ...counters,
    ...plan.changes.flatMap((change) => downFunctionSql(change)),
    ...guardSql(plan, members, 'before'),
  ];
}

function addColumnSql(
  plan: Plan,
  members: readonly Member[],
  { source, shadow }: PlannedChange,
): string[] {
  const table = tableName(plan);
  const column = q(shadow.before);
  const collate = shadow.collation === null ? '' : ` COLLATE ${shadow.collation}`;
  // A child that defines the old column defines the new one too, before it inherits it.
  const locals = new Set(
    plan.children?.filter(({ local }) => local.includes(source?.before ?? '')).map((c) => c.oid),
  );
  const definers = childrenOf(members).filter(({ oid }) => locals.has(oid));
  const statements = [...definers.map(relationName).reverse(), table].map(
    (one) => `ALTER TABLE ${one} ADD COLUMN IF NOT EXISTS ${column} ${shadow.rule.type}${collate}`,
  );
  if (shadow.statisticsTarget >= 0) {
    statements.push(
      `ALTER TABLE ${table} ALTER COLUMN ${column} SET STATISTICS ${shadow.statisticsTarget}`,
    );
  }
  for (const { role, privilege, grantable } of shadow.grants) {
    const option = grantable ? ' WITH GRANT OPTION' : '';
    statements.push(`GRANT ${privilege} (${column}) ON ${table} TO ${role}${option}`);
  }
  return statements;
}

/**
 * The way back as a function that gives NULL where there is none. A variable of the old type is
 * assigned, as a column would be: a function's result type does not keep its length.
 */
function downFunctionSql({ downFunction, source, shadow }: PlannedChange): string[] {
  if (!downFunction || !source) return [];
  const body = printExpression(downFunction.body, () => 'value');
  return [
    `CREATE OR REPLACE FUNCTION pgtandem.${q(downFunction.name)}(value ${shadow.rule.type})
     RETURNS ${source.rule.baseType} LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS
     ${quoteBody(`DECLARE result ${source.rule.type}; BEGIN result := ${body}; RETURN result;
     EXCEPTION WHEN others THEN RETURN NULL; END`)}`,
  ];
}

/** An index on the new column, of the table or of a partition; outside a transaction. */
export function createIndexSql(
  index: PlannedIndex,
  relation: { schema: string; name: string },
  name: string,
): string[] {
  return [
    `SET default_tablespace = ${quoteLiteral(index.tablespace ?? '')}`,
    `CREATE INDEX CONCURRENTLY ${q(name)} ON ${relationName(relation)} ${index.definition}`,
    'RESET default_tablespace',
  ];
}

export const indexName = (plan: Plan, name: string) => `${q(plan.table.schema)}.${q(name)}`;

export function dropIndexSql(plan: Plan, index: PlannedIndex): string {
  return `DROP INDEX CONCURRENTLY IF EXISTS ${indexName(plan, index.spare)}`;
}

/** The new columns take over. The caller holds ACCESS EXCLUSIVE, and commits it with the phase. */
export function cutoverSql(plan: Plan, members: readonly Member[]): string[] {
  const table = tableName(plan);
  const alter = (column: string, what: string, one = table) =>
    `ALTER TABLE ${one} ALTER COLUMN ${q(column)} ${what}`;
  // A child may have a NOT NULL by its own definition too, which stays when the table's goes.
  const dropNotNull = (column: string) =>
    [table, ...childrenOf(members).map(relationName)].map((one) =>
      alter(column, 'DROP NOT NULL', one),
    );
  return [
    ...removeGuardSql(plan),
    ...plan.changes.flatMap(({ source }) => rename(table, source?.before, source?.after)),
    ...plan.changes.flatMap(({ shadow }) => rename(table, shadow.before, shadow.after)),
    ...plan.changes.flatMap(({ source, shadow }) => [
      ...(source ? [alter(source.after, 'DROP DEFAULT'), ...dropNotNull(source.after)] : []),
      ...(shadow.rule.default === null
        ? []
        : [alter(shadow.after, `SET DEFAULT ${shadow.rule.default}`)]),
      ...ownSequence(table, shadow.ownedSequence, shadow.after),
      ...comment(table, shadow.after, shadow.comment),
    ]),
    ...plan.indexes.flatMap((index) => [
      ...renameIndex(plan, index.name, `${index.spare}_old`),
      ...renameIndex(plan, index.spare, index.name),
      ...(index.comment === null
        ? []
        : [`COMMENT ON INDEX ${indexName(plan, index.name)} IS ${quoteLiteral(index.comment)}`]),
    ]),
    ...guardSql(plan, members, 'after'),
  ];
}

/** The old columns lead again. As `cutoverSql`, the other way round. */
export function revertSql(plan: Plan, members: readonly Member[]): string[] {
  const table = tableName(plan);
  const alter = (column: string, what: string, one = table) =>
    `ALTER TABLE ${one} ALTER COLUMN ${q(column)} ${what}`;
  // A child may have a NOT NULL by its own definition too, which stays when the table's goes.
  const dropNotNull = (column: string) =>
    [table, ...childrenOf(members).map(relationName)].map((one) =>
      alter(column, 'DROP NOT NULL', one),
    );
  return [
    ...removeGuardSql(plan),
    ...plan.changes.flatMap(({ shadow }) => rename(table, shadow.after, shadow.before)),
    ...plan.changes.flatMap(({ source }) => rename(table, source?.after, source?.before)),
    ...plan.changes.flatMap(({ source, shadow }) => [
      alter(shadow.before, 'DROP DEFAULT'),
      ...dropNotNull(shadow.before),
      ...(source?.rule.default ? [alter(source.before, `SET DEFAULT ${source.rule.default}`)] : []),
      ...(source?.rule.notNull ? [alter(source.before, 'SET NOT NULL')] : []),
      ...(source ? ownSequence(table, source.ownedSequence, source.before) : []),
    ]),
    ...fitNames(plan, table),
    ...plan.indexes.flatMap((index) => [
      ...renameIndex(plan, index.name, index.spare),
      ...renameIndex(plan, `${index.spare}_old`, index.name),
    ]),
    ...guardSql(plan, members, 'before'),
  ];
}

/**
 * Takes columns away from the table, from children that have them as their own too, and from those
 * that are none any more.
 */
function dropSql(
  plan: Plan,
  members: readonly Member[],
  detached: readonly PartRule[],
  columns: string[],
): string[] {
  const tables = [plan.table, ...childrenOf(members), ...detached].map(relationName);
  return tables.flatMap((table) =>
    columns.map((column) => `ALTER TABLE IF EXISTS ${table} DROP COLUMN IF EXISTS ${q(column)}`),
  );
}

/**
 * Drops what is old, and whatever is ours but the history.
 * @param detached partitions that were detached with the old columns in them.
 */
export function completeSql(
  plan: Plan,
  members: readonly Member[],
  version: number,
  detached: PartRule[],
): string[] {
  return [
    ...removeGuardSql(plan),
    ...dropSql(
      plan,
      members,
      detached,
      plan.changes.flatMap(({ source }) => (source ? [source.after] : [])),
    ),
    ...plan.changes.flatMap(({ shadow }) => [
      ...(version >= 180000 && shadow.notNullName ? [notNullName(plan, shadow)] : []),
    ]),
    ...dropOwnSql(plan),
  ];
}

/** Takes the new columns away, as if nothing had been. */
export function abortSql(plan: Plan, members: readonly Member[], detached: PartRule[]): string[] {
  return [
    ...removeGuardSql(plan),
    ...dropSql(
      plan,
      members,
      detached,
      plan.changes.map(({ shadow }) => shadow.before),
    ),
    ...dropOwnSql(plan),
  ];
}

function dropOwnSql(plan: Plan): string[] {
  const oid = plan.table.oid;
  return [
    ...plan.changes.flatMap(({ downFunction, shadow }) =>
      downFunction
        ? [`DROP FUNCTION IF EXISTS pgtandem.${q(downFunction.name)}(${shadow.rule.type})`]
        : [],
    ),
    `DROP SEQUENCE IF EXISTS pgtandem.${q(ownName('repairs', oid))}`,
    `DROP SEQUENCE IF EXISTS pgtandem.${q(ownName('misfits', oid))}`,
  ];
}

function rename(table: string, from: string | undefined, to: string | undefined): string[] {
  if (from === undefined || to === undefined || from === to) return [];
  return [`ALTER TABLE ${table} RENAME COLUMN ${q(from)} TO ${q(to)}`];
}

const renameIndex = (plan: Plan, from: string, to: string) => [
  `ALTER INDEX ${indexName(plan, from)} RENAME TO ${q(to)}`,
];

function ownSequence(table: string, sequence: string | null, column: string): string[] {
  return sequence === null ? [] : [`ALTER SEQUENCE ${sequence} OWNED BY ${table}.${q(column)}`];
}

function comment(table: string, column: string, text: string | null): string[] {
  return text === null ? [] : [`COMMENT ON COLUMN ${table}.${q(column)} IS ${quoteLiteral(text)}`];
}

/** Constraints that proved a column before a step, and that it makes superfluous. */
export const fitName = (ordinal: number) => `_pgtandem_fit_${ordinal}`;
export const notNullProofName = (ordinal: number) => `_pgtandem_not_null_${ordinal}`;

function fitNames(plan: Plan, table: string): string[] {
  return plan.changes.flatMap((_, i) => [
    `ALTER TABLE IF EXISTS ${table} DROP CONSTRAINT IF EXISTS ${q(fitName(i))}`,
    `ALTER TABLE IF EXISTS ${table} DROP CONSTRAINT IF EXISTS ${q(notNullProofName(i))}`,
  ]);
}

/** PostgreSQL 18 names not-null constraints; the new column gets the name that a plain ALTER keeps. */
function notNullName(plan: Plan, shadow: PlannedChange['shadow']): string {
  const { oid } = plan.table;
  return `DO ${quoteBody(`DECLARE found name; BEGIN
    SELECT k.conname INTO found FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a
      ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
    WHERE k.conrelid = ${oid} AND k.contype = 'n' AND a.attname = ${quoteLiteral(shadow.after)};
    IF found <> ${quoteLiteral(shadow.notNullName!)} THEN
      EXECUTE pg_catalog.format('ALTER TABLE ${tableName(plan).replaceAll("'", "''")} RENAME CONSTRAINT %I TO %I', found, ${quoteLiteral(shadow.notNullName!)});
    END IF; END`)}`;
}
