import type {
  CreateStmt,
  DoStmt,
  ExplainStmt,
  IntoClause,
  Node,
  RangeVar,
  RawStmt,
  SelectStmt,
  VariableSetStmt,
} from 'libpg-query';
import { rewriteCopy } from './copy.js';
import { decideDefinition, tablesOfObjects } from './ddl.js';
import type { Findings, Statement, Write } from './findings.js';
import { hideMisnamed, hideTables, seesHidden } from './hide.js';
import { rewriteInsert } from './insert.js';
import { isUnlisted, rewriteMerge } from './merge.js';
import { type Names, namePattern } from './names.js';
import { misplacing, type Plan } from './plan.js';
import type { PreparedTable } from './prepared.js';
import { expandStar } from './star.js';
import type { ByteString } from './tree.js';
import { rewriteUpdate } from './update.js';
import { Walk } from './walk.js';
import { expandRow } from './whole-row.js';

/** A statement's node: its kind and what is in it. */
export function kindOf(stmt: RawStmt): { kind: string; value: unknown } {
  const [entry] = Object.entries(stmt.stmt ?? {});
  return { kind: entry?.[0] ?? '', value: entry?.[1] };
}

/** Names of new relations are not references to old ones. */
const NEW_NAME: Readonly<Record<string, string>> = {
  CreateStmt: 'relation',
  CreateForeignTableStmt: 'base',
  CreateSeqStmt: 'sequence',
  ViewStmt: 'view',
  CompositeTypeStmt: 'typevar',
};

/** Kinds whose rows go to the client. */
const SENT = /^(Select|Insert|Update|Delete|Merge)Stmt$/;

/** The query or write whose rows go to the client, or would; null where there is none. */
function sentBy(stmt: Node | undefined): unknown {
  const [[kind, value] = ['', null]] = Object.entries(stmt ?? {});
  if (kind === 'ExplainStmt') return sentBy((value as ExplainStmt).query);
  return SENT.test(kind) ? value : null;
}

export function findStatements(tree: readonly RawStmt[], names: Names): Statement[] {
  let steady = true;
  return tree.map((stmt) => {
    const statement = findTables(stmt, names, steady);
    steady &&= isSteady(statement, names);
    return statement;
  });
}

/** Kinds that alter no table. */
const STEADY =
  /^(Select|Insert|Update|Delete|Merge|Transaction|VariableSet|VariableShow|Lock|Truncate)Stmt$/;

/**
 * Whether behind it names mean what they did, and tables have the columns that they had: what a trigger
 * does left aside, and what an operator does. Where that is wrong the server refuses what was made of it.
 */
function isSteady({ kind, value, findings }: Statement, names: Names): boolean {
  if (!STEADY.test(kind) || findings.callsUnknown) return false;
  return intoOf(value) === undefined && !changes(kind, value, findings, names);
}

function findTables(stmt: RawStmt, names: Names, steady: boolean): Statement {
  const { kind, value } = kindOf(stmt);
  const walk = new Walk(names, sentBy(stmt.stmt), steady);
  const skipped = NEW_NAME[kind];
  if (skipped !== undefined && typeof value === 'object' && value !== null) {
    for (const [key, child] of Object.entries(value)) if (key !== skipped) walk.visit(child, null);
  } else walk.visit(stmt.stmt, null);
  if (kind === 'DropStmt' || kind === 'CommentStmt') {
    const { tables, byPath } = tablesOfObjects(kind, value, names);
    for (const table of tables) walk.findings.touched.add(table);
    walk.findings.byPath ||= byPath;
  }
  if (kind === 'DoStmt') {
    // What a DO block does is not seen; a table of which it has the name it may write.
    const body = (value as DoStmt).args?.map(stringOf).join('\n') ?? '';
    for (const table of names.tables) {
      if (namePattern([table.rule.name]).test(body)) walk.findings.touched.add(table);
    }
  }
  return { kind, value, findings: walk.findings };
}

/** The string that an option of a statement is; empty when it is something else. */
function stringOf(node: Node): ByteString {
  const argument = 'DefElem' in node ? node.DefElem.arg : undefined;
  return argument && 'String' in argument ? (argument.String.sval ?? '') : '';
}

/** Kinds whose queries and writes are rewritten where they stand. */
const QUERIES = new Set([
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'ExplainStmt',
  'DeclareCursorStmt',
  'CreateTableAsStmt',
  'CopyStmt',
  'ViewStmt',
]);

/** Decides on a statement that touches tables under migration, and changes its tree. */
export function decide(plan: Plan, statement: Statement): void {
  const { kind, value, findings } = statement;
  if (kind === 'PrepareStmt') {
    decidePrepare(plan, findings);
    return;
  }
  if (!QUERIES.has(kind)) {
    decideDefinition(plan, kind, value, findings);
    return;
  }
  for (const scope of findings.misnamed) hideMisnamed(plan, scope);
  for (const star of findings.stars) hideTables(plan, star);
  for (const star of findings.stars) expandStar(plan, star);
  if (findings.naturals.some(seesHidden)) plan.guardRead('natural-join');
  for (const row of findings.rows) expandRow(plan, row);
  for (const leak of findings.leaks) plan.guardRead(leak);
  for (const write of findings.writes) rewriteWrite(plan, write);
  // A view made now would hold on to the columns of now.
  if (kind === 'ViewStmt' || (kind === 'CreateTableAsStmt' && isMatView(value))) {
    plan.guardRead('view');
  }
  if (findings.copy) rewriteCopy(plan, findings.copy.stmt, findings.copy.table);
}

function rewriteWrite(plan: Plan, write: Write): void {
  const { table } = write;
  switch (write.kind) {
    case 'insert':
      rewriteInsert(plan, write.stmt, table, write.queries);
      break;
    case 'update':
      rewriteUpdate(plan, write.stmt, table, write.queries);
      break;
    case 'delete':
      break;
    case 'merge':
      rewriteMerge(plan, write.stmt, table);
  }
}

/** Whether it fills columns by their place. */
function isPositional(write: Write): boolean {
  if (write.kind === 'merge') return isUnlisted(write.stmt);
  return write.kind === 'insert' && !write.stmt.cols;
}

/** SQL's own prepared statement outlives a cutover, and its text does not: it is not edited. */
function decidePrepare(plan: Plan, findings: Findings): void {
  const written = findings.writes.filter(
    ({ table, kind }) => table.pairs.length > 0 && kind !== 'delete',
  );
  for (const write of findings.writes) {
    if (isPositional(write) && !write.table.inPlace)
      plan.refuse('prepare', misplacing(write.table));
  }
  for (const { table } of written) plan.guardWrite(table, 'prepare');
  const natural = findings.naturals.some(seesHidden);
  const shows = natural || findings.stars.length + findings.rows.length + findings.leaks.size > 0;
  if (shows && [...findings.touched].some((table) => table.hides)) plan.guardRead('prepare');
}

function isMatView(value: unknown): boolean {
  return (value as { objtype?: string }).objtype === 'OBJECT_MATVIEW';
}

const VIEW = /^pgtandem\.view$/i;
const SESSION = /^(search_path|role|session_authorization)$/;

/**
 * Whether what unqualified names mean, or the view, may change within the text, so that the
 * session's own answer from before it does not hold for all of it.
 */
export function changesNames(statements: readonly Statement[], names: Names): boolean {
  let changed = false;
  let turned = false;
  for (const { kind, value, findings } of statements) {
    if (changed && findings.byPath) return true;
    if ((changed || turned) && [...findings.touched].some(({ rule }) => rule.views)) return true;
    changed ||= changes(kind, value, findings, names);
    turned ||= kind === 'VariableSetStmt' && VIEW.test((value as VariableSetStmt).name ?? '');
  }
  return false;
}

function changes(kind: string, value: unknown, findings: Findings, names: Names): boolean {
  if (findings.setsConfig) return true;
  switch (kind) {
    case 'VariableSetStmt': {
      const { kind: how, name } = value as VariableSetStmt;
      return how === 'VAR_RESET_ALL' || SESSION.test(name ?? '');
    }
    case 'TransactionStmt':
      return !/_(BEGIN|START|SAVEPOINT|RELEASE)$/.test(String((value as { kind: string }).kind));
    case 'DiscardStmt':
    case 'DropStmt':
    case 'RenameStmt':
    case 'CreateSchemaStmt':
    case 'AlterObjectSchemaStmt':
    case 'DoStmt':
    case 'CallStmt':
    case 'ExecuteStmt':
      return true;
    default:
      return newNames(kind, value).some((name) => names.named(name).length > 0);
  }
}

/** Names of the relations that a statement makes. */
function newNames(kind: string, value: unknown): string[] {
  const made: { relname?: string }[] = [];
  if (kind in NEW_NAME) {
    const { [NEW_NAME[kind]!]: relation } = value as Record<string, RangeVar & CreateStmt>;
    made.push({ ...relation }, { ...relation?.relation });
  }
  const { into } = value as { into?: IntoClause };
  made.push({ ...into?.rel }, { ...intoOf(value)?.rel });
  return made.flatMap(({ relname }) => (relname === undefined ? [] : [relname]));
}

/** INTO of a query; of a set operation it is in the first arm. */
function intoOf(value: unknown): IntoClause | undefined {
  let query = value as SelectStmt;
  while (query.larg) query = query.larg;
  return query.intoClause;
}

export function touchedBy(statements: readonly Statement[]): Set<PreparedTable> {
  return new Set(statements.flatMap(({ findings }) => [...findings.touched]));
}
