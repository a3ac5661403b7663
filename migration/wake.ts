import type { Connection } from '../db/connect.js';

/**
 * Something to wait on: a notification on our channel, a time, or the end. Notifications only make
 * waiting shorter; what is true is always read from the tables.
 */
export class Wake {
  private readonly waiting = new Set<() => void>();
  private rung = false;

  /**
   * Rings at every notification of this connection, which listens already, and when it is lost.
   * @returns what ends that: before the connection is ended on purpose, which is no news.
   */
  listenTo(connection: Connection): () => void {
    const ring = () => this.ring();
    connection.on('notification', ring).on('end', ring);
    return () => connection.off('notification', ring).off('end', ring);
  }

  ring(): void {
    this.rung = true;
    for (const done of [...this.waiting]) done();
  }

  /** How many wait. */
  get waiters(): number {
    return this.waiting.size;
  }

  /** Waits until it rings (since the last wait), at most `ms`, or until `signal` aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.rung || signal.aborted) {
      this.rung = false;
      return;
    }
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done, { once: true });
      this.waiting.add(done);
    });
    this.rung = false;
  }
}
