import { endWithClient } from '../db/backend.js';
import type { Connection, Opener } from '../db/connect.js';
import { tableOf } from './checkpoint.js';
import type { BackfillJob } from './job.js';

/** A smaller table than 8 MB may well double for a while. */
const SMALLEST_BLOCKS = 1_024;

/** Dead versions as large as this share of the table are worth making their space free. */
export const VACUUM_SHARE = 0.1;

/**
 * `vacuum_cost_delay` where others are at work, milliseconds: some five hundred blocks a second, each of
 * which is read, changed and written to the WAL. Without it a VACUUM takes a core and the disk for itself.
 */
const DELAY_MS = 20;

/** Where the database or the role has a longer one, that stays. */
const GENTLE = `
  SELECT set_config(name, greatest(reset_val::float8, ${DELAY_MS})::text || 'ms', false)
  FROM pg_settings WHERE name = 'vacuum_cost_delay'`;

/** What a fill has left behind since the last VACUUM, or since it started. */
export interface Left {
  blocks: number;
  /** Rows filled in them, and how many of their new versions are in other blocks. */
  rows: number;
  moved: number;
}

/**
 * Pure: whether it is time to vacuum. A version whose successor is in the same block needs none:
 * its space is used again there (see parts.ts). Towards the end nothing would use it any more.
 */
export function vacuumDue(tableBlocks: number, blocksToDo: number, left: Left): boolean {
  const deadBlocks = left.rows > 0 ? (left.blocks * left.moved) / left.rows : 0;
  return (
    tableBlocks >= SMALLEST_BLOCKS &&
    deadBlocks >= tableBlocks * VACUUM_SHARE &&
    blocksToDo >= tableBlocks * VACUUM_SHARE &&
    // A stretch with hardly a row to fill has left hardly anything to clean.
    left.moved >= Math.max(1, left.blocks)
  );
}

export type VacuumOutcome = 'done' | 'skipped' | 'cancelled' | 'failed';

/**
 * Interleaved VACUUM, on a connection of its own. Without it a fill writes every row a second time
 * and the table doubles; with it the versions to come find the space of those before.
 *
 * Indexes are left alone (INDEX_CLEANUP OFF: passing over them for each tenth would cost more than
 * the table), as are the TOAST table (values that do not change are not written again) and the
 * file's end (TRUNCATE would take ACCESS EXCLUSIVE). It waits for no lock: SKIP_LOCKED. While an
 * old transaction is open it frees nothing, and costs a reading of what changed.
 * https://www.postgresql.org/docs/current/sql-vacuum.html
 */
export class Vacuumer {
  private skipped = false;
  /** Whether a VACUUM is under way. */
  running = false;

  private constructor(
    private readonly connection: Connection,
    readonly pid: number,
    private readonly table: string,
  ) {
    // A VACUUM that cannot be had at once or is not permitted is a warning and no error. Its text
    // is in the server's language; VACUUM warns of nothing else in these options.
    connection.on('notice', () => {
      this.skipped = true;
    });
  }

  static async open(open: Opener, job: BackfillJob): Promise<Vacuumer> {
    const connection = await open('backfill vacuum');
    // For the indexes: SKIP_LOCKED is of the table alone.
    await connection.query('SET lock_timeout = 100');
    await endWithClient(connection);
    const { rows } = await connection.query('SELECT pg_backend_pid() AS pid');
    return new Vacuumer(connection, rows[0].pid, tableOf(job));
  }

  /**
   * Never rejects: a VACUUM that fails is told as such, and the fill goes on without.
   * @param beside whether others are at work.
   */
  async run(beside: boolean): Promise<{ outcome: VacuumOutcome; error: unknown }> {
    this.skipped = false;
    this.running = true;
    try {
      await this.connection.query(beside ? GENTLE : 'RESET vacuum_cost_delay');
      await this.connection.query(
        `VACUUM (INDEX_CLEANUP OFF, TRUNCATE OFF, PROCESS_TOAST OFF, SKIP_LOCKED) ${this.table}`,
      );
      return { outcome: this.skipped ? 'skipped' : 'done', error: null };
    } catch (error) {
      const { code } = error as { code?: unknown };
      return { outcome: code === '57014' ? 'cancelled' : 'failed', error };
    } finally {
      this.running = false;
    }
  }

  /** Ends the connection at once, also in the midst of a VACUUM. */
  async close(): Promise<void> {
    await this.connection.end();
  }
}
