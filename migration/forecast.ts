import type { Connection } from '../db/connect.js';
import { layoutVersion } from '../db/schema.js';
import { explainStatement } from '../sql/explain.js';
import { SyntaxFailure } from '../sql/parser.js';
import type { RuleSet } from '../sql/rules.js';
import { readObserved } from './observed.js';
import type { Plan } from './plan.js';
import { makeRuleSet } from './publish.js';
import { readSeen, type Seen } from './seen.js';
import type { Stage } from './stage.js';

/** What a stage of a migration would make of a statement. */
export interface Expected {
  /** `unknown`: the statement is not known whole. */
  outcome: 'unchanged' | 'rewritten' | 'guarded' | 'refused' | 'unknown';
  reason: string | null;
  /** What would be done about it; null where nothing need be. */
  remedy: string | null;
}

/** A statement that was seen, and what would become of it before and after the cutover. */
export interface Forecasted {
  statement: string;
  count: number;
  lastSeen: Date;
  /** Who sends it. */
  applications: string[];
  before: Expected;
  after: Expected;
  /** Columns of the migration that it names and that go away, or come. */
  named: string[];
}

export interface Forecast {
  /** Since when the table is observed; null: it is not any more. */
  since: Date | null;
  statements: Forecasted[];
}

/** What was seen on a plan's table, and what would become of it; null: it was never observed. */
export async function readForecast(connection: Connection, plan: Plan): Promise<Forecast | null> {
  if ((await layoutVersion(connection)) === 0) return null;
  const observed = (await readObserved(connection)).find(({ oid }) => oid === plan.table.oid);
  const seen = await readSeen(connection, plan.table.oid);
  if (!observed && seen.length === 0) return null;
  return { since: observed?.since ?? null, statements: forecast(plan, seen) };
}

/** Pure. The parser must have been loaded. */
export function forecast(plan: Plan, seen: readonly Seen[]): Forecasted[] {
  const rulesAt = (name: Stage['name']) =>
    makeRuleSet(1, [{ name: 'planned', plan, stage: { name, held: false, version: 1 } }]);
  const before = rulesAt('before');
  const after = rulesAt('after');
  const byStatement = new Map<string, Forecasted>();
  for (const { statement, isWhole, count, lastSeen, application } of seen) {
    const known = byStatement.get(statement);
    if (known) {
      known.count += count;
      if (lastSeen > known.lastSeen) known.lastSeen = lastSeen;
      if (!known.applications.includes(application)) known.applications.push(application);
      continue;
    }
    const first = expect(before, statement, isWhole);
    byStatement.set(statement, {
      statement,
      count,
      lastSeen,
      applications: [application],
      before: first.expected,
      after: expect(after, statement, isWhole).expected,
      named: first.named,
    });
  }
  return [...byStatement.values()].sort((a, b) => b.count - a.count);
}

/** Of several statements in one text the worst counts. */
const WORSE = ['refused', 'guarded', 'rewritten', 'unchanged'];

const UNKNOWN: Expected = { outcome: 'unknown', reason: null, remedy: null };

function expect(
  rules: RuleSet,
  statement: string,
  isWhole: boolean,
): { expected: Expected; named: string[] } {
  if (!isWhole) return { expected: UNKNOWN, named: [] };
  try {
    const all = explainStatement(rules, statement);
    const [worst] = [...all].sort((a, b) => WORSE.indexOf(a.outcome) - WORSE.indexOf(b.outcome));
    if (!worst) return { expected: UNKNOWN, named: [] };
    const { outcome, reason, remedy } = worst;
    return { expected: { outcome, reason, remedy }, named: all.flatMap(({ named }) => named) };
  } catch (error) {
    if (!(error instanceof SyntaxFailure)) throw error;
    return { expected: UNKNOWN, named: [] };
  }
}
