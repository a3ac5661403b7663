import { cancelBackend } from '../../db/backend.js';
import type { Connection, Opener } from '../../db/connect.js';
import { endsWithin } from '../wait.js';
import { SEE_AND_CANCEL, type Waiter } from './blocking.js';

/**
 * Cancels what our backends do. On a connection of its own, because a look at the signals takes as
 * long as the server likes, and who waits for us is not to wait for it too. One question at a time.
 */
export class Canceller {
  private turn: Promise<unknown> = Promise.resolve();
  private closed = false;
  /** Why nothing can be cancelled any more; null: all is well. */
  failure: Error | null = null;

  private constructor(private readonly connection: Connection) {
    const lost = (error?: Error) => {
      if (!this.closed) this.failure ??= error ?? new Error('the connection for cancels is lost');
    };
    connection.on('error', lost);
    connection.on('end', () => lost());
  }

  /** @throws Error of `pg`, when the server cannot be reached or refuses the login. */
  static async open(open: Opener): Promise<Canceller> {
    return new Canceller(await open('backfill cancels'));
  }

  async cancel(pid: number): Promise<void> {
    await this.inTurn(() => cancelBackend(this.connection, pid));
  }

  /** Cancels what a backend of ours is doing when a session waits for it. @returns that session. */
  async cancelIfBlocking(pid: number): Promise<Waiter | null> {
    const { rows } = await this.inTurn(() =>
      this.connection.query<Waiter & { cancelled: boolean }>(SEE_AND_CANCEL, [pid]),
    );
    return rows[0] ?? null;
  }

  async close(): Promise<void> {
    this.closed = true;
    await endsWithin(this.connection.end(), 1_000);
  }

  /** A client of `pg` takes one statement at a time. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const own = this.turn.then(work);
    this.turn = own.catch(() => undefined);
    return own;
  }
}
