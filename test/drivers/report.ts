import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** What has become of one driver. */
export interface Outcome {
  name: string;
  version: string;
  /** What it has used of itself, by its own account. */
  features: string[];
  /** How many phases it was taken through. */
  phases: number;
  errors: string[];
  /** Why it was not run. */
  missing?: string;
}

const DOCS = resolve(import.meta.dirname, '..', '..', '..', 'docs', 'drivers.md');
const BEGIN = '<!-- written by npm run test:drivers -- --write-docs -->';
const END = '<!-- end -->';

export function resultOf({ missing, errors }: Outcome): string {
  if (missing !== undefined) return 'not installed';
  return errors.length === 0 ? 'passed' : `failed (${errors.length})`;
}

export function printTable(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    const { name, version, phases, features, missing, errors } = outcome;
    const what = missing ?? `${phases} phases; ${features.join(', ')}`;
    console.log(`${name.padEnd(30)} ${version.padEnd(10)} ${resultOf(outcome).padEnd(14)} ${what}`);
    for (const error of errors) console.log(`    ${error}`);
  }
}

/** The table of docs/drivers.md, in the form in which the formatter would leave it. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const rows = [
    ['driver', 'version', 'phases', 'result', 'what it does in each'],
    ...outcomes.map((outcome) => [
      outcome.name,
      outcome.version,
      String(outcome.phases),
      resultOf(outcome),
      outcome.missing ?? outcome.features.join(', '),
    ]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  const [head, ...body] = rows.map(line);
  return [head, line(widths.map((width) => '-'.repeat(width))), ...body].join('\n');
}

/** Replaces the table of docs/drivers.md by what was run just now. */
export function writeDocs(outcomes: readonly Outcome[]): void {
  const text = readFileSync(DOCS, 'utf8');
  const from = text.indexOf(BEGIN) + BEGIN.length;
  const to = text.indexOf(END);
  writeFileSync(DOCS, `${text.slice(0, from)}\n\n${tableOf(outcomes)}\n\n${text.slice(to)}`);
}
