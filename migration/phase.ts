/**
 * Where a migration stands, and what may happen to it there. SPEC.md says the same in words, with
 * the invariants; a test compares the two. Pure: no clock, no I/O.
 */
export type Phase =
  | { name: 'planned' }
  | { name: 'expanding' }
  | { name: 'dual-writing' }
  // asked: a cutover was asked for already (after a revert), and is taken as soon as it is ready.
  | { name: 'backfilling'; asked: boolean }
  | { name: 'verifying'; asked: boolean }
  | { name: 'ready'; asked: boolean }
  | { name: 'cutting-over'; attempt: number; blocker: string | null }
  | { name: 'soaking'; since: string; holdMs: number; unfit: string | null }
  | { name: 'reverting'; attempt: number; blocker: string | null; since: string }
  | { name: 'reverted'; holdMs: number }
  | { name: 'completing' }
  | { name: 'completed' }
  | { name: 'aborting' }
  | { name: 'aborted' };

export type PhaseName = Phase['name'];

/** What happens of itself, and (last line) what an operator asks for. */
export const EVENTS = [
  'begun',
  'expanded',
  'drained',
  'filled',
  'proved',
  'disproved',
  'due',
  'blocked',
  'swapped',
  'unfit',
  'soaked',
  'cleaned',
  'cutover',
  'revert',
  'complete',
  'abort',
] as const;

export type Event = (typeof EVENTS)[number];

/** What an operator may ask for. */
export const REQUESTS = ['cutover', 'revert', 'complete', 'abort'] as const;
export type Request = (typeof REQUESTS)[number];

const NOWHERE: Record<Event, null> = Object.freeze(
  Object.fromEntries(EVENTS.map((event) => [event, null])),
) as Record<Event, null>;

/** Total: for each phase and event the phase that follows, or null where it can't happen. */
export const TRANSITIONS: Record<PhaseName, Record<Event, PhaseName | null>> = {
  planned: { ...NOWHERE, begun: 'expanding', abort: 'aborting' },
  expanding: { ...NOWHERE, expanded: 'dual-writing', abort: 'aborting' },
  'dual-writing': { ...NOWHERE, drained: 'backfilling', abort: 'aborting' },
  backfilling: { ...NOWHERE, filled: 'verifying', abort: 'aborting' },
  verifying: { ...NOWHERE, proved: 'ready', disproved: 'verifying', abort: 'aborting' },
  ready: {
    ...NOWHERE,
    due: 'cutting-over',
    cutover: 'cutting-over',
    disproved: 'verifying',
    abort: 'aborting',
  },
  'cutting-over': {
    ...NOWHERE,
    blocked: 'cutting-over',
    disproved: 'verifying',
    swapped: 'soaking',
    revert: 'ready',
    abort: 'aborting',
  },
  soaking: { ...NOWHERE, soaked: 'completing', complete: 'completing', revert: 'reverting' },
  reverting: {
    ...NOWHERE,
    blocked: 'reverting',
    unfit: 'soaking',
    swapped: 'reverted',
    cutover: 'soaking',
  },
  reverted: { ...NOWHERE, cutover: 'verifying', abort: 'aborting' },
  completing: { ...NOWHERE, cleaned: 'completed' },
  completed: { ...NOWHERE },
  aborting: { ...NOWHERE, cleaned: 'aborted' },
  aborted: { ...NOWHERE },
};

export const PHASES = Object.keys(TRANSITIONS) as PhaseName[];

/** Phases in which nothing is left to do. */
export const ENDED: ReadonlySet<PhaseName> = new Set(['completed', 'aborted']);

/** The phase that follows, or null where the event can't happen. */
export function next(from: PhaseName, event: Event): PhaseName | null {
  return TRANSITIONS[from][event];
}

/** Why a request can't be granted now, with what to do instead; null when it can. */
export function whyNot(
  from: PhaseName,
  request: Request,
): { message: string; hint: string } | null {
  if (next(from, request) !== null) return null;
  const possible = REQUESTS.filter((other) => next(from, other) !== null);
  const message = `The migration is ${from}: it can't ${request} now.`;
  if (ENDED.has(from)) return { message, hint: 'It has ended.' };
  const notYet = PHASES.indexOf(from) < PHASES.indexOf('ready') && request === 'cutover';
  if (notYet) {
    return { message, hint: 'Wait until it is ready (pgtandem status NAME --watch).' };
  }
  if (request === 'abort' && from === 'soaking') {
    return { message, hint: 'Revert it first; then it can be aborted.' };
  }
  const list = possible.length > 0 ? possible.join(' or ') : 'wait';
  return { message, hint: `What it can do now: ${list}.` };
}

/** When the next attempt comes at what did not succeed, milliseconds after the last: at once, then more slowly. */
export function backoffMs(attempt: number): number {
  return [0, 1_000, 2_000, 5_000, 10_000][attempt] ?? 30_000;
}
