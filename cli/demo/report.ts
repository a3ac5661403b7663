import Table from 'cli-table3';
import type { Percentiles } from './latency.js';

/** What a demo has measured. `null` is what could not be measured, and keeps no promise. */
export interface DemoReport {
  /** Of the load's pseudo-random numbers. */
  seed: number;
  /** What was migrated, in words. */
  migration: string;
  /** Statements that the application had an answer to. */
  statements: number;
  /** Errors that the application saw, and the first of them. */
  errors: number;
  errorSamples: string[];
  /** Answers that were not what the application must get, and the first of them. */
  wrongReplies: number;
  wrongSamples: string[];
  /** The whole table against the application's own log of acknowledged writes. */
  byLog: { rowsChecked: number; lost: number; wrong: number; samples: string[] } | null;
  /** Rows whose old and new column do not agree, as the database itself counts them. */
  bySql: { rowsChecked: number; unequal: number } | null;
  latency: { before: Percentiles | null; during: Percentiles | null; after: Percentiles | null };
  /** The longest that one statement was held while the cutover was taken, milliseconds. */
  longestHoldMs: number | null;
  /** Of the standby, milliseconds; `forced` when the demo held it back on purpose. */
  lag: { highestMs: number | null; forced: boolean };
  /** Size of the table without its indexes, bytes: when the load began, and its highest. */
  tableBytes: { before: number; highest: number } | null;
  /** For how long the backfill stood still, by reason, seconds. */
  throttledSeconds: Record<string, number>;
  /** Names of what was left in the database that was not there before. */
  leftBehind: string[] | null;
}

/** What counts as "not the cause of an outage", on a machine that everything shares. */
export interface Limits {
  holdMs: number;
  /**
   * p99 during the migration may be this many times p99 before it, or this long: a write may have
   * to wait for a chunk to end, which takes 50 ms, and twice that while its size is being found.
   */
  p99Times: number;
  p99Ms: number;
  /**
   * Highest size of the table, in times of what it was; below `growthBytes` of growth it is kept
   * all the same: a table of a few MB is not vacuumed meanwhile, since that would not pay.
   */
  growth: number;
  growthBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  holdMs: 1_000,
  p99Times: 5,
  p99Ms: 100,
  growth: 2,
  growthBytes: 32 * 1024 * 1024,
};

export interface Promised {
  promise: string;
  kept: boolean;
  /** The numbers that decided it. */
  evidence: string;
}

/** Every promise, whether it was kept, and by what numbers. What was not measured is not kept. */
export function promises(report: DemoReport, limits: Limits = DEFAULT_LIMITS): Promised[] {
  const { byLog, bySql, leftBehind, longestHoldMs, tableBytes, lag } = report;
  const seen = report.statements > 0;
  return [
    judge('The application saw no error', seen && report.errors === 0, [
      `${plural(report.errors, 'error')} in ${number(report.statements)} statements`,
      ...report.errorSamples.slice(0, 1),
    ]),
    judge('Every answer was the right one', seen && report.wrongReplies === 0, [
      plural(report.wrongReplies, 'wrong answer'),
      ...report.wrongSamples.slice(0, 1),
    ]),
    judge(
      "No write was lost, by the application's log",
      byLog !== null && byLog.rowsChecked > 0 && byLog.lost === 0 && byLog.wrong === 0,
      byLog === null
        ? ['not measured']
        : [
            `${byLog.lost} lost, ${byLog.wrong} wrong of ${number(byLog.rowsChecked)} rows`,
            ...byLog.samples.slice(0, 1),
          ],
    ),
    judge(
      'No write was lost, by the database',
      bySql !== null && bySql.rowsChecked > 0 && bySql.unequal === 0,
      [
        bySql === null
          ? 'not measured'
          : `${bySql.unequal} unequal of ${number(bySql.rowsChecked)} rows`,
      ],
    ),
    judge(
      'The cutover held nobody for long',
      longestHoldMs !== null && longestHoldMs <= limits.holdMs,
      [`longest hold ${millis(longestHoldMs)}, limit ${millis(limits.holdMs)}`],
    ),
    latencyPromise(report, limits),
    judge(
      'The backfill gave way to the standby',
      lag.highestMs !== null && (!lag.forced || totalThrottled(report) > 0),
      [
        `highest lag ${millis(lag.highestMs)}${lag.forced ? ' (held back on purpose)' : ''}`,
        `stood still for ${totalThrottled(report).toFixed(1)} s`,
      ],
    ),
    judge(
      'The table did not grow out of bounds',
      tableBytes !== null && tableBytes.highest <= mostBytes(tableBytes.before, limits),
      [tableBytes === null ? 'not measured' : `${growth(tableBytes)}, limit ${limits.growth}x`],
    ),
    judge('Nothing was left behind', leftBehind !== null && leftBehind.length === 0, [
      leftBehind === null ? 'not measured' : leftBehind.join(', ') || 'nothing',
    ]),
  ];
}

function latencyPromise({ latency }: DemoReport, limits: Limits): Promised {
  const { before, during } = latency;
  const measured = before !== null && during !== null && before.count > 0 && during.count > 0;
  const limitMs = Math.max((before?.p99Ms ?? 0) * limits.p99Times, limits.p99Ms);
  return judge(
    'The application stayed fast',
    measured && during.p99Ms <= limitMs,
    measured
      ? [`p99 ${millis(before.p99Ms)} before, ${millis(during.p99Ms)} during`, millis(limitMs)]
      : ['not measured'],
    ', limit ',
  );
}

function judge(promise: string, kept: boolean, evidence: string[], glue = '; '): Promised {
  return { promise, kept, evidence: evidence.join(glue) };
}

export function promisesKept(report: DemoReport, limits: Limits = DEFAULT_LIMITS): boolean {
  return promises(report, limits).every(({ kept }) => kept);
}

/** Wider evidence is wrapped, so that the report fits a terminal of 120 columns. */
const EVIDENCE_COLUMNS = 64;

/** Without colours, so that it reads the same in a log. */
const PLAIN = { style: { head: [], border: [], compact: true } };

/** The report as it is printed: the numbers, then each promise with PASS or FAIL. */
export function printReport(report: DemoReport, limits: Limits = DEFAULT_LIMITS): string {
  const latency = new Table({
    head: ['latency of the application', 'statements', 'p50', 'p99', 'max'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    ...PLAIN,
  });
  for (const phase of ['before', 'during', 'after'] as const) {
    const times = report.latency[phase];
    latency.push(
      times === null
        ? [phase, '-', '-', '-', '-']
        : [phase, number(times.count), ...[times.p50Ms, times.p99Ms, times.maxMs].map(millis)],
    );
  }
  const measured = new Table({ head: ['measured', ''], ...PLAIN });
  measured.push(...measurements(report));
  const verdicts = new Table({
    head: ['promise', '', 'evidence'],
    colWidths: [null, null, EVIDENCE_COLUMNS],
    wordWrap: true,
    ...PLAIN,
  });
  const all = promises(report, limits);
  for (const { promise, kept, evidence } of all) {
    verdicts.push([promise, kept ? 'PASS' : 'FAIL', evidence]);
  }
  const kept = all.filter((each) => each.kept).length;
  const verdict = kept === all.length ? 'PASS' : 'FAIL';
  const end = `${verdict}: ${kept} of ${all.length} promises kept`;
  return [latency, measured, verdicts, end].join('\n');
}

function measurements(report: DemoReport): [string, string][] {
  const { byLog, bySql } = report;
  const reasons = Object.entries(report.throttledSeconds)
    .filter(([, seconds]) => seconds > 0)
    .map(([reason, seconds]) => `${reason} ${seconds.toFixed(1)} s`);
  return [
    ['migration', report.migration],
    ['statements of the application', number(report.statements)],
    ['errors that it saw', number(report.errors)],
    ['lost or wrong rows, by its log', byLog === null ? '-' : number(byLog.lost + byLog.wrong)],
    ['unequal rows, by SQL', bySql === null ? '-' : number(bySql.unequal)],
    ['longest hold at cutover', millis(report.longestHoldMs)],
    ['highest lag of the standby', millis(report.lag.highestMs)],
    ['size of the table', report.tableBytes === null ? '-' : growth(report.tableBytes)],
    ['backfill stood still', reasons.join(', ') || 'never'],
    ['seed of the load', String(report.seed)],
  ];
}

function totalThrottled(report: DemoReport): number {
  return Object.values(report.throttledSeconds).reduce((sum, seconds) => sum + seconds, 0);
}

function mostBytes(before: number, { growth, growthBytes }: Limits): number {
  return Math.max(before * growth, before + growthBytes);
}

function growth({ before, highest }: { before: number; highest: number }): string {
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  return `${mib(before)} to ${mib(highest)} (${(highest / before).toFixed(2)}x)`;
}

function plural(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

/** Milliseconds, three digits of them at most. */
function millis(ms: number | null): string {
  if (ms === null) return 'not measured';
  if (ms >= 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}
