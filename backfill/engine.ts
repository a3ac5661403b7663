import { cancelBackend } from '../db/backend.js';
import { type Opener, openerOf } from '../db/connect.js';
import { blocksSomeone } from '../db/relation.js';
import type { Metrics } from '../metrics/registry.js';
import type { Spent } from './account.js';
import { lockedReason } from './blockers.js';
import { readCheckpoint } from './checkpoint.js';
import { chunkTarget, restMs, retryWaitMs, timeouts } from './chunk.js';
import { Crew } from './crew.js';
import { beginNextPass, choosePlan, retryableState } from './fill.js';
import { Go } from './go.js';
import { inspect } from './inspect.js';
import { type BackfillJob, fillWorkersOf, type ThrottleSettings } from './job.js';
import { crewOf, Pacer, restTimes } from './pace.js';
import type { Progress } from './progress.js';
import { AHEAD_MS, Question } from './question.js';
import { Report } from './report.js';
import type { Limits, PlannerSettings } from './session.js';
import { blockingReason } from './signals/blocking.js';
import { SignalWatch } from './signals/watch.js';
import {
  CriticalError,
  decide,
  pacedBy,
  pacedRatio,
  pressureOf,
  type Reason,
  reason,
  type Signal,
} from './throttle.js';
import { Vacuumer, vacuumDue } from './vacuum.js';
import { endsWithin, wait } from './wait.js';
import type { Worker } from './worker.js';

export interface EngineOptions {
  url: string;
  /** The server that `url` has to lead to, as `instanceOf` names it; any by default. */
  instance?: string;
  job: BackfillJob;
  /** Asked before each chunk, so that the thresholds can be changed while it runs. */
  settings: () => Promise<ThrottleSettings> | ThrottleSettings;
  metrics: Metrics;
  /** Pause: the backfill ends soon, and the next one goes on at the checkpoint. */
  signal: AbortSignal;
  /** How fast the run before was at last; that of a partition before. */
  pacer?: Pacer;
  /** Signals that others run with too, one after another, and that they close; its own by default. */
  watch?: SignalWatch;
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
const TICK_MS = 600;
/** The same while VACUUM runs, which others may want to end. */
const VACUUM_TICK_MS = 100;
/** At most so long between two looks while it waits for chunks and rests to end. */
const LOOK_MS = 500;
/** At most so long between two yields while it stands still. */
const YIELD_MS = 600;
/** Beyond this factor of its rests it is slowed down. */
const SLOWED = 1.05;

/**
 * Fills a table from its checkpoint to the end of its pass. Yields after each stretch of blocks, and
 * about twice a second while it stands still.
 * @throws Error when the connection is lost or one leads to another server than the rest, the job cannot be done or settings() fails; the caller
 *   starts it again, at the cost of one chunk for each worker.
 * @throws CriticalError when a signal that is critical is beyond its threshold: an operator decides.
 */
export async function* runBackfill(options: EngineOptions): AsyncGenerator<Progress, Result> {
  const { url, instance, job, metrics, signal } = options;
  const open = openerOf(url, instance);
  const { watch: reader = await SignalWatch.open(open, job, metrics) } = options;
  reader.turnTo(job);
  const crew = await Crew.open(open, job, reader, signal).catch(async (error) => {
    if (!options.watch) await reader.close();
    throw error;
  });
  const engine = new Engine(options, open, crew, reader);
  try {
    yield* engine.run();
  } catch (error) {
    // What was cancelled or cut off by the abort itself fails, and is not an error to the caller.
    if (!signal.aborted) throw error;
  } finally {
    await engine.close();
  }
  return engine.result();
}

/** Sequences only: asks a decider, does the one effect, records it. */
class Engine {
  private readonly job: BackfillJob;
  private readonly report: Report;
  private readonly question: Question;
  private readonly pacer: Pacer;
  private readonly go = new Go();
  private planner: PlannerSettings | null = null;
  private vacuumer: Vacuumer | null = null;
  private mayVacuum = false;
  /** How many fill, and what each one's rest is multiplied by. */
  private crewNow = { count: 1, factor: 1 };
  private workersMax = 1;
  /** Of what is not a chunk: in a row, and since when. */
  private failures = 0;
  private failingSinceMs = 0;
  /** Why the latest chunk was given up. */
  private lockedBy: Reason | null = null;
  private slowedBy: Reason | null = null;
  /** A whole stretch was filled since the last progress. */
  private isNews = false;

  constructor(
    private readonly options: EngineOptions,
    private readonly open: Opener,
    private readonly crew: Crew,
    private readonly reader: SignalWatch,
  ) {
    this.job = options.job;
    this.pacer = options.pacer ?? new Pacer();
    this.report = new Report(options.metrics, options.job.migration, options.spent ?? null);
    this.question = new Question(options.settings, reader, options.signal);
  }

  async *run(): AsyncGenerator<Progress, void> {
    const { crew, job, report } = this;
    const { connection } = crew.first;
    const { mayVacuum, note } = await inspect(connection, job);
    this.mayVacuum = mayVacuum;
    if (note) report.notes.set('vacuum', note);
    const checkpoint = await readCheckpoint(connection, job.migrationId);
    if (checkpoint) crew.begin(checkpoint);
    report.reach(crew.reached, 0);
    while (!this.options.signal.aborted && !crew.isComplete) {
      report.spend('filling');
      const settings = await this.question.answer(crew.restMs(this.crewNow.count));
      this.learn();
      if (crew.isComplete) break;
      const stop = this.decide(settings);
      this.endRests(stop !== null);
      if (stop) yield* this.standStill(stop, TICK_MS);
      else if (this.isVacuumDue()) yield* this.vacuum();
      else yield* this.step(settings);
    }
    if (this.isNews) yield this.progress(null);
  }

  /** Why to stand still; how fast to go otherwise is the pacer's. */
  private decide(settings: ThrottleSettings): Reason | null {
    const { lookedMs } = this.reader;
    if (this.go.holds(lookedMs, settings, performance.now())) return null;
    const signals = this.reader.signals(settings);
    const stop = decide(signals) ?? this.control(signals, settings);
    if (stop?.level === 'critical') throw new CriticalError(stop);
    this.reader.control.turn(stop !== null, performance.now());
    const paced = pacedBy(signals);
    if (paced) this.pacer.beginSlowly();
    const pressure = pressureOf(signals, this.pacer.factor);
    const { ratio, factorMax, delayMs, reason: beyond } = pressure;
    this.pacer.observe(performance.now(), pacedRatio(stop, ratio), factorMax, delayMs);
    this.slowedBy = beyond ?? (this.pacer.factor > SLOWED ? (this.slowedBy ?? paced) : null);
    this.workersMax = fillWorkersOf(settings);
    this.crewNow = crewOf(this.workersMax, this.reader.others, this.pacer.factor);
    this.go.judged(stop === null, lookedMs, settings, performance.now());
    return stop;
  }

  /** Where the application slows it down, it is held now and then, to see what it is without. */
  private control(signals: readonly Signal[], settings: ThrottleSettings): Reason | null {
    const isCompared = signals.some(({ name }) => name === 'latency');
    const everyMs = isCompared ? settings.latencyLearnMs : null;
    const isSlowed = this.pacer.factor > SLOWED;
    const holds = this.reader.control.holds(performance.now(), everyMs, isSlowed);
    return holds
      ? reason('latency-learn', 'a look at the application’s p99 without the fill')
      : null;
  }

  result(): Result {
    const { isComplete, checkpoint } = this.crew;
    const { pass, rowsFilled } = checkpoint ?? { pass: 0, rowsFilled: 0 };
    return { outcome: isComplete ? 'complete' : 'aborted', pass, rowsFilled };
  }

  async close(): Promise<void> {
    const { vacuumer, crew, reader } = this;
    this.report.clear();
    // VACUUM by itself notices a lost client late. The fill's own connections are idle meanwhile.
    if (vacuumer?.running) {
      await endsWithin(cancelBackend(crew.first.connection, vacuumer.pid), 200);
    }
    await crew.close();
    const own = this.options.watch ? null : reader.close();
    const ends = [vacuumer?.close(), own, this.question.ended()];
    await endsWithin(Promise.allSettled(ends), 2_000);
  }

  /** Begins a pass, looks at the plan, or has chunks filled. */
  private async *step(settings: ThrottleSettings): AsyncGenerator<Progress> {
    const { crew, planner } = this;
    const { checkpoint } = crew;
    const { session } = crew.first;
    const limits = timeouts(settings.chunkTargetMs, this.failures);
    if (!checkpoint || crew.isOtherFile) {
      await crew.allEnded();
      const pass = (checkpoint?.pass ?? 0) + 1;
      const work = () => beginNextPass(session, pass, limits);
      const begun = yield* this.attempt(work, limits);
      if (!begun) return;
      this.learn();
      crew.begin(begun);
      this.planner = null;
      this.report.reach(crew.reached, 0);
      if (pass > 1) yield this.progress(null);
    } else if (!planner) {
      const work = () => choosePlan(session, limits);
      this.planner = yield* this.attempt(work, limits);
    } else {
      yield* this.fill(
        planner,
        chunkTarget(settings.chunkTargetMs, this.reader.others, this.pacer.factor),
      );
    }
  }

  /** Gives chunks to those who have none, and waits until something is over. */
  private async *fill(planner: PlannerSettings, chunkTargetMs: number): AsyncGenerator<Progress> {
    const { crew, lockedBy, workersMax: countMax } = this;
    const { count } = this.crewNow;
    if (crew.handOut({ planner, chunkTargetMs, count, countMax })) {
      this.question.begun(chunkTargetMs);
      if (this.pacer.factor <= SLOWED) this.question.askAhead();
    }
    const untilMs = crew.stuckUntilMs;
    if (untilMs !== null && lockedBy) {
      yield* this.standStill(lockedBy, untilMs - performance.now());
      return;
    }
    const restMs = crew.restMs(count);
    await crew.untilNews(restMs > AHEAD_MS ? Math.min(LOOK_MS, restMs - AHEAD_MS) : LOOK_MS);
    this.learn();
    // Also how a long rest goes.
    if (this.isNews || this.report.isDue(null)) yield this.progress(null);
  }

  /** Records what has ended. */
  private learn(): void {
    const { crew, report } = this;
    for (const ended of crew.take()) {
      if (ended.kind === 'failed') {
        report.retry(ended.sqlstate);
        this.lockedBy = ended.why;
        continue;
      }
      this.isNews ||= ended.isWhole;
      report.chunk(ended.ms);
      report.reach(crew.reached, ended.rows);
      if (!crew.isComplete) this.rest(ended.worker, ended.ms);
    }
    if (crew.trouble) report.notes.set('workers', crew.trouble);
    else report.notes.delete('workers');
  }

  /** As long as others are at work, and longer while a soft signal slows it down. */
  private rest(worker: Worker, chunkMs: number): void {
    const usualMs = restMs(chunkMs, this.reader.others);
    worker.rest = { startedMs: performance.now(), chunkMs, usualMs, reason: this.slowedBy };
    this.endRests(false);
  }

  /**
   * Ends the rests that are over. What is longer for a soft signal is cut as soon as the signal
   * allows it, however long it was to be when it began.
   */
  private endRests(isStill: boolean): void {
    const { count, factor } = this.crewNow;
    const nowMs = performance.now();
    for (const { worker, rest } of this.crew.resting) {
      const slowerMs = restTimes(rest.chunkMs / 4, factor) - rest.chunkMs / 4;
      worker.restsUntilMs = rest.startedMs + rest.usualMs + slowerMs;
      // A reason to stand still is found again before the next chunk.
      if (!isStill && worker.restsUntilMs - nowMs >= 1) continue;
      worker.rest = null;
      worker.restsUntilMs = 0;
      const reason = this.slowedBy ?? rest.reason;
      const ms = Math.max(0, nowMs - rest.startedMs - rest.usualMs);
      if (reason) this.report.slow(reason, ms / count);
    }
  }

  /** Does what is not a chunk; when it failed in a way that passes, waits a while and gives null. */
  private async *attempt<T>(
    work: () => Promise<T>,
    limits: Limits,
  ): AsyncGenerator<Progress, T | null> {
    const { reader, options, crew } = this;
    const { first } = crew;
    try {
      const done = await first.interruptibly(work(), limits, reader, options.signal);
      this.failures = 0;
      return done;
    } catch (error) {
      const sqlstate = retryableState(error);
      if (sqlstate === null || options.signal.aborted) throw error;
      if (this.failures++ === 0) this.failingSinceMs = performance.now();
      this.report.retry(sqlstate);
      const from = crew.checkpoint?.nextBlock ?? 0;
      const ms = performance.now() - this.failingSinceMs;
      const failure = { from, blocks: 1, sqlstate, failures: this.failures, ms };
      const why = first.waiter
        ? blockingReason(first.waiter)
        : await lockedReason(first.connection, this.job, failure);
      yield* this.standStill(why, retryWaitMs(this.failures));
      return null;
    }
  }

  private isVacuumDue(): boolean {
    const { reached, stretches } = this.crew;
    const { blocksDone, blocksTotal } = reached ?? { blocksDone: 0, blocksTotal: 0 };
    return this.mayVacuum && vacuumDue(blocksTotal, blocksTotal - blocksDone, stretches.left);
  }

  /** The fill waits for it; it gives way to whatever would have stopped a chunk, and to DDL. */
  private async *vacuum(): AsyncGenerator<Progress> {
    const { reader, options, job, crew, report } = this;
    await crew.allEnded();
    this.learn();
    const vacuumer = this.vacuumer ?? (await Vacuumer.open(this.open, job));
    this.vacuumer = vacuumer;
    crew.stretches.vacuumed();
    const running = vacuumer.run(!(reader.others < 0.5));
    while (vacuumer.running) {
      await Promise.race([running, wait(VACUUM_TICK_MS, options.signal)]);
      if (options.signal.aborted) return;
      if (!vacuumer.running) break;
      report.spend('vacuum');
      const settings = await options.settings();
      await reader.refresh(settings, performance.now(), YIELD_MS, options.signal);
      const stop = decide(reader.signals(settings));
      // Autovacuum steps aside for a session that wants the table; a VACUUM by hand does not.
      const { connection } = crew.first;
      const inTheWay = await blocksSomeone(connection, job.table.oid, vacuumer.pid);
      if (stop || inTheWay) await reader.cancel(vacuumer.pid);
      if (report.isDue(null)) yield this.progress(null);
    }
    const { outcome, error } = await running;
    report.vacuumed(outcome);
    if (outcome !== 'failed') return;
    report.notes.set('vacuum', `An interleaved VACUUM failed: ${error}`);
    await vacuumer.close();
    this.vacuumer = null;
  }

  /** Waits, counts the time by its reason, and tells about it now and then. */
  private async *standStill(why: Reason, ms: number): AsyncGenerator<Progress> {
    const untilMs = performance.now() + ms;
    while (!this.options.signal.aborted && performance.now() < untilMs) {
      if (this.report.isDue(why)) yield this.progress(why);
      await wait(Math.min(YIELD_MS, untilMs - performance.now()), this.options.signal);
      this.report.still(why);
      this.learn();
    }
    this.report.reach(this.crew.reached, 0);
  }

  private progress(throttled: Reason | null): Progress {
    this.question.isStill = throttled !== null;
    this.isNews = false;
    const { crew, slowedBy: slowed, pacer, reader, workersMax } = this;
    return this.report.progress({
      reached: crew.reached,
      throttled,
      slowed,
      workers: throttled ? 0 : Math.min(this.crewNow.count, crew.size),
      workersMax,
      restFactor: pacer.factor,
      lag: reader.lags,
    });
  }
}
