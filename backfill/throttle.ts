/**
 * The question that the engine asks before each chunk: go, or stand still, and why. Pure.
 *
 * It fails closed: a signal that is old, unknown or not a number stops the backfill, and so does
 * having no signal at all. The text of a reason has one format everywhere (status, log, page):
 * `name: subject observed (limit threshold)`; the name alone is the metric's label.
 */

/** A signal older than this says nothing about now, milliseconds. */
export const STALE_MS = 1_000;

/** Every reason to stand still, the gravest first; docs/backfill.md explains each. */
export const REASONS = [
  'stale',
  'privilege',
  'standby-lost',
  'replica-lag',
  'replica-bytes',
  'lock-wait',
] as const;

export type ReasonName = (typeof REASONS)[number];

/** What can be measured; the other reasons are made of these or by the engine itself. */
export type SignalName = Exclude<ReasonName, 'stale' | 'lock-wait'>;

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
}

export interface Reason {
  name: ReasonName;
  /** `standby1 2.3 s behind (limit 1.0 s)` */
  detail: string;
  /** `replica-lag: standby1 2.3 s behind (limit 1.0 s)` */
  text: string;
}

/** The one place where a reason gets its text. */
export function reason(name: ReasonName, detail: string): Reason {
  return { name, detail, text: `${name}: ${detail}` };
}

/** @returns null to go on, or the gravest reason not to. */
export function decide(signals: readonly Signal[]): Reason | null {
  if (signals.length === 0) return reason('stale', 'nothing has been observed yet');
  // Comparisons are written so that NaN stops the fill too.
  const stale = signals.find(({ ageMs }) => !(ageMs <= STALE_MS));
  if (stale) {
    const limit = `limit ${since(STALE_MS)}`;
    return reason('stale', `${stale.name} observed ${since(stale.ageMs)} ago (${limit})`);
  }
  let worst: Signal | null = null;
  for (const signal of signals) {
    if (signal.observed !== null && signal.observed <= signal.threshold) continue;
    if (!worst || graver(signal, worst)) worst = signal;
  }
  return worst && reason(worst.name, describe(worst));
}

function graver(a: Signal, b: Signal): boolean {
  if (a.name !== b.name) return REASONS.indexOf(a.name) < REASONS.indexOf(b.name);
  return (a.observed ?? Number.POSITIVE_INFINITY) > (b.observed ?? Number.POSITIVE_INFINITY);
}

function describe({ name, subject, observed, threshold }: Signal): string {
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
