import { type Reason, reason, since } from '../throttle.js';
import { endsWithin } from '../wait.js';

/** A session that waited for a lock of ours. */
export interface Waiter {
  pid: number;
  application: string;
  ms: number;
}

/**
 * How long a chunk runs before it is looked whether somebody waits for it, and how often then,
 * milliseconds. A chunk of the usual length has ended by then.
 */
const EVERY_MS = 50;

/**
 * Cancels our backend in the same statement that sees somebody wait for it, for a row, the table,
 * or anything else. Our own sessions may wait for each other.
 */
export const SEE_AND_CANCEL = `
SELECT w.pid, w.application, w.ms, pg_catalog.pg_cancel_backend($1) AS cancelled
FROM (SELECT l.pid, coalesce(a.application_name, '') AS application,
        coalesce(extract(epoch FROM clock_timestamp() - l.waitstart) * 1000, 0)::float8 AS ms
      FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      WHERE NOT l.granted AND l.pid <> $1
        AND coalesce(a.application_name, '') NOT LIKE 'pgtandem backfill%'
        AND $1 = ANY (pg_catalog.pg_blocking_pids(l.pid))
      ORDER BY ms DESC LIMIT 1) w`;

/** Looks on while a chunk runs, and has it cancelled when it is in somebody's way. */
export class BlockingWatch {
  private waiter: Waiter | null = null;
  private asking: Promise<void> = Promise.resolve();
  private busy = false;
  private readonly timer: NodeJS.Timeout;

  /** @param ask runs {@link SEE_AND_CANCEL}; its failures are the caller's to notice elsewhere. */
  constructor(private readonly ask: () => Promise<Waiter | null>) {
    this.timer = setInterval(() => {
      if (!this.busy) this.asking = this.look();
    }, EVERY_MS);
  }

  /**
   * Ends it. No cancel of it is under way any more, but where the server is mute; a cancel that comes
   * late costs one more attempt.
   * @returns who waited for us.
   */
  async stop(): Promise<Waiter | null> {
    clearInterval(this.timer);
    await endsWithin(this.asking, 500);
    return this.waiter;
  }

  private async look(): Promise<void> {
    this.busy = true;
    try {
      this.waiter = (await this.ask()) ?? this.waiter;
    } catch {
      // The connection is lost: the next look at the signals says so, and ends the run.
      clearInterval(this.timer);
    }
    this.busy = false;
  }
}

export function blockingReason({ pid, application, ms }: Waiter): Reason {
  const who = `pid ${pid}${application ? ` (${application})` : ''}`;
  return reason('blocking', `${who} waited for the chunk for ${since(ms)}; it was given up`);
}
