import type { ThrottleSettings } from './job.js';

/** For so long what a look says is not judged again, milliseconds: no longer than a chunk of the usual length takes, twice. */
const HOLDS_MS = 100;

/**
 * That the fill may go on, for the chunks that are begun on the same look soon after each other. To judge all signals
 * takes longer than to have a short chunk filled. Whatever says stop is judged each time. Pure: the time comes as an argument.
 */
export class Go {
  private given: { lookedMs: number; settings: ThrottleSettings; atMs: number } | null = null;

  /** @param lookedMs when the look was taken; `settings` the same object as long as they are not read anew. */
  holds(lookedMs: number, settings: ThrottleSettings, nowMs: number): boolean {
    const { given } = this;
    if (given?.lookedMs !== lookedMs || given.settings !== settings) return false;
    return nowMs - given.atMs < HOLDS_MS;
  }

  /** @param isGo what was judged of the look. */
  judged(isGo: boolean, lookedMs: number, settings: ThrottleSettings, atMs: number): void {
    this.given = isGo ? { lookedMs, settings, atMs } : null;
  }
}
