import type {
  A_Indirection,
  ColumnRef,
  CommonTableExpr,
  CopyStmt,
  DeleteStmt,
  FuncCall,
  InsertStmt,
  JoinExpr,
  MergeStmt,
  MultiAssignRef,
  Node,
  RangeVar,
  ReturningClause,
  RowExpr,
  SelectStmt,
  SubLink,
  TypeName,
  UpdateStmt,
  WithClause,
} from 'libpg-query';
import type { Queries } from './columns.js';
import { Findings } from './findings.js';
import type { Names } from './names.js';
import type { PreparedTable } from './prepared.js';
import { isKnownCall } from './safety.js';
import {
  childOf,
  findItem,
  fromItems,
  isCte,
  isMisnamed,
  isVisible,
  itemOf,
  queriesIn,
  type Scope,
  versionOf,
} from './scope.js';
import { type ByteString, strings } from './tree.js';
import {
  isRowOf,
  namingCast,
  rowPart,
  rowSent,
  starInRow,
  type WholeRow,
  wholeRows,
} from './whole-row.js';

const SYSTEM_COLUMNS = new Set(['ctid', 'xmin', 'xmax', 'cmin', 'cmax', 'tableoid']);

const WRITING = new Set(['InsertStmt', 'UpdateStmt', 'MergeStmt', 'CopyStmt']);

/** Walks the tree of a statement with its scopes. Its depth was bounded by the parser. */
export class Walk {
  readonly findings = new Findings();
  private source: Node | undefined;
  /** Targets that are called after what a cast holds. */
  private readonly named = new Map<object, Node>();

  /** References to whole rows that will be spelled out. */
  private readonly taken = new WeakSet<ColumnRef>();

  /**
   * @param sent the query or write whose rows the client is sent.
   * @param steady whether no statement before it in the text can have altered a table.
   */
  constructor(
    private readonly names: Names,
    private readonly sent: unknown,
    private readonly steady: boolean,
  ) {}

  visit(value: unknown, scope: Scope | null): void {
    if (typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) {
      for (const item of value) this.visit(item, scope);
      return;
    }
    if ('relname' in value) {
      this.reference(value as RangeVar, scope);
      return;
    }
    if ('names' in value && 'typemod' in value) this.typeName(value as TypeName);
    for (const [key, child] of Object.entries(value)) this.visitKey(key, child, scope);
  }

  private visitKey(key: string, child: unknown, scope: Scope | null): void {
    if (WRITING.has(key)) this.findings.writesAny = true;
    if (key === 'SelectStmt') this.select(child as SelectStmt, scope, false);
    else if (key === 'InsertStmt') this.insert(child as InsertStmt, scope);
    else if (key === 'UpdateStmt') this.update(child as UpdateStmt, scope);
    else if (key === 'DeleteStmt') this.delete(child as DeleteStmt, scope);
    else if (key === 'MergeStmt') this.merge(child as MergeStmt, scope);
    else if (key === 'CopyStmt') this.copy(child as CopyStmt, scope);
    else if (key === 'ColumnRef') this.column(child as ColumnRef, scope);
    else if (key === 'A_Indirection') this.part(child as A_Indirection, scope);
    else if (key === 'RowExpr') this.rowOf(child as RowExpr, scope);
    else if (key === 'SubLink') this.subLink(child as SubLink, scope);
    else if (key === 'MultiAssignRef') this.multiAssign(child as MultiAssignRef, scope);
    else if (key === 'JoinExpr') this.joined(child as JoinExpr, scope);
    // What comes after INTO is a new table's name, not a reference.
    else if (key !== 'intoClause' && key !== 'into') {
      if (key === 'FuncCall') this.call(child as FuncCall);
      this.visitPlain(key, child, scope);
    }
  }

  /** Whole rows that can be spelled out are taken aside; all else is visited. */
  private visitPlain(key: string, child: unknown, scope: Scope | null): void {
    const rows = wholeRows(key, child, scope);
    for (const row of rows) row.target = this.named.get(row.holder) ?? null;
    this.rows(rows, scope);
    this.visit(child, scope);
  }

  private rows(rows: readonly WholeRow[], scope: Scope | null): void {
    for (const row of rows) {
      row.item.needed = true;
      const { ColumnRef: ref } = row.holder[row.key] as { ColumnRef: ColumnRef };
      if (scope) this.findings.named.reference(ref, strings(ref.fields), scope);
      this.taken.add(ref);
    }
    this.findings.rows.push(...rows);
  }

  /** One source of several columns, which the tree holds once for each of them. */
  private multiAssign(ref: MultiAssignRef, scope: Scope | null): void {
    if ((ref.colno ?? 1) > 1 && this.source) ref.source = this.source;
    else {
      this.visit(ref.source, scope);
      this.source = ref.source;
    }
  }

  /** The table under migration that a reference means; it is recorded. */
  reference(relation: RangeVar | undefined, scope: Scope | null): PreparedTable | null {
    if (!relation?.relname) return null;
    if (!relation.schemaname && isCte(scope, relation.relname)) return null;
    const table = this.names.findVar(relation);
    if (!relation.schemaname && this.names.named(relation.relname).length > 0) {
      this.findings.byPath = true;
    }
    if (table) this.findings.touched.add(table);
    return table;
  }

  private typeName(type: TypeName): void {
    const names = strings(type.names);
    // `orders.id%TYPE` names a table and a column.
    if (type.pct_type) names.pop();
    const name = names.at(-1);
    if (typeof name !== 'string') return;
    const schema = names.length > 1 ? (names.at(-2) ?? undefined) : undefined;
    const table = this.names.find(schema, name);
    if (!table) return;
    this.findings.touched.add(table);
    if (table.hides && !type.pct_type) this.findings.leaks.add('row-type');
  }

  private call({ funcname }: FuncCall): void {
    const name = strings(funcname).at(-1) ?? '';
    if (name === 'set_config') this.findings.setsConfig = true;
    if (!isKnownCall(name)) this.findings.callsUnknown = true;
  }

  private withClause(clause: WithClause | undefined, scope: Scope): void {
    const ctes = (clause?.ctes ?? []).flatMap((node): CommonTableExpr[] =>
      'CommonTableExpr' in node ? [node.CommonTableExpr] : [],
    );
    if (clause?.recursive) for (const cte of ctes) scope.ctes.set(cte.ctename ?? '', cte);
    for (const cte of ctes) {
      this.visit(cte.ctequery, scope);
      scope.ctes.set(cte.ctename ?? '', cte);
    }
  }

  /** @param discarded the target list is not looked at (EXISTS). */
  select(stmt: SelectStmt, outer: Scope | null, discarded: boolean): void {
    const scope = childOf(outer);
    const { withClause, larg, rarg, fromClause, targetList, intoClause, ...rest } = stmt;
    this.withClause(withClause, scope);
    if (larg && rarg) {
      this.select(larg, scope, discarded);
      this.select(rarg, scope, discarded);
    }
    scope.plain = !stmt.groupClause && !stmt.lockingClause;
    this.from(fromClause, scope);
    this.findings.named.sorts(stmt);
    if (stmt.groupClause) {
      scope.groups = stmt.groupClause.some((node) => isRowOf(node, scope)) ? 'row' : 'columns';
    }
    const sent = stmt === this.sent && !intoClause;
    if (!discarded) this.targets(targetList, scope, sent, fromClause?.[0]);
    this.visit(rest, scope);
  }

  private from(nodes: Node[] | undefined, scope: Scope): void {
    const { names, steady } = this;
    fromItems(nodes, scope, {
      findVar: (relation) => names.findVar(relation),
      lacks: (schema, name, column) => steady && names.lacks(schema, name, column),
    });
    if (scope.items.some(isMisnamed)) this.findings.misnamed.push(scope);
    this.visit(nodes, scope);
  }

  private joined(join: JoinExpr, scope: Scope | null): void {
    const { alias, ...rest } = join;
    this.findings.named.joins(join, scope);
    if (join.isNatural && scope) this.findings.naturals.push(scope);
    for (const name of strings(join.usingClause)) this.unqualified(name ?? '', scope);
    this.visit(rest, scope);
  }

  private subLink(link: SubLink, scope: Scope | null): void {
    const { subselect, ...rest } = link;
    this.visit(rest, scope);
    if (subselect && 'SelectStmt' in subselect && link.subLinkType === 'EXISTS_SUBLINK') {
      this.select(subselect.SelectStmt, scope, true);
    } else this.visit(subselect, scope);
  }

  private targets(targets: Node[] | undefined, scope: Scope, sent: boolean, from?: Node): void {
    for (const target of targets ?? []) {
      const value = 'ResTarget' in target ? target.ResTarget.val : undefined;
      if (targets && value && 'ColumnRef' in value && isStar(value.ColumnRef)) {
        const at = from && 'RangeVar' in from ? (from.RangeVar.location ?? 0) : -1;
        const star = { targets, target, ref: value.ColumnRef, scope, from: at };
        this.findings.stars.push({ ...star, whole: null, inRow: false });
      } else if (!this.wholeStar(targets ?? [], target, scope)) {
        const row = sent ? rowSent(target, scope) : null;
        if (row) this.rows([row], scope);
        const cast = namingCast(target);
        if (cast) this.named.set(cast, target);
        this.visit(target, scope);
      }
    }
  }

  /** `(o).*` among the targets, which is `o.*`. */
  private wholeStar(targets: Node[], target: Node, scope: Scope): boolean {
    const value = 'ResTarget' in target ? target.ResTarget.val : undefined;
    const row = value && 'A_Indirection' in value ? rowPart(value.A_Indirection, scope) : null;
    if (!row || row.part !== null) return false;
    const star = { targets, target, ref: row.ref, scope, from: -1 };
    this.findings.stars.push({ ...star, whole: row.item, inRow: false });
    return true;
  }

  /** `o.*` in a row stands for its columns, as it does among targets. */
  private rowOf(row: RowExpr, scope: Scope | null): void {
    const targets = row.args ?? [];
    for (const target of targets) {
      const item = starInRow(target, scope);
      if (scope && item && 'ColumnRef' in target) {
        const star = { targets, target, ref: target.ColumnRef, scope, from: -1 };
        this.findings.stars.push({ ...star, whole: null, inRow: true });
        item.needed = true;
      } else this.visit(target, scope);
    }
  }

  /** A column of a whole row is no more than that column. */
  private part(node: A_Indirection, scope: Scope | null): void {
    const row = rowPart(node, scope);
    if (row && row.part !== null) {
      this.findings.named.add(row.item.table, row.part);
      row.item.needed = true;
      this.taken.add(row.ref);
    }
    this.visit(node, scope);
  }

  /** A reference to a column, or to a whole row of a table that hides columns. */
  private column(ref: ColumnRef, scope: Scope | null): void {
    if (!scope || this.taken.has(ref)) return;
    const fields = strings(ref.fields);
    this.findings.named.reference(ref, fields, scope);
    const last = fields.at(-1);
    if (fields.length === 1) this.unqualified(last ?? '', scope);
    const qualifier = fields.length > 1 ? fields.at(-2) : last;
    if (typeof qualifier !== 'string') return;
    const item = findItem(scope, qualifier);
    if (!item) return;
    if (item.opaque && (last === null || fields.length === 1)) this.findings.leaks.add('whole-row');
    if (!item.table?.hides) return;
    const known =
      typeof last === 'string' &&
      (item.table.columns.has(last) || item.columns.includes(last) || SYSTEM_COLUMNS.has(last));
    if (!known) this.findings.leaks.add('whole-row');
    if (!known || fields.length > 2 || !isVisible(item, last)) item.needed = true;
  }

  /** A name alone may be that of a column which only the table itself has. */
  private unqualified(name: ByteString, scope: Scope | null): void {
    for (let at = scope; at; at = at.parent) {
      for (const item of at.items) {
        const hidden = item.table?.columns.has(name) && !isVisible(item, name);
        if (hidden || SYSTEM_COLUMNS.has(name)) item.needed = true;
      }
    }
  }

  private queries(scope: Scope): Queries {
    const { names, steady } = this;
    return {
      ctes: queriesIn(scope),
      widthOf: (schema, name) => names.widthOf(schema, name, steady),
    };
  }

  private insert(stmt: InsertStmt, outer: Scope | null): void {
    const scope = childOf(outer);
    this.withClause(stmt.withClause, scope);
    this.visit(stmt.selectStmt, scope);
    const table = this.reference(stmt.relation, null);
    if (table) {
      const queries = this.queries(scope);
      this.findings.writes.push({ kind: 'insert', stmt, table, queries });
    }
    if (stmt.relation) scope.items.push(itemOf(stmt.relation, table));
    const conflict = childOf(scope);
    const excluded = itemOf({ relname: 'excluded' }, null);
    conflict.items.push({ ...excluded, table });
    this.visit(stmt.onConflictClause, conflict);
    this.returning(stmt.returningClause, scope, table, stmt === this.sent);
  }

  private update(stmt: UpdateStmt, outer: Scope | null): void {
    const scope = childOf(outer);
    this.withClause(stmt.withClause, scope);
    const table = this.reference(stmt.relation, null);
    if (table) {
      const queries = this.queries(scope);
      this.findings.writes.push({ kind: 'update', stmt, table, queries });
    }
    if (stmt.relation) scope.items.push(itemOf(stmt.relation, table));
    this.from(stmt.fromClause, scope);
    this.visit(stmt.targetList, scope);
    this.visit(stmt.whereClause, scope);
    this.returning(stmt.returningClause, scope, table, stmt === this.sent);
  }

  private delete(stmt: DeleteStmt, outer: Scope | null): void {
    const scope = childOf(outer);
    this.withClause(stmt.withClause, scope);
    const table = this.reference(stmt.relation, null);
    if (table) this.findings.writes.push({ kind: 'delete', stmt, table });
    if (stmt.relation) scope.items.push(itemOf(stmt.relation, table));
    this.from(stmt.usingClause, scope);
    this.visit(stmt.whereClause, scope);
    this.returning(stmt.returningClause, scope, table, stmt === this.sent);
  }

  private merge(stmt: MergeStmt, outer: Scope | null): void {
    const scope = childOf(outer);
    this.withClause(stmt.withClause, scope);
    const table = this.reference(stmt.relation, null);
    if (table) this.findings.writes.push({ kind: 'merge', stmt, table });
    // A bare star is the source's columns, then the table's; either may be missing.
    scope.outer = true;
    this.from(stmt.sourceRelation ? [stmt.sourceRelation] : [], scope);
    if (stmt.relation) scope.items.push(itemOf(stmt.relation, table));
    this.visit(stmt.joinCondition, scope);
    this.visit(stmt.mergeWhenClauses, scope);
    this.returning(stmt.returningClause, scope, table, stmt === this.sent);
  }

  private copy(stmt: CopyStmt, scope: Scope | null): void {
    const { relation, ...rest } = stmt;
    const table = this.reference(relation, null);
    if (table) this.findings.copy = { table, stmt };
    this.visit(rest, scope);
  }

  private returning(
    clause: ReturningClause | undefined,
    scope: Scope,
    table: PreparedTable | null,
    sent: boolean,
  ): void {
    if (table) {
      const names = { old: 'old', new: 'new' };
      for (const node of clause?.options ?? []) {
        const { option, value } = 'ReturningOption' in node ? node.ReturningOption : {};
        if (value) names[option === 'RETURNING_OPTION_OLD' ? 'old' : 'new'] = value;
      }
      scope.versions = [names.old, names.new].map((name) => versionOf(name, table));
    }
    this.targets(clause?.exprs, scope, sent);
  }
}

export function isStar(ref: ColumnRef): boolean {
  const last = ref.fields?.at(-1);
  return last !== undefined && 'A_Star' in last;
}
