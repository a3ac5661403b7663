import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { Connection } from '../../db/connect.js';
import { layoutVersion } from '../../db/schema.js';
import { parseDefinition } from '../../migration/definition.js';
import { UserError } from '../../migration/errors.js';
import { makePlan } from '../../migration/planner.js';
import { makeRuleSet } from '../../migration/publish.js';
import { listMigrations } from '../../migration/store.js';
import { Resolver, widthsText } from '../../proxy/resolve.js';
import { type Explanation, explainStatement } from '../../sql/explain.js';
import type { Resolution } from '../../sql/outcome.js';
import { SyntaxFailure } from '../../sql/parser.js';
import { loadParser } from '../../sql/rewriter.js';
import type { RuleSet, View } from '../../sql/rules.js';
import { withDatabase } from '../database.js';
import { databaseOption, jsonOption } from '../options.js';

interface ExplainOptions {
  database: string;
  migration?: string;
  stage: 'before' | 'after';
  view?: View;
  json?: boolean;
}

export function explainCommand(): Command {
  return new Command('explain')
    .description('Say what the proxy would make of a statement: what it sends, and why.')
    .argument('<sql>', 'the statement (or several)')
    .addOption(databaseOption())
    .option(
      '--migration <file>',
      'under this migration, not yet started, in place of those in force',
    )
    .addOption(
      new Option('--stage <stage>', 'with --migration: before or after its cutover')
        .choices(['before', 'after'])
        .default('before'),
    )
    .addOption(
      new Option('--view <view>', 'for a session that has set pgtandem.view so').choices([
        'old',
        'new',
      ]),
    )
    .addOption(jsonOption())
    .action(async (sql: string, options: ExplainOptions) => {
      await loadParser();
      const view = options.view ?? null;
      const { rules, phases, answers } = await withDatabase(options.database, async (c) => {
        const found = await rulesFor(c, options);
        const first = explain(found, sql, view);
        const wants = [...new Set(first.flatMap((explanation) => explanation.wants))];
        return {
          rules: found,
          phases: await phasesFor(c, options),
          answers: await answersTo(c, wants),
        };
      });
      const explanations = explain(rules, sql, view, answers).map(
        ({ wants, ...explanation }, i) => ({
          ...explanation,
          view: viewOf(rules, explanation, view),
          migrations: explanation.tables.flatMap((table) => phases.get(table) ?? []),
          otherwise: otherwise(rules, explanation, view, i, sql, answers),
        }),
      );
      process.stdout.write(
        options.json ? `${JSON.stringify(explanations)}\n` : explanations.map(describe).join('\n'),
      );
    });
}

/** What is told of a statement: by now all that it wants has been asked. */
type Told = Omit<Explanation, 'wants'>;

interface Explained extends Told {
  /** Whose session it is: old or new; null where it makes no difference. */
  view: View | null;
  /** Migrations of the tables, and the phases in which they are. */
  migrations: { name: string; phase: string }[];
  /** What is sent for a session of the other view, where it is something else. */
  otherwise: { view: View; sent: string | null } | null;
}

/** The view in which a statement was explained; without a word of the session that of the rules. */
function viewOf(rules: RuleSet, { tables }: Told, view: View | null): View | null {
  const rule = rules.tables.find(
    ({ schema, name, views }) => views && tables.includes(`${schema}.${name}`),
  );
  if (!rule?.views) return null;
  return view ?? (rule.views.old.join('\0') === rule.visible.join('\0') ? 'old' : 'new');
}

function otherwise(
  rules: RuleSet,
  explanation: Told,
  view: View | null,
  index: number,
  sql: string,
  answers: Resolution,
): Explained['otherwise'] {
  const own = viewOf(rules, explanation, view);
  if (own === null) return null;
  const other = own === 'old' ? 'new' : 'old';
  const { sent } = explain(rules, sql, other, answers)[index]!;
  return sent === explanation.sent ? null : { view: other, sent };
}

/** By table, `schema.name`: the migrations that have a say in it. */
async function phasesFor(
  connection: Connection,
  options: ExplainOptions,
): Promise<Map<string, Explained['migrations']>> {
  const phases = new Map<string, Explained['migrations']>();
  if (options.migration !== undefined) return phases;
  if ((await layoutVersion(connection)) === 0) return phases;
  for (const { name, phase, stage, plan } of await listMigrations(connection)) {
    if (stage.name === 'none') continue;
    const table = `${plan.table.schema}.${plan.table.name}`;
    phases.set(table, [...(phases.get(table) ?? []), { name, phase: phase.name }]);
  }
  return phases;
}

/** What a proxy would ask the server first: how many columns relations have. */
async function answersTo(connection: Connection, wants: readonly string[]): Promise<Resolution> {
  if (wants.length === 0) return new Map();
  const { rows } = await connection.query(`SELECT ${widthsText(wants)} AS widths`);
  const resolver = new Resolver();
  resolver.learn([], [null, null, null, rows[0].widths], wants);
  return resolver.takeWidths(wants) ?? new Map();
}

function explain(
  rules: RuleSet,
  sql: string,
  view: View | null,
  answers: Resolution = new Map(),
): Explanation[] {
  try {
    return explainStatement(rules, sql, view, answers);
  } catch (error) {
    if (!(error instanceof SyntaxFailure)) throw error;
    throw new UserError(
      `The statement does not parse: ${error.message}`,
      'It is relayed as it is: the server says the same.',
    );
  }
}

async function rulesFor(connection: Connection, options: ExplainOptions): Promise<RuleSet> {
  if (options.migration !== undefined) {
    const definition = parseDefinition(readFileSync(options.migration, 'utf8'), options.migration);
    const plan = await makePlan(connection, definition, 'repair');
    const stage = { name: options.stage, held: false, version: 1 };
    return makeRuleSet(1, [{ name: 'explained', plan, stage }]);
  }
  if ((await layoutVersion(connection)) === 0) return makeRuleSet(0, []);
  const { rows } = await connection.query('SELECT rule_set FROM pgtandem.rules');
  return rows[0].rule_set;
}

function describe(explanation: Explained): string {
  const { kind, outcome, reason, refusal, sent, tables, text, remedy } = explanation;
  const lines = [`${kind}: ${outcome}${reason === null ? '' : ` (${reason})`}`];
  lines.push(`  statement  ${text}`);
  lines.push(`  touches    ${tables.join(', ') || 'no table under migration'}`);
  for (const { name, phase } of explanation.migrations) {
    lines.push(`  migration  ${name}, ${phase}`);
  }
  if (explanation.view) lines.push(`  view       ${explanation.view}`);
  if (sent !== null && outcome !== 'unchanged') lines.push(`  sent       ${sent}`);
  if (explanation.otherwise) {
    const { view, sent: other } = explanation.otherwise;
    lines.push(`  in view ${view}: ${other ?? 'refused'}`);
  }
  if (explanation.named.length > 0) {
    lines.push(`  names      ${explanation.named.join(', ')}, which goes away in the end`);
  }
  if (refusal) lines.push(`  error      ${refusal.message}`, `  hint       ${refusal.hint}`);
  else if (remedy) lines.push(`  remedy     ${remedy}`);
  return `${lines.join('\n')}\n`;
}
