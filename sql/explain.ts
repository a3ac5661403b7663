import type { Outcome, Rewrite, StatementRewriter } from './outcome.js';
import { parse } from './parser.js';
import { makeRewriter } from './rewriter.js';
import type { RuleSet } from './rules.js';
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
  /** What the server would be sent; null when it is refused. */
  sent: string | null;
  refusal: Rewrite['refusal'];
  /** Tables under migration that it touches: `schema.name`. */
  tables: string[];
}

/**
 * Explains each statement of a text. Unqualified names are taken to mean the tables of the rules.
 *
 * @throws SyntaxFailure when the text does not parse.
 */
export function explainStatement(rules: RuleSet, text: string): Explanation[] {
  const rewriter = makeRewriter(rules);
  const bytes = toBytes(text);
  const stmts = parse(bytes);
  return stmts.map((stmt) => {
    const start = stmt.stmt_location ?? 0;
    const end = stmt.stmt_len ? start + stmt.stmt_len : bytes.length;
    const own = fromBytes(bytes.slice(start, end)).trim();
    return explainOne(rewriter, kindName(kindOf(stmt).kind), own);
  });
}

function explainOne(rewriter: StatementRewriter, kind: string, text: string): Explanation {
  const { rules, names } = rewriter;
  const resolution = new Map(
    names.map((name) => [name, rules.tables.find((table) => table.name === name)?.oid ?? 0]),
  );
  const rewrite = rewriter.rewrite(Buffer.from(text, 'utf8'), resolution, true);
  return {
    kind,
    text,
    outcome: rewrite.outcome,
    reason: rewrite.reason,
    sent: rewrite.refusal ? null : rewrite.text.toString('utf8'),
    refusal: rewrite.refusal,
    tables: rewrite.touches.map((oid) => {
      const table = rules.tables.find((candidate) => candidate.oid === oid);
      return table ? `${table.schema}.${table.name}` : String(oid);
    }),
  };
}

/** `CreateTableAsStmt` is `create table as`. */
function kindName(node: string): string {
  return node
    .replace(/Stmt$/, '')
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toLowerCase();
}
