import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { Connection } from '../../db/connect.js';
import { layoutVersion } from '../../db/schema.js';
import { parseDefinition } from '../../migration/definition.js';
import { UserError } from '../../migration/errors.js';
import { makePlan } from '../../migration/planner.js';
import { makeRuleSet } from '../../migration/publish.js';
import { type Explanation, explainStatement } from '../../sql/explain.js';
import { SyntaxFailure } from '../../sql/parser.js';
import { loadParser } from '../../sql/rewriter.js';
import type { RuleSet } from '../../sql/rules.js';
import { withDatabase } from '../database.js';
import { databaseOption, jsonOption } from '../options.js';

interface ExplainOptions {
  database: string;
  migration?: string;
  stage: 'before' | 'after';
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
    .addOption(jsonOption())
    .action(async (sql: string, options: ExplainOptions) => {
      await loadParser();
      const rules = await withDatabase(options.database, (c) => rulesFor(c, options));
      const explanations = explain(rules, sql);
      process.stdout.write(
        options.json ? `${JSON.stringify(explanations)}\n` : explanations.map(describe).join('\n'),
      );
    });
}

function explain(rules: RuleSet, sql: string): Explanation[] {
  try {
    return explainStatement(rules, sql);
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

function describe(explanation: Explanation): string {
  const { kind, outcome, reason, refusal, sent, tables, text } = explanation;
  const lines = [`${kind}: ${outcome}${reason === null ? '' : ` (${reason})`}`];
  lines.push(`  statement  ${text}`);
  lines.push(`  touches    ${tables.join(', ') || 'no table under migration'}`);
  if (sent !== null && outcome !== 'unchanged') lines.push(`  sent       ${sent}`);
  if (refusal) lines.push(`  error      ${refusal.message}`, `  hint       ${refusal.hint}`);
  return `${lines.join('\n')}\n`;
}
