import { median } from '../median.js';
import { type Done, dueWithin, p99Of, type Service, serviceOf } from './load.js';
import { type Count, stolenWithin } from './stolen.js';

/**
 * What went on beside the application: nothing; a migration whose columns are written together and
 * nothing filled (`dual`: before the fill, `held`: between two stretches of it, with its signals
 * observed); the fill; nothing again, once the migration has been aborted: what the time alone has changed
 * since `before`. `alone`, by turns with `held` and the fill: nothing either, for the same application on a
 * table like it in another database, so that it is what the machine is at that time.
 */
export const STATES = ['before', 'dual', 'alone', 'held', 'filling', 'after'] as const;

export type State = (typeof STATES)[number];

/** A stretch of time in one state, milliseconds of the wall clock. */
export interface Window {
  state: State;
  fromMs: number;
  toMs: number;
}

/** What is left of the state before, and connections that are made, are no part of a window. */
export const SKIPPED_MS = 2_000;

/** The time from `fromMs` to `toMs`, after its beginning, in windows of about `seconds`. Pure. */
export function windowsOf(state: State, fromMs: number, toMs: number, seconds: number): Window[] {
  const startMs = fromMs + SKIPPED_MS;
  const count = Math.max(1, Math.floor((toMs - startMs) / 1_000 / seconds));
  const each = (toMs - startMs) / count;
  if (!(each > 0)) return [];
  return Array.from({ length: count }, (_, i) => {
    return { state, fromMs: startMs + i * each, toMs: startMs + (i + 1) * each };
  });
}

/** What the application saw in a state. */
export interface Seen extends Service {
  /** The p99 of all its transactions, stalls of the machine included. */
  p99OfAll: number;
  /** The p99 of each window. */
  windows: number[];
  /** What the p99 would be if no second were left out. */
  p99OfSeconds: number;
  /** So many seconds there were, and of so many the medians are. */
  seconds: { all: number; own: number };
}

/** A second of a state. */
interface Second extends Service {
  /** Milliseconds for which the machine's host had other use for its processors. */
  stolenMs: number;
}

/**
 * The medians of the seconds of each state: a machine that others use has seconds of its own, in any
 * state, and one stretch of before against one of the fill compares those. Seconds of which something was
 * stolen are left out, unless there is no other. Pure.
 * @param counts of stolen time; none where it is not known.
 * @returns not of a state that was not seen.
 */
export function servicesOf(
  done: readonly Done[],
  windows: readonly Window[],
  counts: readonly Count[],
): Map<State, Seen> {
  const found = new Map<State, Seen>();
  for (const state of STATES) {
    const own = windows.filter((window) => window.state === state);
    const all = own.map((window) => secondsOf(done, window, counts));
    const seconds = all.flat();
    if (seconds.length === 0) continue;
    const kept = ownOf(seconds);
    found.set(state, {
      tps: median(kept.map(({ tps }) => tps)),
      p99: medianP99(kept),
      p99OfAll: p99Of(own.flatMap(({ fromMs, toMs }) => dueWithin(done, fromMs, toMs))),
      windows: all.map((each) => medianP99(ownOf(each))),
      p99OfSeconds: medianP99(seconds),
      seconds: { all: seconds.length, own: kept.length },
    });
  }
  return found;
}

const medianP99 = (seconds: readonly Second[]) => median(seconds.map(({ p99 }) => p99));

/** Those of which nothing was stolen; all, if there is none. */
function ownOf(seconds: readonly Second[]): readonly Second[] {
  const own = seconds.filter(({ stolenMs }) => stolenMs === 0);
  return own.length > 0 ? own : seconds;
}

function secondsOf(
  done: readonly Done[],
  { fromMs, toMs }: Window,
  counts: readonly Count[],
): Second[] {
  const count = Math.floor((toMs - fromMs) / 1_000);
  const all = Array.from({ length: count }, (_, i) => {
    const [from, to] = [fromMs + i * 1_000, fromMs + (i + 1) * 1_000];
    return { ...serviceOf(done, from, to), stolenMs: stolenWithin(counts, from, to) };
  });
  return all.filter(({ p99 }) => !Number.isNaN(p99));
}

/** For people. Pure. */
export function describeServices(services: ReadonlyMap<State, Seen>): string[] {
  return [...services].map(([state, { tps, p99, p99OfAll, windows, p99OfSeconds, seconds }]) => {
    const each = windows.map((one) => one.toFixed(1)).join(' ');
    const all = `of all its transactions ${p99OfAll.toFixed(1)}`;
    const own = `${seconds.own} of its ${seconds.all} seconds; of all of them ${p99OfSeconds.toFixed(1)}`;
    const found = `${tps.toFixed(0)} transactions/s, p99 ${p99.toFixed(1)} ms`;
    return `${state}: ${found} (${each}; ${own}; ${all})`;
  });
}
