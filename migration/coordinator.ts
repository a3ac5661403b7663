import { type Connection, connect, instanceOf, sqlState } from '../db/connect.js';
import { CHANNEL, installSchema } from '../db/schema.js';
import type { Metrics } from '../metrics/registry.js';
import { type Context, type Log, StoppedError } from './context.js';
import { type Failing, Failures } from './failures.js';
import { followNames, lookAround, readRules } from './observe.js';
import { refreshOrder } from './order.js';
import { ENDED } from './phase.js';
import { ownName } from './plan.js';
import { trimSeen } from './seen.js';
import { assertTable } from './shape.js';
import { STEPS } from './steps.js';
import { listMigrations, type Migration, MovedError, pauseIn, saveProgress } from './store.js';
import { pauseForStrays } from './strays.js';
import { Wake } from './wake.js';

export interface CoordinatorOptions {
  url: string;
  metrics: Metrics;
  log: Log;
  /** Told when the address leads to another server than that at which it reigns. */
  stray?: () => void;
}

/** Key of the advisory lock that makes a process the coordinator of a database. */
const LOCK_KEY = `hashtextextended('pgtandem.coordinator', 0)`;

/** How soon what was lost is asked for again, and how long nothing is looked at, milliseconds. */
const RETRY_MS = 1_000;

/**
 * How often the guard's counters, the names of the rules' tables, and the columns whose order is
 * kept, are read, milliseconds.
 */
const COUNTERS_MS = 1_000;
/** How often what was seen is made less, milliseconds. */
const TRIM_MS = 60_000;

/**
 * Carries migrations out, in whichever proxy process holds the advisory lock; the others stand by.
 * It only sequences: it reads where each migration stands and runs the step of that phase
 * (steps.ts); whoever moves a migration otherwise, or pauses it, ends the step that is running.
 */
export class Coordinator {
  private present: Connection | null = null;
  private readonly wake = new Wake();
  /** How often the database has moved. */
  private moves = 0;
  /** Aborted when it moves. */
  private moving = new AbortController();

  constructor(private readonly options: CoordinatorOptions) {}

  /** Runs until `signal` aborts; a lost connection is made again. */
  async run(signal: AbortSignal): Promise<void> {
    const { wake } = this;
    while (!signal.aborted) {
      try {
        await this.reign(signal, wake);
      } catch (error) {
        this.options.log.warn({ error: String(error) }, 'coordinator: connection lost, again soon');
      }
      await wake.wait(RETRY_MS, signal);
    }
  }

  /** The database is at another server now: what is done at the one before ends, at once. */
  moved(): void {
    this.moves++;
    this.moving.abort();
    this.moving = new AbortController();
    this.present?.end().catch(() => undefined);
    this.wake.ring();
  }

  private async reign(signal: AbortSignal, wake: Wake): Promise<void> {
    const { moves, moving } = this;
    const { url } = this.options;
    const connection = await unless(moving.signal, connect({ url, role: 'coordinator' }));
    this.present = connection;
    let leave = (): void => undefined;
    try {
      await installSchema(connection);
      await connection.query(`LISTEN ${CHANNEL}`);
      leave = wake.listenTo(connection);
      // It asks again and again: a statement that waits would hold back the horizon of vacuum.
      while (!(await takesLock(connection))) {
        await wake.wait(RETRY_MS, signal);
        if (signal.aborted || moves !== this.moves) return;
      }
      await this.supervise(connection, signal, moves);
    } finally {
      leave();
      this.options.metrics.forgetPhases();
      // A server that was left may be one that hangs.
      const ended = connection.end().catch(() => undefined);
      if (moves === this.moves) await ended;
      this.present = null;
    }
  }

  /** @param moves how often the database had moved when it began. */
  private async supervise(
    connection: Connection,
    signal: AbortSignal,
    moves: number,
  ): Promise<void> {
    const { wake } = this;
    const instance = await instanceOf(connection);
    const tasks = new Map<number, Task>();
    const failures = new Failures();
    let countersAt = 0;
    let trimAt = 0;
    try {
      while (!signal.aborted && moves === this.moves) {
        const isDue = performance.now() >= countersAt;
        const now = isDue ? await readRules(connection) : null;
        const migrations = await listMigrations(connection);
        for (const migration of migrations) {
          const running = tasks.get(migration.id);
          if (running && running.key !== keyOf(migration)) running.stop();
          // Who resumes it has it tried again at once.
          if (migration.paused !== null) failures.forget(migration.id);
          const waits = failures.waits(migration.id, keyOf(migration), performance.now());
          if (running || migration.paused !== null || waits || ENDED.has(migration.phase.name)) {
            continue;
          }
          const task = new Task(this.options, instance, migration, () => {
            tasks.delete(migration.id);
            this.ended(task, failures);
            wake.ring();
          });
          tasks.set(migration.id, task);
        }
        this.showPhases(migrations);
        for (const migration of migrations) {
          const runsMs = tasks.get(migration.id)?.ranMs ?? 0;
          const failing = failures.failing(migration.id, keyOf(migration), runsMs);
          await showFailing(connection, migration, failing);
        }
        if (performance.now() >= trimAt) {
          await trimSeen(connection);
          trimAt = performance.now() + TRIM_MS;
        }
        if (now) {
          const around = await lookAround(connection, now, migrations);
          await followNames(connection, around);
          await pauseForStrays(connection, around);
          for (const migration of migrations) {
            await this.readCounters(connection, migration);
            if (ENDED.has(migration.phase.name) && migration.stage.name === 'ordered') {
              await refreshOrder(connection, migration);
            }
          }
          countersAt = performance.now() + COUNTERS_MS;
        }
        for (const task of tasks.values()) task.wake.ring();
        await wake.wait(RETRY_MS, signal);
      }
    } finally {
      for (const task of tasks.values()) task.stop();
      if (moves !== this.moves) for (const task of tasks.values()) task.abandon();
      await Promise.all([...tasks.values()].map((task) => task.done));
    }
  }

  private ended({ failed, hasPaused, key, migration, ranMs }: Task, failures: Failures): void {
    const { id, name } = migration;
    if (failed === null) {
      failures.forget(id);
      return;
    }
    const { metrics } = this.options;
    metrics.count('pgtandem_step_failures_total', { migration: name, phase: migration.phase.name });
    // Also of one that has paused: what was read of the migrations before that does not begin it again.
    const againMs = failures.add(id, key, ranMs, performance.now(), failed, new Date());
    if (!hasPaused)
      this.options.log.info({ migration: name, againMs }, 'what failed is tried again');
  }

  private showPhases(migrations: Migration[]): void {
    for (const { name, phase } of migrations) {
      this.options.metrics.showPhase(name, phase.name);
    }
  }

  /** Reads how often the guard had to step in; in sequences, which count without locks. */
  private async readCounters(connection: Connection, migration: Migration): Promise<void> {
    if (ENDED.has(migration.phase.name) || migration.stage.name === 'none') return;
    const oid = migration.plan.table.oid;
    const { rows } = await connection.query({
      name: 'counters',
      text: `SELECT c.relname AS name, pg_sequence_last_value(c.oid) AS value
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'pgtandem' AND c.relname = ANY ($1)`,
      values: [[ownName('repairs', oid), ownName('misfits', oid)]],
    });
    const value = (kind: 'repairs' | 'misfits') =>
      Number(rows.find((row) => row.name === ownName(kind, oid))?.value ?? 0);
    const [repairs, misfits] = [value('repairs'), value('misfits')];
    this.options.metrics.set('pgtandem_guard_repairs', { migration: migration.name }, repairs);
    if (migration.progress.repairs !== repairs || migration.progress.misfits !== misfits) {
      await saveProgress(connection, migration.id, { repairs, misfits });
    }
  }
}

/**
 * What is connected to, unless that server is left before it has answered.
 * @throws Error when it is, and what the attempt throws.
 */
function unless(left: AbortSignal, attempt: Promise<Connection>): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      reject(new Error('the database is at another server now'));
      attempt.then((connection) => connection.end()).catch(() => undefined);
    };
    left.addEventListener('abort', giveUp, { once: true });
    attempt.then(resolve, reject).finally(() => left.removeEventListener('abort', giveUp));
  });
}

async function takesLock(connection: Connection): Promise<boolean> {
  const { rows } = await connection.query(`SELECT pg_try_advisory_lock(${LOCK_KEY}) AS mine`);
  return rows[0].mine;
}

/** Shows in a migration's progress that its step fails, or that it does not any more. */
async function showFailing(
  connection: Connection,
  migration: Migration,
  failing: Failing | null,
): Promise<void> {
  const shown = (migration.progress.failing ?? null) as Failing | null;
  if (shown?.at === failing?.at) return;
  await saveProgress(connection, migration.id, { failing });
}

/** Phases that take away what is ours wherever it is found. */
const CLEANING: ReadonlySet<string> = new Set(['aborting', 'completing']);

const keyOf = (migration: Migration) => JSON.stringify([migration.phase, migration.paused]);

/** One run of the step of a migration's phase, on connections of its own. */
class Task {
  readonly key: string;
  readonly wake = new Wake();
  readonly done: Promise<void>;
  /** Why it has failed. */
  failed: string | null = null;
  /** And the migration waits for a person. */
  hasPaused = false;
  private readonly controller = new AbortController();
  private readonly opened: Connection[] = [];
  private readonly startedMs = performance.now();

  constructor(
    private readonly options: CoordinatorOptions,
    /** Where the coordinator reigns: nothing may be done anywhere else. */
    private readonly instance: string,
    readonly migration: Migration,
    ended: () => void,
  ) {
    this.key = keyOf(migration);
    this.done = this.run().finally(ended);
  }

  /** How long it has run, milliseconds. */
  get ranMs(): number {
    return performance.now() - this.startedMs;
  }

  stop(): void {
    this.controller.abort();
    this.wake.ring();
  }

  /** Its server may not answer any more. */
  abandon(): void {
    for (const connection of this.opened) connection.end().catch(() => undefined);
  }

  private async run(): Promise<void> {
    const { log, metrics, url } = this.options;
    const { migration, opened } = this;
    const open = async (role: string) => {
      const connection = await connect({ url, role: `${role} ${migration.name}` });
      opened.push(connection);
      if ((await instanceOf(connection)) !== this.instance) {
        this.options.stray?.();
        throw new Error('the address of the database leads to another server now');
      }
      return connection;
    };
    let stopCancelling = (): void => undefined;
    let leave = (): void => undefined;
    try {
      const observer = await open('observer');
      const connection = await open('migration');
      await connection.query(`LISTEN ${CHANNEL}`);
      leave = this.wake.listenTo(connection);
      const { signal } = this.controller;
      stopCancelling = cancelOnAbort(signal, connection, observer, log);
      log.info({ migration: migration.name, phase: migration.phase.name }, 'phase');
      const { instance, wake } = this;
      const context: Context = { url, instance, connection, observer, metrics, log, signal, wake };
      if (!CLEANING.has(migration.phase.name)) await assertTable(connection, migration.plan);
      await STEPS[migration.phase.name](context, migration);
    } catch (error) {
      await this.deal(error);
    } finally {
      stopCancelling();
      leave();
      await Promise.all(opened.map((connection) => connection.end().catch(() => undefined)));
    }
  }

  /**
   * A lost connection or a full server passes: again, soon and then more slowly. An error of the migration itself (a
   * value that `up` can't take, a lost privilege) needs a person: it pauses with the reason.
   */
  private async deal(error: unknown): Promise<void> {
    const { log, url } = this.options;
    const { migration } = this;
    if (error instanceof StoppedError || error instanceof MovedError) return;
    if (this.controller.signal.aborted && sqlState(error) === '57014') return;
    const reason = error instanceof Error ? error.message : String(error);
    this.failed = reason;
    log.warn({ migration: migration.name, phase: migration.phase.name, error: reason }, 'failed');
    if (isTransient(error)) return;
    try {
      const connection = await connect({ url, role: 'coordinator' });
      this.hasPaused = await pauseIn(connection, migration, reason);
      await connection.end();
    } catch (lost) {
      log.warn({ error: String(lost) }, 'could not pause; the step will be tried again');
    }
  }
}

/** A statement that waits (VALIDATE, CREATE INDEX) is cancelled when the step is told to stop. */
function cancelOnAbort(
  signal: AbortSignal,
  connection: Connection,
  observer: Connection,
  log: Log,
): () => void {
  const pid = (connection as unknown as { processID: number }).processID;
  let isOver = false;
  const cancel = () => {
    observer.query('SELECT pg_cancel_backend($1)', [pid]).catch((error) => {
      // A step that moves its own migration is told to stop for it, and may have ended by then.
      if (isOver) return;
      log.warn({ error: String(error) }, 'could not cancel; the step ends when its statement does');
    });
  };
  signal.addEventListener('abort', cancel, { once: true });
  return () => {
    isOver = true;
    signal.removeEventListener('abort', cancel);
  };
}

/** Whether an error is of the connection or the server's state, not of the migration. Pure. */
export function isTransient(error: unknown): boolean {
  const lasting = ['DisprovedError', 'ShapeError', 'CriticalError'];
  if (error instanceof Error && lasting.includes(error.name)) return false;
  const state = sqlState(error);
  if (state === undefined) return true;
  return (
    /^(08|53|57P0|58)/.test(state) || ['25006', '40001', '40P01', '55P03', '57014'].includes(state)
  );
}
