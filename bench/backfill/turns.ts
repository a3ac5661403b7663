import { setTimeout as sleep } from 'node:timers/promises';
import { SKIPPED_MS, type State, type Window, windowsOf } from './windows.js';

/** One state that can be had again and again. */
export interface Turn {
  state: State;
  begin(): Promise<void>;
  /** Looks at it once. @returns when there is no more of it, milliseconds of the wall clock. */
  look(): Promise<number | null>;
  end(): Promise<void>;
}

/** What a turn gave. */
export interface Taken {
  windows: Window[];
  seconds: number;
  isOver: boolean;
}

/**
 * Has a state for a time.
 * @param seconds that count; what is left of the state before comes first, and does not.
 * @param everyMs so often it is looked at.
 */
export async function take(turn: Turn, seconds: number, everyMs: number): Promise<Taken> {
  await turn.begin();
  try {
    const fromMs = Date.now();
    const untilMs = fromMs + seconds * 1_000 + SKIPPED_MS;
    let toMs: number | null = null;
    while (toMs === null && Date.now() < untilMs) {
      await sleep(Math.min(everyMs, untilMs - Date.now()));
      toMs = await turn.look();
    }
    const endMs = toMs ?? Date.now();
    const windows = windowsOf(turn.state, fromMs, endMs, seconds);
    return { windows, seconds: (endMs - fromMs) / 1_000, isOver: toMs !== null };
  } finally {
    await turn.end();
  }
}
