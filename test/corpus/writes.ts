import type { RangeVar, RawStmt } from 'libpg-query';

/** A table that a statement names in order to write it (or, in a SELECT, to read it). */
export interface Named {
  kind: Kind;
  /** Whether it writes rows: a DELETE does not. */
  writes: boolean;
  schema: string | undefined;
  name: string;
}

export const KINDS = [
  'INSERT ... VALUES',
  'INSERT ... SELECT',
  'INSERT DEFAULT VALUES',
  'INSERT ... ON CONFLICT',
  'UPDATE',
  'UPDATE ... FROM',
  'DELETE',
  'MERGE',
  'COPY FROM',
  'COPY TO',
  'a write in WITH',
  'EXPLAIN of a write',
  'PREPARE of a write',
  'SELECT',
] as const;

export type Kind = (typeof KINDS)[number];

/** Statements that are queries, or carry one out; a rule or a function only has it in its body. */
const QUERIES =
  /^(Select|Insert|Update|Delete|Merge|Copy|Explain|Prepare|DeclareCursor|CreateTableAs)Stmt$/;

type Tree = Record<string, unknown>;
type Add = (kind: Kind, relation: unknown, writes: boolean) => void;

/** What the statements of a text name; the same table once for each kind. */
export function namedIn(tree: readonly RawStmt[]): Named[] {
  const found = new Map<string, Named>();
  const add: Add = (kind, relation, writes) => {
    const { relname, schemaname } = (relation ?? {}) as RangeVar;
    if (relname === undefined) return;
    const before = found.get(`${kind} ${schemaname} ${relname}`)?.writes ?? false;
    const named = { kind, writes: writes || before, schema: schemaname, name: relname };
    found.set(`${kind} ${schemaname} ${relname}`, named);
  };
  for (const { stmt } of tree) {
    const [[key, value] = ['', undefined]] = Object.entries(stmt ?? {});
    if (QUERIES.test(key)) visit(key, value as Tree, key, false, add);
  }
  return [...found.values()];
}

function visit(key: string, value: unknown, top: string, isInner: boolean, add: Add): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) visit(key, item, top, isInner, add);
    return;
  }
  const node = value as Tree;
  const plain = kindOf(key, node);
  if (plain) add(placed(plain, top, isInner), node.relation, writesRows(plain, node));
  if (key === 'RangeVar' && top === 'SelectStmt') add('SELECT', node, false);
  if (key === 'CopyStmt' && node.relation)
    add(node.is_from ? 'COPY FROM' : 'COPY TO', node.relation, Boolean(node.is_from));
  const inner = isInner || key === 'CommonTableExpr';
  for (const [name, child] of Object.entries(node)) visit(name, child, top, inner, add);
}

function kindOf(key: string, node: Tree): Kind | null {
  switch (key) {
    case 'InsertStmt': {
      if (node.onConflictClause) return 'INSERT ... ON CONFLICT';
      const select = (node.selectStmt as Tree | undefined)?.SelectStmt as Tree | undefined;
      if (!select) return 'INSERT DEFAULT VALUES';
      return select.valuesLists ? 'INSERT ... VALUES' : 'INSERT ... SELECT';
    }
    case 'UpdateStmt':
      return node.fromClause ? 'UPDATE ... FROM' : 'UPDATE';
    case 'DeleteStmt':
      return 'DELETE';
    case 'MergeStmt':
      return 'MERGE';
    default:
      return null;
  }
}

/** A DELETE leaves no row behind, and neither does a MERGE that does nothing else. */
function writesRows(kind: Kind, node: Tree): boolean {
  if (kind !== 'MERGE') return kind !== 'DELETE';
  return ((node.mergeWhenClauses as Tree[] | undefined) ?? []).some((clause) =>
    /INSERT|UPDATE/.test(String((clause.MergeWhenClause as Tree | undefined)?.commandType)),
  );
}

function placed(kind: Kind, top: string, isInner: boolean): Kind {
  if (top === 'ExplainStmt') return 'EXPLAIN of a write';
  if (top === 'PrepareStmt') return 'PREPARE of a write';
  return isInner ? 'a write in WITH' : kind;
}
