import type { Connection, Opener } from '../db/connect.js';
import type { BackfillJob } from './job.js';

/**
 * READ COMMITTED whatever the role's default is: a stricter level fails on every row that the
 * application changed meanwhile, where this one waits for it and looks at its new version.
 */
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE';

/** Planner settings of a chunk's transaction, by name. */
export type PlannerSettings = Readonly<Record<string, 'on' | 'off'>>;

/** What a transaction may wait for, and for how long. */
export interface Limits {
  /** `lock_timeout`, milliseconds. */
  lockMs: number;
  /** `statement_timeout`, milliseconds. */
  statementMs: number;
}

/**
 * A connection on which one job's rows are filled. What holds for all of its transactions is set once, and
 * its statements are prepared: of a chunk of a few blocks, planning them and setting all that anew (which has
 * every plan made again: session_replication_role) would take as long as the rows do.
 */
export class Session {
  /** By their text and the settings they were planned under. */
  private readonly names = new Map<string, string>();
  private given = 0;

  private constructor(
    readonly connection: Connection,
    readonly job: BackfillJob,
  ) {}

  /** @throws Error of `pg`, when the server cannot be reached or refuses the login, or a setting. */
  static async open(open: Opener, job: BackfillJob): Promise<Session> {
    const connection = await open('backfill');
    try {
      return await Session.on(connection, job);
    } catch (error) {
      await connection.end();
      throw error;
    }
  }

  /** @param connection of which nobody else expects other settings. */
  static async on(connection: Connection, job: BackfillJob): Promise<Session> {
    await connection.query(settingsOf(job));
    return new Session(connection, job);
  }

  /** Begins a transaction, with the settings that are its own. */
  beginSql(limits: Limits, planner: PlannerSettings): string {
    const local = {
      lock_timeout: limits.lockMs,
      statement_timeout: limits.statementMs,
      ...planner,
    };
    const set = Object.entries(local).map(([name, value]) => `SET LOCAL ${name} = ${value};`);
    return `${BEGIN}; ${set.join(' ')}`;
  }

  /**
   * The name by which `EXECUTE` runs a statement, which is prepared in a transaction of its own where it is not
   * yet. It has one plan for all its values, made under these settings, and made again when the
   * server finds that the table, its indexes or its statistics have changed.
   * https://www.postgresql.org/docs/current/sql-prepare.html
   * @param types of its parameters, in parentheses; nothing of one that has none.
   */
  async prepared(
    text: string,
    types: string,
    limits: Limits,
    planner: PlannerSettings,
  ): Promise<string> {
    const key = JSON.stringify([text, planner]);
    const known = this.names.get(key);
    if (known !== undefined) return known;
    const name = this.newName();
    const begin = this.beginSql(limits, planner);
    await this.connection.query(`${begin} PREPARE ${name} ${types} AS ${text}; COMMIT`);
    this.names.set(key, name);
    return name;
  }

  /** One that no statement has: what was prepared stays, also where its transaction was rolled back. */
  newName(): string {
    return `pgtandem_${++this.given}`;
  }
}

function settingsOf(job: BackfillJob): string {
  const settings = {
    // The row locks are released at COMMIT, which then waits neither for the disk nor for a
    // synchronous standby. A crash can lose the last chunks, rows and checkpoint together, and
    // they are filled again. Whoever records later that the fill is complete commits after it in
    // the same WAL, so that record is never there without the rows.
    synchronous_commit: 'off',
    // A policy that hides rows from this role is an error, and not rows that are never filled.
    row_security: 'off',
    // Compiling is for statements of seconds.
    jit: 'off',
    // A plan for the values of each chunk would be the same one each time.
    plan_cache_mode: 'force_generic_plan',
    ...(job.silenceTriggers ? { session_replication_role: 'replica' } : {}),
  };
  return Object.entries(settings)
    .map(([name, value]) => `SET ${name} = ${value}`)
    .join('; ');
}
