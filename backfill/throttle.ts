/**
 * The question that the engine asks before each chunk: go, or stand still, and why. Pure.
 *
 * It fails closed: a signal that is old, unknown or not a number stops the backfill, and so does
 * having no signal at all. The text of a reason has one format everywhere (status, log, page):
 * `name: subject observed (limit threshold)`; the name alone is the metric's label.
 */

import type { Level } from './job.js';

/** A signal older than this says nothing about now, milliseconds. */
export const STALE_MS = 1_000;

/** Every reason to stand still, the gravest first; docs/backfill.md explains each. */
export const REASONS = [
  'stale',
  'privilege',
  'standby-lost',
  'archiver',
  'wal-size',
  'table-size',
  'slot-wal',
  'replica-lag',
  'replica-bytes',
  'http',
  'query',
  'latency-stop',
  'old-transaction',
  'latency',
  'active',
  'wal-rate',
  'autovacuum',
  'blocking',
  'lock-wait',
  'latency-learn',
] as const;

export type ReasonName = (typeof REASONS)[number];

/** What can be measured; the other reasons are made of these or by the engine itself. */
export type SignalName = Exclude<ReasonName, 'stale' | 'blocking' | 'lock-wait' | 'latency-learn'>;

export interface Signal {
  name: SignalName;
  /** What it was observed on: a standby's name, a role's. */
  subject: string;
  /** Milliseconds, bytes or a count by `name`; null when it cannot be known, which is a reason. */
  observed: number | null;
  /** The largest observed value with which the backfill goes on, in the same unit. */
  threshold: number;
  /** How long ago it was observed, milliseconds. */
  ageMs: number;
  /** Older than this it says nothing about now, milliseconds; `STALE_MS` by default. */
  staleMs?: number;
  /** By default `hard`. */
  level?: Level;
  /** Where it is soft: what is observed while nothing is filled; by default 0. */
  floor?: number;
  /** Where it is soft: how long ago it was on average what is observed now, by default a second. */
  delayMs?: number;
  /** Where it is soft: by how much it may multiply the rest; by default by as much as there is. */
  factorMax?: number;
  /** How the reason is printed, where it has its file in signals/. */
  detail?: string;
}

export interface Reason {
  name: ReasonName;
  level: Level;
  /** `standby1 2.3 s behind (limit 1.0 s)` */
  detail: string;
  /** `replica-lag: standby1 2.3 s behind (limit 1.0 s)` */
  text: string;
}

/** What soft signals want; see pace.ts. */
export interface Pressure {
  ratio: number;
  factorMax: number;
  /** Of the one that has the highest ratio; within all thresholds of the one that is seen last. */
  delayMs: number;
  reason: Reason | null;
}

/** A critical signal: going on is for an operator to decide. */
export class CriticalError extends Error {
  override readonly name = 'CriticalError';

  constructor({ text }: Reason) {
    super(text);
  }
}

/** The one place where a reason gets its text. */
export function reason(name: ReasonName, detail: string, level: Level = 'hard'): Reason {
  return { name, level, detail, text: `${name}: ${detail}` };
}

/**
 * @returns null to go on, or the gravest reason not to. A soft signal beyond its threshold is none,
 *   a stale one is, whatever its level.
 */
export function decide(signals: readonly Signal[]): Reason | null {
  if (signals.length === 0) return reason('stale', 'nothing has been observed yet');
  // Comparisons are written so that NaN stops the fill too.
  const stale = signals.find(({ ageMs, staleMs }) => !(ageMs <= (staleMs ?? STALE_MS)));
  if (stale) return staleReason(stale);
  const worst = gravest(signals.filter(({ level }) => level !== 'soft'));
  return worst && reason(worst.name, describe(worst), worst.level);
}

/**
 * What the soft signals say: the highest observed value over its threshold, both from the floor on
 * (pace.ts makes the speed of it), and the reason when one is beyond. One that may not slow it down any
 * further than it is wants it faster.
 * @param factor by which it is slowed down now.
 */
export function pressureOf(signals: readonly Signal[], factor = 1): Pressure {
  // One that was never observed stops the fill as stale.
  const soft = signals.filter(({ level, ageMs }) => level === 'soft' && Number.isFinite(ageMs));
  const worst = gravest(soft);
  const wants = (one: Signal) => (factor > factorOf(one) * SAME ? 0 : ratioOf(one));
  const ratio = Math.max(0, ...soft.map(wants));
  const beyond = soft.filter((signal) => gravest([signal]));
  return {
    ratio,
    delayMs: Math.max(0, ...soft.filter((one) => !(wants(one) < ratio && ratio > 1)).map(delayOf)),
    factorMax: Math.max(1, ...beyond.map(factorOf)),
    reason: worst && reason(worst.name, describe(worst), 'soft'),
  };
}

function ratioOf({ observed, threshold, floor = 0 }: Signal): number {
  if (observed === null || !(threshold > floor)) {
    return observed !== null && observed <= threshold ? 0 : Number.POSITIVE_INFINITY;
  }
  return (observed - floor) / (threshold - floor);
}

/**
 * What the pace is set by. While the fill stands still its pace has no effect that could be seen: what
 * is within its limits is no proof that it may go faster, nor what is beyond that it went too fast. Pure.
 * @param stop why it stands still.
 */
export function pacedRatio(stop: Reason | null, ratio: number): number {
  return stop ? 1 : ratio;
}

/** What the fill itself is no cause of. */
const OF_OTHERS: ReadonlySet<SignalName> = new Set(['old-transaction', 'autovacuum', 'http']);

/** Why a fill begins slowly: the first soft signal that tells how fast it may be; null: there is none. */
export function pacedBy(signals: readonly Signal[]): Reason | null {
  const first = signals.find(({ level, name }) => level === 'soft' && !OF_OTHERS.has(name));
  return first ? reason(first.name, 'its limit is approached from below', 'soft') : null;
}

/** A factor that is greater by less is the same, but for its logarithm. */
const SAME = 1.001;

const factorOf = ({ factorMax = Number.POSITIVE_INFINITY }: Signal) => factorMax;

const delayOf = ({ delayMs = 0 }: Signal) => delayMs;

function staleReason({ name, ageMs, staleMs }: Signal): Reason {
  if (ageMs === Number.POSITIVE_INFINITY) {
    return reason('stale', `${name} has not been observed yet`);
  }
  const limit = `limit ${since(staleMs ?? STALE_MS)}`;
  return reason('stale', `${name} observed ${since(ageMs)} ago (${limit})`);
}

/** The gravest of those that are beyond their thresholds. */
function gravest(signals: readonly Signal[]): Signal | null {
  let worst: Signal | null = null;
  for (const signal of signals) {
    if (signal.observed !== null && signal.observed <= signal.threshold) continue;
    if (!worst || graver(signal, worst)) worst = signal;
  }
  return worst;
}

function graver(a: Signal, b: Signal): boolean {
  if ((a.level === 'critical') !== (b.level === 'critical')) return a.level === 'critical';
  if (a.name !== b.name) return REASONS.indexOf(a.name) < REASONS.indexOf(b.name);
  return (a.observed ?? Number.POSITIVE_INFINITY) > (b.observed ?? Number.POSITIVE_INFINITY);
}

function describe({ name, subject, observed, threshold, detail }: Signal): string {
  if (detail !== undefined) return detail;
  switch (name) {
    case 'privilege':
      return `role ${subject} may not see how far the standbys are: GRANT pg_monitor TO ${subject}`;
    case 'standby-lost':
      return `${subject} is not streaming`;
    case 'replica-lag':
      return observed === null
        ? `${subject} has not replayed yet what was there at the start (limit ${since(threshold)})`
        : `${subject} ${since(observed)} behind (limit ${since(threshold)})`;
    case 'replica-bytes':
      return observed === null
        ? `${subject} has not said how far it is (limit ${size(threshold)})`
        : `${subject} ${size(observed)} behind (limit ${size(threshold)})`;
    default:
      return `${subject} ${observed} (limit ${threshold})`;
  }
}

/** A duration as reasons print it, in seconds. */
export function since(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** An amount of WAL as reasons print it; MB as in PostgreSQL, 1024 * 1024 bytes. */
export function size(bytes: number): string {
  return bytes < 1024 * 1024
    ? `${(bytes / 1024).toFixed(1)} kB`
    : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
