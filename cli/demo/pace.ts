/** How far a worker may fall behind before it lets statements go, milliseconds. */
const MAX_BEHIND_MS = 5_000;

/**
 * Says when a worker's next operation is due: an open loop, in which a slow answer does not make
 * the load lighter. An operation that could not begin when it was due, because the one before was
 * still waiting for its answer, is timed from when it was due, so that a pause of the server
 * counts for every statement that it delayed. Lateness of our own timer does not count.
 */
export class Pace {
  private dueMs: number | undefined;

  /** @param intervalMs between statements; 0 is as fast as the answers come. */
  constructor(
    private readonly intervalMs: number,
    private readonly offsetMs = 0,
  ) {}

  /**
   * @param nowMs a monotonic clock.
   * @param statements of the operation; the next one is due so many intervals later.
   * @returns how long to wait, and the time from which to count when there is nothing to wait for.
   */
  next(nowMs: number, statements: number): { waitMs: number; sinceMs: number } {
    if (this.intervalMs === 0) return { waitMs: 0, sinceMs: nowMs };
    const due = Math.max(this.dueMs ?? nowMs + this.offsetMs, nowMs - MAX_BEHIND_MS);
    this.dueMs = due + statements * this.intervalMs;
    return { waitMs: Math.max(0, due - nowMs), sinceMs: Math.min(due, nowMs) };
  }

  /** After an outage: nothing is overdue. */
  reset(): void {
    this.dueMs = undefined;
  }
}
