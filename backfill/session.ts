import type { QueryResult } from 'pg';
import type { Connection, Opener } from '../db/connect.js';
import type { BackfillJob } from './job.js';

/** Planner settings of a chunk's statement, by name. */
export type PlannerSettings = Readonly<Record<string, 'on' | 'off'>>;

/** What a transaction may wait for, and for how long. */
export interface Limits {
  /** `lock_timeout`, milliseconds. */
  lockMs: number;
  /** `statement_timeout`, milliseconds. */
  statementMs: number;
}

/** A statement that is prepared. */
export interface Statement {
  text: string;
  /** Of its parameters, in parentheses. */
  types: string;
}

export interface Call {
  statement: Statement;
  values: string;
}

export interface Manner {
  limits: Limits;
  planner: PlannerSettings;
  /** What `pg_stat_activity` shows with it, where a statement that is prepared is only a name. */
  note: string;
}

/**
 * A connection on which one job's rows are filled. What holds for all of its statements is set once, and they
 * are prepared: of a chunk of a few blocks, planning them and setting all that anew (which has
 * every plan made again: session_replication_role) would take as long as the rows do.
 */
export class Session {
  /** By their text and the settings they are planned under. */
  private readonly names = new Map<string, string>();
  private given = 0;
  /** What was set last; null: not known, as what was set together with a statement that failed. */
  private set: string | null = null;
  private readonly plannerNames = new Set<string>();

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

  /** Begins a transaction, with limits that are its own. */
  beginSql(limits: Limits): string {
    const set = Object.entries(limitsOf(limits)).map(([name, value]) => `${name} = ${value}`);
    return `BEGIN; ${set.map((each) => `SET LOCAL ${each};`).join(' ')}`;
  }

  /**
   * Runs statements with these values, which are a transaction together and, but for the first time, one
   * round trip. Each has one plan for all values, made under these settings, and made again when the
   * server finds that the table, its indexes or its statistics have changed.
   * https://www.postgresql.org/docs/current/sql-prepare.html
   * @param calls with values in SQL, in parentheses.
   * @returns what the last one gives.
   */
  async execute(calls: readonly Call[], { limits, planner, note }: Manner): Promise<QueryResult> {
    const texts: string[] = [];
    for (const { statement, values } of calls) {
      const name = await this.prepared(statement, limits, planner);
      texts.push(`EXECUTE ${name} ${values}`);
    }
    return await this.with(limits, planner, texts.join('; '), `/* ${note} */ `);
  }

  private async prepared(
    { text, types }: Statement,
    limits: Limits,
    planner: PlannerSettings,
  ): Promise<string> {
    const key = JSON.stringify([text, planner]);
    const known = this.names.get(key);
    if (known !== undefined) return known;
    const name = this.newName();
    await this.with(limits, planner, `PREPARE ${name} ${types} AS ${text}`);
    this.names.set(key, name);
    return name;
  }

  /** A plan is to be looked for anew: what another one was made under is as it was. */
  async resetPlanner(): Promise<void> {
    const names = [...this.plannerNames].map((name) => `RESET ${name}`);
    this.set = null;
    if (names.length > 0) await this.connection.query(names.join('; '));
    this.plannerNames.clear();
  }

  /** One that no statement has: what was prepared stays, also where its transaction was rolled back. */
  newName(): string {
    return `pgtandem_${++this.given}`;
  }

  /** Several statements in one message are one transaction: what is set fails with the statement. */
  private async with(
    limits: Limits,
    planner: PlannerSettings,
    sql: string,
    note = '',
  ): Promise<QueryResult> {
    const set = setSql({ ...limitsOf(limits), ...planner });
    const text = set === this.set ? sql : `${set}; ${sql}`;
    this.set = null;
    for (const name of Object.keys(planner)) this.plannerNames.add(name);
    const results = await severalOf(this.connection, note + text);
    this.set = set;
    return results.at(-1)!;
  }
}

/** Runs statements in one round trip. @returns a result each. */
export async function severalOf(connection: Connection, sql: string): Promise<QueryResult[]> {
  return [(await connection.query(sql)) as QueryResult | QueryResult[]].flat();
}

function limitsOf({ lockMs, statementMs }: Limits): Record<string, number> {
  return { lock_timeout: lockMs, statement_timeout: statementMs };
}

function settingsOf(job: BackfillJob): string {
  return setSql({
    // Whatever the role's default is: a stricter level fails on every row that the application
    // changed meanwhile, where this one waits for it and looks at its new version.
    default_transaction_isolation: `'read committed'`,
    default_transaction_read_only: 'off',
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
  });
}

function setSql(settings: Record<string, string | number>): string {
  return Object.entries(settings)
    .map(([name, value]) => `SET ${name} = ${value}`)
    .join('; ');
}
