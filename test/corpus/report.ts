import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Counter, Tally } from './count.js';
import { KINDS, type Kind } from './writes.js';

const DOCS = resolve(import.meta.dirname, '..', '..', '..', 'docs', 'rewriting.md');
const BEGIN = '<!-- written by npm run test:corpus -- --write-docs -->';
const END = '<!-- end -->';

const OUTCOMES = ['rewritten', 'unchanged', 'guarded', 'refused'] as const;

/** Kinds that have to be rewritten: a DELETE and a read write nothing. */
const WRITES: readonly Kind[] = KINDS.filter(
  (kind) => !['DELETE', 'SELECT', 'COPY TO'].includes(kind),
);

function numbers(tally: Tally): number[] {
  return [tally.statements, tally.cases, ...OUTCOMES.map((name) => tally.outcomes.get(name) ?? 0)];
}

/**
 * The share of cases of writes that are rewritten: of all, or of those whose column and change of
 * type a plan would take.
 */
export function shareRewritten(
  { tallies }: Counter,
  of: 'outcomes' | 'taken' | 'outcomes without files' | 'taken without files',
): number {
  let [all, rewritten] = [0, 0];
  const [which, files] = of.split(' without ') as ['outcomes' | 'taken', string | undefined];
  for (const kind of WRITES) {
    const tally = tallies.get(kind);
    if (files && tally) all -= tally.files[which];
    for (const [outcome, cases] of tally?.[which] ?? []) {
      all += cases;
      if (outcome === 'rewritten' || outcome === 'unchanged') rewritten += cases;
    }
  }
  return all === 0 ? 0 : rewritten / all;
}

function tables(counter: Counter): string[] {
  const kinds = KINDS.filter((kind) => counter.tallies.has(kind));
  const outcomes = [
    ['statement', 'statements', 'cases', ...OUTCOMES],
    ...kinds.map((kind) => [kind, ...numbers(counter.tallies.get(kind)!).map(String)]),
  ];
  const reasons = kinds.flatMap((kind) =>
    [...counter.tallies.get(kind)!.reasons]
      .sort((a, b) => b[1] - a[1])
      .map(([reason, n]) => [kind, ...reason.split(' '), String(n)]),
  );
  return [tableOf(outcomes), tableOf([['statement', 'outcome', 'reason', 'cases'], ...reasons])];
}

function tableOf(rows: string[][]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  const [head, ...body] = rows.map(line);
  return [head, line(widths.map((width) => '-'.repeat(width))), ...body].join('\n');
}

export function printTable(counter: Counter): void {
  console.log(tables(counter).join('\n\n'));
  const { statements, unparsed, rejected, asked, wrong } = counter;
  console.log(JSON.stringify({ statements, unparsed, rejected, asked, wrong: wrong.length }));
  const copies = [...counter.copies].sort((a, b) => b[1] - a[1]);
  console.log(['COPY FROM:', ...copies.map(([what, cases]) => `${cases} ${what}`)].join('\n'));
}

/** The statements themselves that are left to the guard, or refused. */
export function printLeft({ left }: Counter): void {
  for (const [what, texts] of [...left].sort()) {
    for (const [text, { cases, taken }] of texts) {
      console.log(`-- ${what}: ${cases} cases, ${taken} of what a plan takes\n${text};\n`);
    }
  }
}

/** Replaces the tables of docs/rewriting.md by what was counted just now. */
export function writeDocs(counter: Counter, version: string): void {
  const text = readFileSync(DOCS, 'utf8');
  const from = text.indexOf(BEGIN) + BEGIN.length;
  const to = text.indexOf(END);
  const [outcomes, reasons] = tables(counter);
  const { statements, asked, wrong } = counter;
  const of = ['outcomes', 'taken', 'outcomes without files', 'taken without files'] as const;
  const [share, taken, remote, takenRemote] = of.map((which) =>
    (100 * shareRewritten(counter, which)).toFixed(1),
  );
  const counted = [
    `${version}: ${statements} statements. ${asked} edited texts were given to the server, which took`,
    `${wrong.length === 0 ? 'each of them as it took the original' : `all but ${wrong.length} as it took the original`}.`,
    `Rewritten, of the cases that write: ${share} %; of those whose column and change of type a plan`,
    `takes (no identity, key, constraint, view or inherited table; an immutable cast): ${taken} %.`,
    "Without COPY from files of the server's, whose rows no proxy sees:",
    `${remote} %, and ${takenRemote} % of what a plan takes. A statement that the server refuses is not counted.`,
  ].join('\n');
  const written = [counted, outcomes, reasons].join('\n\n');
  writeFileSync(DOCS, `${text.slice(0, from)}\n\n${written}\n\n${text.slice(to)}`);
}
