import type { Connection, Opener } from '../db/connect.js';
import type { BackfillJob } from './job.js';
import { type Limits, Session } from './session.js';
import type { Waiter } from './signals/blocking.js';
import type { SignalWatch } from './signals/watch.js';
import type { Reason } from './throttle.js';
import { endsWithin } from './wait.js';

/** After a chunk; times are of `performance.now()`. */
export interface Rest {
  startedMs: number;
  chunkMs: number;
  /** How long it is at full speed. */
  usualMs: number;
  /** Why it is longer. */
  reason: Reason | null;
}

/** A connection on which chunks are filled, one at a time. */
export class Worker {
  rest: Rest | null = null;
  /** Of `performance.now()`. */
  restsUntilMs = 0;
  /** Who waited for the last piece of work, so that it was cancelled. */
  waiter: Waiter | null = null;

  private constructor(
    readonly session: Session,
    readonly pid: number,
  ) {}

  /** @throws Error of `pg`, when the server cannot be reached or refuses the login. */
  static async open(open: Opener, job: BackfillJob): Promise<Worker> {
    const session = await Session.open(open, job);
    const { rows } = await session.connection.query('SELECT pg_backend_pid() AS pid');
    return new Worker(session, rows[0].pid);
  }

  get connection(): Connection {
    return this.session.connection;
  }

  /** Waits for what our backend does; an abort cancels it, a server that is mute is given up. */
  async interruptibly<T>(
    work: Promise<T>,
    limits: Limits,
    reader: SignalWatch,
    signal: AbortSignal,
  ): Promise<T> {
    let ended = false;
    const cancel = async () => {
      // A cancel that arrives between two statements has no effect, so it is sent again.
      for (let i = 0; i < 20 && !ended; i++) {
        await endsWithin(reader.cancel(this.pid), 100);
        await endsWithin(work, 50);
      }
      if (!ended) await this.connection.end();
    };
    // Of the handful of statements in a chunk, each has ended by statement_timeout on a live server.
    const mute = setTimeout(() => void this.connection.end(), limits.statementMs * 5 + 30_000);
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) void cancel();
    const watch = reader.watchBlocked(this.pid);
    try {
      return await work;
    } finally {
      this.waiter = await watch.stop();
      ended = true;
      clearTimeout(mute);
      signal.removeEventListener('abort', cancel);
    }
  }
}
