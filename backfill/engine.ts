import { cancelBackend } from '../db/backend.js';
import type { Connection } from '../db/connect.js';
import { blocksSomeone, readRelation } from '../db/relation.js';
import type { Metrics } from '../metrics/registry.js';
import { Account, type Spent } from './account.js';
import { lockedReason } from './blockers.js';
import { type Checkpoint, readCheckpoint, tableOf } from './checkpoint.js';
import { restMs, retryWaitMs, timeouts } from './chunk.js';
import { beginFirstPass, choosePlan, fillChunk, type Limits, retryableState } from './fill.js';
import { Gauges } from './gauges.js';
import type { BackfillJob, ThrottleSettings } from './job.js';
import { Pacer } from './pace.js';
import type { PlannerSettings } from './plan.js';
import type { Progress } from './progress.js';
import { blockingReason } from './signals/blocking.js';
import { SignalWatch } from './signals/watch.js';
import { Stretches } from './stretch.js';
import { CriticalError, decide, pressureOf, type Reason, STALE_MS } from './throttle.js';
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
/**
 * A chunk is not begun on a look that began longer ago, milliseconds: time for a look to be taken
 * while a chunk of the usual length is filled, and for its rest.
 */
const FRESH_MS = 250;
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
  private readonly account: Account;
  private readonly gauges: Gauges;
  private readonly pacer = new Pacer();
  private readonly notes: string[] = [];
  private checkpoint: Checkpoint | null = null;
  private planner: PlannerSettings | null = null;
  private vacuumer: Vacuumer | null = null;
  private mayVacuum = false;
  private chunkMs = 0;
  private retries = 0;
  private failingSinceMs = 0;
  private yieldedMs = performance.now();
  private stoppedBy: string | null = null;
  private slowedBy: Reason | null = null;
  /** The question for the next chunk, which is asked while this one is filled. */
  private asked: Promise<ThrottleSettings> | null = null;

  constructor(
    private readonly options: EngineOptions,
    private readonly worker: Worker,
    private readonly reader: SignalWatch,
  ) {
    this.job = options.job;
    this.connection = worker.connection;
    this.account = new Account(performance.now(), options.spent);
    this.gauges = new Gauges(options.metrics, options.job.migration);
  }

  async *run(): AsyncGenerator<Progress, void> {
    await this.inspect();
    while (!this.options.signal.aborted && !this.isComplete()) {
      this.account.spend(performance.now(), 'filling');
      const settings = await this.answer();
      const stop = this.decide(settings);
      if (stop) yield* this.standStill(stop, TICK_MS);
      else if (this.isVacuumDue()) yield* this.vacuum();
      else yield* this.step(settings);
    }
  }

  /** The settings, and a look that began after the chunk before the last one was committed. */
  private async answer(): Promise<ThrottleSettings> {
    const { asked } = this;
    this.asked = null;
    const settings = asked && (await asked);
    return settings && this.reader.ageMs <= FRESH_MS ? settings : await this.ask();
  }

  private async ask(): Promise<ThrottleSettings> {
    const sinceMs = performance.now();
    const settings = await this.options.settings();
    const patienceMs = this.stoppedBy ? YIELD_MS - TICK_MS : STALE_MS;
    await this.reader.refresh(settings, sinceMs, patienceMs, this.options.signal);
    return settings;
  }

  /** Asks while a chunk is filled; what fails is told to who takes the answer. */
  private askAhead(): void {
    this.asked = this.ask();
    this.asked.catch(() => undefined);
  }

  /** Why to stand still; how fast to go otherwise is the pacer's. */
  private decide(settings: ThrottleSettings): Reason | null {
    const signals = this.reader.signals(settings);
    const stop = decide(signals);
    if (stop?.level === 'critical') throw new CriticalError(stop);
    const { ratio, factorMax, reason } = pressureOf(signals);
    // What is too old to go by stands for nothing; the fill stands still until it is known.
    this.pacer.observe(performance.now(), stop?.name === 'stale' ? 1 : ratio, factorMax);
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
    this.gauges.clear();
    // VACUUM by itself notices a lost client late. The fill's own connection is idle meanwhile.
    if (vacuumer?.running) await endsWithin(cancelBackend(this.connection, vacuumer.pid), 200);
    const ends = [this.connection.end(), vacuumer?.close(), this.reader.close(), this.asked];
    await endsWithin(Promise.allSettled(ends), 2_000);
  }

  private isComplete(): boolean {
    const { checkpoint } = this;
    return checkpoint !== null && checkpoint.nextBlock >= checkpoint.endBlock;
  }

  /** Refuses what ranges of blocks do not serve; reads the checkpoint. */
  private async inspect(): Promise<void> {
    const { connection, job } = this;
    const relation = await readRelation(connection, job.table.oid);
    if (relation?.kind !== 'r' || relation.accessMethod !== 'heap' || relation.temporary) {
      throw new Error(
        `${tableOf(job)} (oid ${job.table.oid}) is not an ordinary heap table that is there: ` +
          'give a job for each partition of a partitioned table; nothing else can be filled.',
      );
    }
    this.mayVacuum = relation.mayVacuum;
    if (!this.mayVacuum) {
      this.notes.push(
        `The role ${relation.role} may not VACUUM ${tableOf(job)}: the table can double in size. ` +
          `Let the owner run the backfill, or GRANT its owner's role to ${relation.role}.`,
      );
    }
    this.checkpoint = await readCheckpoint(connection, job.migrationId);
    this.record(0);
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
    const work = () => fillChunk(connection, job, checkpoint, stretch, limits, planner);
    this.askAhead();
    const step = yield* this.attempt(work, limits, stretch.blocks);
    if (!step) return;
    this.checkpoint = step.checkpoint;
    if (step.kind === 'restarted') {
      this.planner = null;
      stretches.restarted();
      this.record(0);
    } else {
      this.chunkMs = performance.now() - startedMs;
      const labels = { migration: job.migration };
      this.options.metrics.observe('pgtandem_backfill_chunk_seconds', labels, this.chunkMs / 1e3);
      // What comes before and after the UPDATE does not depend on the number of blocks.
      stretches.filled(stretch, step.rows, step.stayed, step.ms);
      this.record(step.rows);
    }
    if (!stretches.isWithin || this.isTimeToYield(null)) yield this.progress(null);
    if (!this.isComplete()) yield* this.rest();
  }

  /**
   * As long as others are at work, and longer while a soft signal slows it down: that part is cut
   * as soon as the signal allows it, however long it was to be when it began.
   */
  private async *rest(): AsyncGenerator<Progress> {
    const { chunkMs, pacer, options, slowedBy } = this;
    const usualMs = restMs(chunkMs, this.reader.others);
    const startedMs = performance.now();
    for (;;) {
      const slowerMs = pacer.restMs(chunkMs / 4) - chunkMs / 4;
      const leftMs = startedMs + usualMs + slowerMs - performance.now();
      if (leftMs >= 1) await wait(Math.min(leftMs, FRESH_MS), options.signal);
      if (leftMs <= FRESH_MS || options.signal.aborted) break;
      // A reason to stand still is found again before the next chunk.
      if (this.decide(await this.answer())) break;
      yield this.progress(null);
    }
    const reason = (this.slowedBy ?? slowedBy)?.name;
    if (reason === undefined) return;
    const seconds = Math.max(0, performance.now() - startedMs - usualMs) / 1000;
    const labels = { migration: this.job.migration, reason };
    options.metrics.count('pgtandem_backfill_slowed_seconds_total', labels, seconds);
    this.account.slow(reason, seconds);
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
      this.retries++;
      const labels = { migration: this.job.migration, sqlstate };
      this.options.metrics.count('pgtandem_backfill_retries_total', labels);
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
      this.account.spend(performance.now(), 'vacuum');
      const settings = await options.settings();
      await reader.refresh(settings, performance.now(), YIELD_MS, options.signal);
      const stop = decide(reader.signals(settings));
      // Autovacuum steps aside for a session that wants the table; a VACUUM by hand does not.
      const inTheWay = await blocksSomeone(this.connection, job.table.oid, vacuumer.pid);
      if (stop || inTheWay) await reader.cancel(vacuumer.pid);
      if (this.isTimeToYield(null)) yield this.progress(null);
    }
    const { outcome, error } = await running;
    this.account.spend(performance.now(), 'vacuum');
    const labels = { migration: job.migration, outcome };
    options.metrics.count('pgtandem_backfill_vacuums_total', labels);
    if (outcome !== 'failed') return;
    this.notes.splice(0, this.notes.length, `An interleaved VACUUM failed: ${error}`);
    await vacuumer.close();
    this.vacuumer = null;
  }

  /** Waits, counts the time by its reason, and tells about it now and then. */
  private async *standStill(why: Reason, ms: number): AsyncGenerator<Progress> {
    const untilMs = performance.now() + ms;
    while (!this.options.signal.aborted && performance.now() < untilMs) {
      if (this.isTimeToYield(why)) yield this.progress(why);
      await wait(Math.min(YIELD_MS, untilMs - performance.now()), this.options.signal);
      const seconds = this.account.spend(performance.now(), why.name);
      const labels = { migration: this.job.migration, reason: why.name };
      this.options.metrics.count('pgtandem_backfill_throttled_seconds_total', labels, seconds);
    }
    this.record(0);
  }

  private isTimeToYield(why: Reason | null): boolean {
    const changed = (why?.name ?? null) !== this.stoppedBy;
    return changed || performance.now() - this.yieldedMs >= YIELD_MS - TICK_MS;
  }

  private record(rows: number): void {
    const { checkpoint, options, job } = this;
    if (!checkpoint) return;
    this.account.spend(performance.now(), 'filling');
    this.account.reach(checkpoint.nextBlock, checkpoint.rowsFilled);
    const labels = { migration: job.migration };
    options.metrics.count('pgtandem_backfill_rows_total', labels, rows);
    options.metrics.set('pgtandem_backfill_progress_ratio', labels, ratioOf(checkpoint));
  }

  private progress(throttled: Reason | null): Progress {
    const { account, checkpoint } = this;
    this.yieldedMs = performance.now();
    this.stoppedBy = throttled?.name ?? null;
    const { nextBlock, endBlock } = checkpoint ?? { nextBlock: 0, endBlock: 0 };
    const progress: Progress = {
      migration: this.job.migration,
      pass: checkpoint?.pass ?? 1,
      blocksDone: nextBlock,
      blocksTotal: endBlock,
      ratio: checkpoint ? ratioOf(checkpoint) : 0,
      rowsFilled: checkpoint?.rowsFilled ?? 0,
      rowsLeft: checkpoint && account.rowsLeft(endBlock - nextBlock),
      rowsPerSecond: account.rowsPerSecond(),
      etaSeconds: checkpoint && account.etaSeconds(endBlock - nextBlock, endBlock),
      chunkMs: this.chunkMs,
      throttled,
      slowed: this.slowedBy,
      restFactor: this.pacer.factor,
      spent: account.spent(),
      shares: account.shares(),
      retries: this.retries,
      notes: [...this.notes],
      lag: this.reader.lags,
    };
    this.gauges.show(progress);
    return progress;
  }
}

function ratioOf({ nextBlock, endBlock }: Checkpoint): number {
  return endBlock === 0 ? 1 : Math.min(1, nextBlock / endBlock);
}
