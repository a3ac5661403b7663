import Table from 'cli-table3';
import type { Expected, Forecast } from '../migration/forecast.js';
import { type Plan, tableName } from '../migration/plan.js';
import type { Seen } from '../migration/seen.js';
import { arriving, leaving } from '../migration/stage.js';
import type { Migration } from '../migration/store.js';
import { describeWho, type Use, usesOf } from '../migration/unused.js';

/** So many uses of a name are told of. */
const USES_MAX = 10;
/** So long a statement is in a table, characters. */
const STATEMENT_CHARS = 100;

const short = (statement: string) =>
  statement.length > STATEMENT_CHARS
    ? `${statement.slice(0, STATEMENT_CHARS)}...`
    : statement || '(not known)';

const time = (at: Date) => at.toISOString().slice(0, 19).replace('T', ' ');

function tableOf(head: string[], rows: string[][]): string {
  const table = new Table({ head, style: { head: [], border: [] } });
  table.push(...rows);
  return `${table.toString()}\n`;
}

/** Who names the columns that go away; empty when the migration takes no name away. */
export function describeUses(
  { plan, createdAt }: Pick<Migration, 'plan' | 'createdAt'>,
  seen: readonly Seen[],
): string {
  const parts: string[] = [];
  for (const [columns, when] of [
    [leaving(plan), 'goes away when it is complete'],
    [arriving(plan), 'goes away when it is aborted'],
  ] as const) {
    const column = columns.join(', ');
    if (columns.length > 0) parts.push(describeUse(column, when, usesOf(seen, columns, createdAt)));
  }
  return parts.join('\n');
}

function describeUse(column: string, when: string, uses: readonly Use[]): string {
  const head = `  ${column} ${when}; `;
  if (uses.length === 0) return `${head}no statement was seen that names it\n`;
  const rows = uses
    .slice(0, USES_MAX)
    .map((use) => [
      time(use.lastSeen),
      describeWho(use),
      String(use.count),
      use.column === null ? `(may name it) ${short(use.statement)}` : short(use.statement),
    ]);
  const more = uses.length > USES_MAX ? `  and ${uses.length - USES_MAX} more\n` : '';
  return `${head}who names it:\n${tableOf(['last', 'who', 'times', 'statement'], rows)}${more}`;
}

/** Every statement that was seen. */
export function describeSeen(seen: readonly Seen[]): string {
  if (seen.length === 0) return 'No statement was seen on the table.\n';
  return tableOf(
    ['last', 'who', 'times', 'outcome', 'statement'],
    seen.map((each) => [
      time(each.lastSeen),
      describeWho(each),
      String(each.count),
      each.outcome + (each.reason === null ? '' : ` (${each.reason})`),
      short(each.statement),
    ]),
  );
}

const outcomeOf = ({ outcome, reason }: Expected) =>
  outcome + (reason === null ? '' : ` (${reason})`);

/** What the rewriter would make of the statements that were seen. */
export function describeForecast(forecast: Forecast | null, plan: Plan): string {
  const name = tableName(plan);
  if (forecast === null) {
    return `\nStatements: not known. Let the proxies record them: pgtandem observe '${name}'\n`;
  }
  const since = forecast.since ? `, observed since ${time(forecast.since)} UTC` : '';
  const head = `\nStatements seen on ${name}${since}: ${forecast.statements.length}\n`;
  if (forecast.statements.length === 0) return head;
  const table = tableOf(
    ['times', 'before cutover', 'after', 'statement', 'from'],
    forecast.statements.map((each) => [
      String(each.count),
      outcomeOf(each.before),
      outcomeOf(each.after),
      short(each.statement),
      each.applications.map((application) => application || '(none)').join(', '),
    ]),
  );
  const remedies = new Map(
    forecast.statements
      .flatMap(({ before, after }) => [before, after])
      .flatMap(({ reason, remedy }) => (reason && remedy ? [[reason, remedy] as const] : [])),
  );
  const advice = [...remedies].map(([reason, remedy]) => `  ${reason}: ${remedy}\n`);
  return head + table + advice.join('');
}
