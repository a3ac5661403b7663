import { median } from '../median.js';
import { type Done, dueWithin, p99Of, type Service, serviceOf } from './load.js';

/**
 * What went on beside the application: nothing; a migration whose columns are written together and
 * nothing filled (`dual`: before the fill, `held`: between two stretches of it, with its signals
 * observed); the fill; nothing again, once the migration has been aborted: what the time alone has changed
 * since `before`.
 */
export const STATES = ['before', 'dual', 'held', 'filling', 'after'] as const;

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
}

/**
 * The medians of the seconds of each state: a machine that others use has seconds of its own, in any
 * state, and one stretch of before against one of the fill compares those. Pure. @returns not of a
 * state that was not seen.
 */
export function servicesOf(done: readonly Done[], windows: readonly Window[]): Map<State, Seen> {
  const found = new Map<State, Seen>();
  for (const state of STATES) {
    const own = windows.filter((window) => window.state === state);
    const seconds = own.flatMap((window) => secondsOf(done, window));
    if (seconds.length === 0) continue;
    const of = (what: 'tps' | 'p99') => median(seconds.map((each) => each[what]));
    const all = own.flatMap(({ fromMs, toMs }) => dueWithin(done, fromMs, toMs));
    found.set(state, {
      tps: of('tps'),
      p99: of('p99'),
      p99OfAll: p99Of(all),
      windows: own.map((window) => median(secondsOf(done, window).map(({ p99 }) => p99))),
    });
  }
  return found;
}

function secondsOf(done: readonly Done[], { fromMs, toMs }: Window): Service[] {
  const count = Math.floor((toMs - fromMs) / 1_000);
  const all = Array.from({ length: count }, (_, i) => {
    return serviceOf(done, fromMs + i * 1_000, fromMs + (i + 1) * 1_000);
  });
  return all.filter(({ p99 }) => !Number.isNaN(p99));
}

/** For people. Pure. */
export function describeServices(services: ReadonlyMap<State, Seen>): string[] {
  return [...services].map(([state, { tps, p99, p99OfAll, windows }]) => {
    const each = windows.map((one) => one.toFixed(1)).join(' ');
    const all = `of all its transactions ${p99OfAll.toFixed(1)}`;
    return `${state}: ${tps.toFixed(0)} transactions/s, p99 ${p99.toFixed(1)} ms (${each}; ${all})`;
  });
}
