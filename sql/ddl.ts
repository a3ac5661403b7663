import type { AlterTableStmt, DropStmt, IndexStmt, Node } from 'libpg-query';
import type { Findings } from './findings.js';
import type { Names } from './names.js';
import { migrationsOf, nameOf, type Plan } from './plan.js';
import type { PreparedTable } from './prepared.js';
import { type ByteString, strings } from './tree.js';

/** Kinds of statement that name a table and do it no harm while it is under migration. */
const HARMLESS = new Set([
  'CommentStmt',
  'VacuumStmt',
  'GrantStmt',
  'LockStmt',
  'TruncateStmt',
  'ReindexStmt',
  'ClusterStmt',
  'SecLabelStmt',
  'RefreshMatViewStmt',
  'CreateSeqStmt',
  'AlterSeqStmt',
  'AlterDefaultPrivilegesStmt',
]);

/** Kinds that change the table, or hang something on its columns that the plan does not know of. */
const CHANGING = new Set([
  'AlterTableStmt',
  'RenameStmt',
  'AlterObjectSchemaStmt',
  'AlterObjectDependsStmt',
  'AlterOwnerStmt',
  'CreateTrigStmt',
  'CreatePolicyStmt',
  'AlterPolicyStmt',
  'RuleStmt',
  'CreateStatsStmt',
  'CreatePublicationStmt',
  'AlterPublicationStmt',
  'CreateForeignTableStmt',
  'DropStmt',
]);

/** ALTER TABLE actions that change nothing that a migration stands on. */
const HARMLESS_ACTIONS = new Set([
  'AT_SetStatistics',
  'AT_SetRelOptions',
  'AT_ResetRelOptions',
  'AT_ValidateConstraint',
  'AT_SetOptions',
  'AT_ResetOptions',
  'AT_ClusterOn',
  'AT_DropCluster',
]);

/** Decides on a statement that is neither a query nor a write, and of which the tables are known. */
export function decideDefinition(
  plan: Plan,
  kind: string,
  stmt: unknown,
  findings: Findings,
): void {
  for (const table of findings.touched) {
    if (table.rule.orderOnly) continue;
    if (kind === 'IndexStmt') {
      if (namesHidden(stmt as IndexStmt, table)) refuseDefinition(plan, table, 'ddl');
    } else if (kind === 'AlterTableStmt' && isHarmlessAlter(stmt as AlterTableStmt)) {
    } else if (kind === 'CreateStmt') {
      decideCreate(plan, stmt, table);
    } else if (isDropOf(kind, stmt, table)) {
      // The rows of a partition go, and with them all that the migration has to do with it.
    } else if (CHANGING.has(kind)) {
      refuseDefinition(plan, table, 'ddl');
    } else if (kind === 'CreateFunctionStmt' || kind === 'DoStmt') {
      plan.guardWrite(table, kind === 'DoStmt' ? 'do' : 'function');
    } else if (!HARMLESS.has(kind)) {
      plan.guardWrite(table, 'statement');
    }
  }
}

function isDropOf(kind: string, stmt: unknown, table: PreparedTable): boolean {
  const isPart = table.oid !== table.rule.oid;
  return kind === 'DropStmt' && isPart && (stmt as DropStmt).removeType === 'OBJECT_TABLE';
}

/** A new table: a partition may come; a copy of the columns or a foreign key may not. */
function decideCreate(plan: Plan, stmt: unknown, table: PreparedTable): void {
  const { inhRelations, partbound, tableElts } = stmt as {
    inhRelations?: Node[];
    partbound?: unknown;
    tableElts?: Node[];
  };
  if (inhRelations && !partbound) refuseDefinition(plan, table, 'ddl');
  for (const element of tableElts ?? []) {
    if ('TableLikeClause' in element) plan.guardRead('like');
    else if (JSON.stringify(element).includes('"CONSTR_FOREIGN"')) {
      refuseDefinition(plan, table, 'ddl');
    }
  }
}

export function refuseDefinition(plan: Plan, table: PreparedTable, reason: string): void {
  const migrations = migrationsOf(table);
  plan.refuse(reason, {
    message: `table "${nameOf(table)}" cannot be changed while it is under migration (${migrations})`,
    hint: `Wait until ${migrations} is complete, or go back with "pgtandem revert" or "pgtandem abort" first.`,
  });
}

function isHarmlessAlter(stmt: AlterTableStmt): boolean {
  return (stmt.cmds ?? []).every(
    (node) => 'AlterTableCmd' in node && HARMLESS_ACTIONS.has(node.AlterTableCmd.subtype ?? ''),
  );
}

/** Whether an index stands on a column that a star does not show. */
function namesHidden(stmt: IndexStmt, table: PreparedTable): boolean {
  const named = new Set<ByteString>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, child] of Object.entries(value)) {
      if (key === 'IndexElem' && typeof child === 'object' && child !== null) {
        if ('name' in child) named.add(String(child.name));
      } else if (key === 'ColumnRef') {
        named.add(strings((child as { fields?: Node[] }).fields).at(-1) ?? '');
      }
      visit(child);
    }
  };
  visit(stmt);
  return [...named].some((name) => table.columns.has(name) && !table.visible.includes(name));
}

const OF_RELATION = new Set([
  'OBJECT_TABLE',
  'OBJECT_FOREIGN_TABLE',
  'OBJECT_VIEW',
  'OBJECT_MATVIEW',
]);
const OF_COLUMN = new Set([
  'OBJECT_COLUMN',
  'OBJECT_TRIGGER',
  'OBJECT_RULE',
  'OBJECT_POLICY',
  'OBJECT_TABCONSTRAINT',
]);

/** Tables that DROP and COMMENT name: as lists of names, not as references. */
export function tablesOfObjects(
  kind: string,
  stmt: unknown,
  names: Names,
): { tables: PreparedTable[]; byPath: boolean } {
  const { removeType, objects } = stmt as DropStmt;
  const { objtype, object } = stmt as { objtype?: string; object?: Node };
  const type = kind === 'DropStmt' ? removeType : objtype;
  const list = kind === 'DropStmt' ? objects : object ? [object] : [];
  const result: { tables: PreparedTable[]; byPath: boolean } = { tables: [], byPath: false };
  if (!type || !(OF_RELATION.has(type) || OF_COLUMN.has(type))) return result;
  for (const node of list ?? []) {
    const parts = strings('List' in node ? node.List.items : undefined);
    if (OF_COLUMN.has(type)) parts.pop();
    const name = parts.at(-1) ?? undefined;
    const schema = parts.at(-2) ?? undefined;
    if (name && !schema && names.named(name).length > 0) result.byPath = true;
    const table = names.find(schema, name);
    if (table) result.tables.push(table);
  }
  return result;
}
