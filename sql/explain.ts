import type { Outcome, Resolution, Rewrite, StatementRewriter } from './outcome.js';
import { parse } from './parser.js';
import { relationsOf } from './relations.js';
import { remedyOf } from './remedy.js';
import { makeRewriter } from './rewriter.js';
import type { RuleSet, View } from './rules.js';
import { kindOf } from './statement.js';
import { fromBytes, toBytes } from './tree.js';

/** What the rewriter makes of one statement, for people. */
export interface Explanation {
  /** What the statement is, in SQL's words: `insert`, `create table as`. */
  kind: string;
  /** The client's own text. */
  text: string;
  outcome: Outcome;
  reason: string | null;
  /** What can be done so that it is rewritten; null where nothing need be. */
  remedy: string | null;
  /** What the server would be sent; null when it is refused. */
  sent: string | null;
  refusal: Rewrite['refusal'];
  /** Tables under migration that it touches: `schema.name`. */
  tables: string[];
  /** Columns that it names and whose name goes away when the migration is complete, or aborted. */
  named: string[];
  /** What a proxy would ask the server first, of which there was no answer (`readAsked`). */
  wants: readonly string[];
}

/**
 * Explains each statement of a text. Unqualified names are taken to mean the tables of the rules.
 *
 * @param view of the session, where it has said so.
 * @param answers to what it `wants`, each by its `widthKey`.
 * @throws SyntaxFailure when the text does not parse.
 */
export function explainStatement(
  rules: RuleSet,
  text: string,
  view: View | null = null,
  answers: Resolution = new Map(),
): Explanation[] {
  const rewriter = makeRewriter(rules);
  const bytes = toBytes(text);
  const stmts = parse(bytes);
  return stmts.map((stmt) => {
    const start = stmt.stmt_location ?? 0;
    const end = stmt.stmt_len ? start + stmt.stmt_len : bytes.length;
    const own = fromBytes(bytes.slice(start, end)).trim();
    return explainOne(rewriter, kindName(kindOf(stmt).kind), own, view, answers);
  });
}

function explainOne(
  rewriter: StatementRewriter,
  kind: string,
  text: string,
  view: View | null,
  answers: Resolution,
): Explanation {
  const { rules, names } = rewriter;
  const relations = relationsOf(rules);
  const meant = names.map((name): [string, number] => {
    return [name, relations.find(({ rule }) => rule.name === name)?.oid ?? 0];
  });
  const resolution = new Map([...meant, ...answers]);
  const rewrite = rewriter.rewrite(Buffer.from(text, 'utf8'), resolution, true, view);
  const { outcome, reason, refusal, shape } = rewrite;
  return {
    kind,
    text,
    outcome,
    reason,
    remedy: refusal?.hint ?? (outcome === 'guarded' ? remedyOf(reason) : null),
    sent: refusal ? null : rewrite.text.toString('utf8'),
    refusal,
    tables: rewrite.touches.map((oid) => {
      const table = rules.tables.find((candidate) => candidate.oid === oid);
      return table ? `${table.schema}.${table.name}` : String(oid);
    }),
    named: [...new Set(shape?.tables.flatMap((table) => table.named))],
    wants: rewrite.wants?.relations ?? [],
  };
}

/** `CreateTableAsStmt` is `create table as`. */
function kindName(node: string): string {
  return node
    .replace(/Stmt$/, '')
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toLowerCase();
}
