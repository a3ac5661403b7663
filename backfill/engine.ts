import { cancelBackend } from '../db/backend.js';
import type { Connection } from '../db/connect.js';
import { blocksSomeone } from '../db/relation.js';
import type { Metrics } from '../metrics/registry.js';
import type { Spent } from './account.js';
import { lockedReason } from './blockers.js';
import { type Checkpoint, readCheckpoint } from './checkpoint.js';
import { restMs, retryWaitMs, timeouts } from './chunk.js';
import { beginFirstPass, choosePlan, fillChunk, type Limits, retryableState } from './fill.js';
import { inspect } from './inspect.js';
import type { BackfillJob, ThrottleSettings } from './job.js';
import { Pacer } from './pace.js';
import type { PlannerSettings } from './plan.js';
import type { Progress } from './progress.js';
import { Question } from './question.js';
import { Report } from './report.js';
import { blockingReason } from './signals/blocking.js';
import { SignalWatch } from './signals/watch.js';
import { Stretches } from './stretch.js';
import { CriticalError, decide, pressureOf, type Reason } from './throttle.js';
import { Vacuumer, vacuumDue } from './vacuum.js';
import { endsWithin, wait } from './wait.js';
import { Worker } from './worker.js';

export interface EngineOptions {
  url: string;
  job: BackfillJob;
  /** Asked before each chunk, so that the thresholds can be changed while it runs. */
  settings: () => Promise<ThrottleSettings> | ThrottleSettings;
  metrics: Metrics;
  /** Pause: the backfill ends soon, and the next one goes on at the checkpoint. */
  signal: AbortSignal;
  /** What earlier runs told of their time with their last progress. */
  spent?: Spent | null;
}

export interface Result {
  outcome: 'complete' | 'aborted';
  pass: number;
  /** Since the migration began, over restarts. */
  rowsFilled: number;
}

/** How long it stands still before the question is asked again, milliseconds. */
const TICK_MS = 100;
/** At most so long between two yields while it stands still. */
const YIELD_MS = 500;

/**
 * Fills a table from its checkpoint to the end of its pass. Yields after each chunk, and about
 * twice a second while it stands still.
 * @throws Error when the connection is lost, the job cannot be done or settings() fails; the caller
 *   starts it again, at the cost of one chunk.
 * @throws CriticalError when a signal that is critical is beyond its threshold: an operator decides.
 */
export async function* runBackfill(options: EngineOptions): AsyncGenerator<Progress, Result> {
  const worker = await Worker.open(options.url);
  const { url, job, metrics } = options;
  const reader = await SignalWatch.open(url, job, metrics).catch(async (error) => {
    await worker.connection.end();
    throw error;
  });
  const engine = new Engine(options, worker, reader);
  try {
    yield* engine.run();
  } catch (error) {
    // What was cancelled or cut off by the abort itself fails, and is not an error to the caller.
    if (!options.signal.aborted) throw error;
  } finally {
    await engine.close();
  }
  return engine.result();
}

/** Sequences only: asks a decider, does the one effect, records it. */
class Engine {
  private readonly job: BackfillJob;
  private readonly connection: Connection;
  private readonly stretches = new Stretches();
  private readonly report: Report;
  private readonly question: Question;
  private readonly pacer = new Pacer();
  private checkpoint: Checkpoint | null = null;
  private planner: PlannerSettings | null = null;
  private vacuumer: Vacuumer | null = null;
  private mayVacuum = false;
  private failingSinceMs = 0;
  private slowedBy: Reason | null = null;

  constructor(
    private readonly options: EngineOptions,
    private readonly worker: Worker,
    private readonly reader: SignalWatch,
  ) {
    this.job = options.job;
    this.connection = worker.connection;
    this.report = new Report(options.metrics, options.job.migration, options.spent ?? null);
    this.question = new Question(options.settings, reader, options.signal);
  }

  async *run(): AsyncGenerator<Progress, void> {
    const { mayVacuum, notes } = await inspect(this.connection, this.job);
    this.mayVacuum = mayVacuum;
    this.report.notes.push(...notes);
    this.checkpoint = await readCheckpoint(this.connection, this.job.migrationId);
    this.report.reach(this.checkpoint, 0);
    while (!this.options.signal.aborted && !this.isComplete()) {
      this.report.spend('filling');
      const settings = await this.question.answer();
      const stop = this.decide(settings);
      if (stop) yield* this.standStill(stop, TICK_MS);
      else if (this.isVacuumDue()) yield* this.vacuum();
      else yield* this.step(settings);
    }
  }

  /** Why to stand still; how fast to go otherwise is the pacer's. */
  private decide(settings: ThrottleSettings): Reason | null {
    const signals = this.reader.signals(settings);
    const stop = decide(signals);
    if (stop?.level === 'critical') throw new CriticalError(stop);
    const { ratio, factorMax, reason } = pressureOf(signals);
    this.pacer.observe(performance.now(), ratio, factorMax);
    this.slowedBy = reason ?? (this.pacer.factor > 1.05 ? this.slowedBy : null);
    return stop;
  }

  result(): Result {
    const outcome = this.isComplete() ? 'complete' : 'aborted';
    const { pass, rowsFilled } = this.checkpoint ?? { pass: 0, rowsFilled: 0 };
    return { outcome, pass, rowsFilled };
  }

  async close(): Promise<void> {
    const { vacuumer } = this;
    this.report.clear();
    // VACUUM by itself notices a lost client late. The fill's own connection is idle meanwhile.
    if (vacuumer?.running) await endsWithin(cancelBackend(this.connection, vacuumer.pid), 200);
    const ends = [this.connection.end(), vacuumer?.close(), this.reader.close()];
    ends.push(this.question.ended());
    await endsWithin(Promise.allSettled(ends), 2_000);
  }

  private isComplete(): boolean {
    const { checkpoint } = this;
    return checkpoint !== null && checkpoint.nextBlock >= checkpoint.endBlock;
  }

  /** One transaction: begin the first pass, look at the plan, or fill a chunk. */
  private async *step(settings: ThrottleSettings): AsyncGenerator<Progress> {
    const { connection, job, checkpoint, planner } = this;
    const limits = timeouts(settings.chunkTargetMs, this.stretches.failures);
    if (!checkpoint) {
      const work = () => beginFirstPass(connection, job, limits);
      this.checkpoint = yield* this.attempt(work, limits, 1);
    } else if (!planner) {
      const work = () => choosePlan(connection, job, checkpoint, limits);
      this.planner = yield* this.attempt(work, limits, 1);
    } else {
      yield* this.fill(checkpoint, planner, settings.chunkTargetMs, limits);
    }
  }

  /** One part of a stretch of blocks; the last takes the checkpoint on to the next stretch. */
  private async *fill(
    checkpoint: Checkpoint,
    planner: PlannerSettings,
    targetMs: number,
    limits: Limits,
  ): AsyncGenerator<Progress> {
    const { connection, job, stretches } = this;
    const stretch = stretches.next(checkpoint, targetMs);
    const startedMs = performance.now();
    let chunkMs = 0;
    const work = () => fillChunk(connection, job, checkpoint, stretch, limits, planner);
    this.question.askAhead();
    const step = yield* this.attempt(work, limits, stretch.blocks);
    if (!step) return;
    this.checkpoint = step.checkpoint;
    if (step.kind === 'restarted') {
      this.planner = null;
      stretches.restarted();
      this.report.reach(step.checkpoint, 0);
    } else {
      chunkMs = performance.now() - startedMs;
      this.report.chunk(chunkMs);
      // What comes before and after the UPDATE does not depend on the number of blocks.
      stretches.filled(stretch, step.rows, step.stayed, step.ms);
      this.report.reach(step.checkpoint, step.rows);
    }
    if (!stretches.isWithin || this.report.isDue(null)) yield this.progress(null);
    if (!this.isComplete()) await this.rest(chunkMs);
  }

  /** As long as others are at work, and longer while a soft signal slows it down. */
  private async rest(chunkMs: number): Promise<void> {
    const slowerMs = this.pacer.restMs(chunkMs / 4) - chunkMs / 4;
    const ms = restMs(chunkMs, this.reader.others) + slowerMs;
    if (ms >= 1) await wait(ms, this.options.signal);
    if (this.slowedBy) this.report.slow(this.slowedBy, slowerMs);
  }

  /** Does one piece of work; when it failed in a way that passes, waits a while and gives null. */
  private async *attempt<T>(
    work: () => Promise<T>,
    limits: Limits,
    blocks: number,
  ): AsyncGenerator<Progress, T | null> {
    try {
      return await this.worker.interruptibly(work(), limits, this.reader, this.options.signal);
    } catch (error) {
      const sqlstate = retryableState(error);
      if (sqlstate === null || this.options.signal.aborted) throw error;
      if (this.stretches.failures === 0) this.failingSinceMs = performance.now();
      this.stretches.failed(blocks);
      this.report.retry(sqlstate);
      const failure = {
        from: this.checkpoint?.nextBlock ?? 0,
        blocks,
        sqlstate,
        failures: this.stretches.failures,
        ms: performance.now() - this.failingSinceMs,
      };
      const why = this.worker.waiter
        ? blockingReason(this.worker.waiter)
        : await lockedReason(this.connection, this.job, failure);
      yield* this.standStill(why, retryWaitMs(this.stretches.failures));
      return null;
    }
  }

  private isVacuumDue(): boolean {
    const { nextBlock, endBlock } = this.checkpoint ?? { nextBlock: 0, endBlock: 0 };
    return this.mayVacuum && vacuumDue(endBlock, endBlock - nextBlock, this.stretches.left);
  }

  /** The fill waits for it; it gives way to whatever would have stopped a chunk, and to DDL. */
  private async *vacuum(): AsyncGenerator<Progress> {
    const { reader, options, job } = this;
    const vacuumer = this.vacuumer ?? (await Vacuumer.open(options.url, job));
    this.vacuumer = vacuumer;
    this.stretches.vacuumed();
    const running = vacuumer.run();
    while (vacuumer.running) {
      await Promise.race([running, wait(TICK_MS, options.signal)]);
      if (options.signal.aborted) return;
      if (!vacuumer.running) break;
      this.report.spend('vacuum');
      const settings = await options.settings();
      await reader.refresh(settings, performance.now(), YIELD_MS, options.signal);
      const stop = decide(reader.signals(settings));
      // Autovacuum steps aside for a session that wants the table; a VACUUM by hand does not.
      const inTheWay = await blocksSomeone(this.connection, job.table.oid, vacuumer.pid);
      if (stop || inTheWay) await reader.cancel(vacuumer.pid);
      if (this.report.isDue(null)) yield this.progress(null);
    }
    const { outcome, error } = await running;
    this.report.vacuumed(outcome);
    if (outcome !== 'failed') return;
    this.report.notes.splice(0, this.report.notes.length, `An interleaved VACUUM failed: ${error}`);
    await vacuumer.close();
    this.vacuumer = null;
  }

  /** Waits, counts the time by its reason, and tells about it now and then. */
  private async *standStill(why: Reason, ms: number): AsyncGenerator<Progress> {
    const untilMs = performance.now() + ms;
    this.question.isStill = true;
    while (!this.options.signal.aborted && performance.now() < untilMs) {
      if (this.report.isDue(why)) yield this.progress(why);
      await wait(Math.min(YIELD_MS, untilMs - performance.now()), this.options.signal);
      this.report.still(why);
    }
    this.report.reach(this.checkpoint, 0);
  }

  private progress(throttled: Reason | null): Progress {
    this.question.isStill = throttled !== null;
    const { checkpoint, slowedBy: slowed, pacer, reader } = this;
    const restFactor = pacer.factor;
    return this.report.progress({ checkpoint, throttled, slowed, restFactor, lag: reader.lags });
  }
}
