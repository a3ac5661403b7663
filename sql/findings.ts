import type {
  ColumnRef,
  CopyStmt,
  DeleteStmt,
  InsertStmt,
  JoinExpr,
  MergeStmt,
  Node,
  SelectStmt,
  UpdateStmt,
} from 'libpg-query';
import type { Queries } from './columns.js';
import type { PreparedTable } from './prepared.js';
import { findItem, type Item, type Scope } from './scope.js';
import { type ByteString, strings } from './tree.js';
import type { WholeRow } from './whole-row.js';

/** A star in a target list: what it stands for depends on the scope. */
export interface Star {
  targets: Node[];
  target: Node;
  ref: ColumnRef;
  scope: Scope;
  /** Whether it stands in a row and not among the targets. */
  inRow: boolean;
  /** Of a whole row in parentheses, `(o).*`: what it is a row of. */
  whole: Item | null;
  /** For `TABLE t`, whose star is not written: where the table's name begins. */
  from: number;
}

/** A statement that writes a table under migration, at any depth. */
export type Write = { table: PreparedTable } & (
  | { kind: 'insert'; stmt: InsertStmt; queries: Queries }
  | { kind: 'update'; stmt: UpdateStmt; queries: Queries }
  | { kind: 'delete'; stmt: DeleteStmt }
  | { kind: 'merge'; stmt: MergeStmt }
);

/** What one statement has to do with the tables under migration. */
export class Findings {
  readonly touched = new Set<PreparedTable>();
  readonly stars: Star[] = [];
  readonly rows: WholeRow[] = [];
  /** Scopes with an alias whose names for columns are those of others. */
  readonly misnamed: Scope[] = [];
  /** Scopes with a NATURAL JOIN. */
  readonly naturals: Scope[] = [];
  readonly writes: Write[] = [];
  readonly named = new Named();
  /** A COPY of the table itself. */
  copy: { table: PreparedTable; stmt: CopyStmt } | null = null;
  /** Why hidden columns may show however the stars are spelled out. */
  readonly leaks = new Set<string>();
  /** Whether a reference without a schema was resolved by the search_path. */
  byPath = false;
  /** Whether it writes any table at all. */
  writesAny = false;
  /** Whether set_config is called, which may change the search_path. */
  setsConfig = false;
  /** Whether a function is called that is not known, and may alter a table. */
  callsUnknown = false;
}

/** By table: the watched columns that are named. */
export class Named {
  private readonly columns = new Map<PreparedTable, Set<ByteString>>();
  /** References that mean a label of the target list. */
  private readonly labels = new WeakSet<ColumnRef>();

  add(table: PreparedTable | null, name: ByteString | null | undefined): void {
    if (!table || typeof name !== 'string' || !table.watched.has(name)) return;
    const known = this.columns.get(table);
    if (known) known.add(name);
    else this.columns.set(table, new Set([name]));
  }

  of(table: PreparedTable): readonly ByteString[] {
    return [...(this.columns.get(table) ?? [])];
  }

  /** A reference within a statement, `fields` being its names. */
  reference(ref: ColumnRef, fields: readonly (ByteString | null)[], scope: Scope): void {
    const last = fields.at(-1);
    if (typeof last !== 'string' || this.labels.has(ref)) return;
    if (fields.length === 1) {
      for (let at: Scope | null = scope; at; at = at.parent) {
        for (const { table } of at.items) this.add(table, last);
      }
      return;
    }
    const qualifier = fields.at(-2) ?? '';
    const item = findItem(scope, qualifier);
    if (item) this.add(item.table, last);
  }

  /** In ORDER BY a bare name is the label of a column of the result before it is a column. */
  sorts({ targetList, sortClause }: SelectStmt): void {
    if (!sortClause) return;
    const labels = new Set(
      (targetList ?? []).map((node) => ('ResTarget' in node ? node.ResTarget.name : undefined)),
    );
    for (const node of sortClause) {
      const key = 'SortBy' in node ? node.SortBy.node : undefined;
      if (!key || !('ColumnRef' in key)) continue;
      const [name, ...more] = strings(key.ColumnRef.fields);
      if (more.length === 0 && labels.has(name ?? undefined)) this.labels.add(key.ColumnRef);
    }
  }

  joins({ usingClause }: JoinExpr, scope: Scope | null): void {
    for (const name of strings(usingClause)) {
      for (const { table } of scope?.items ?? []) this.add(table, name);
    }
  }

  /** What a star, or INSERT without a column list, stands for in a view that will go away. */
  all(table: PreparedTable): void {
    if (table.isAside) for (const name of table.visible) this.add(table, name);
  }
}

/** What one statement of a text has to do with the tables under migration. */
export interface Statement {
  kind: string;
  value: unknown;
  findings: Findings;
}
