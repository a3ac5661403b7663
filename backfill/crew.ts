import type { Opener } from '../db/connect.js';
import { lockedReason } from './blockers.js';
import { advance, anotherFills, type Checkpoint } from './checkpoint.js';
import { timeouts } from './chunk.js';
import { fillChunk, retryableState } from './fill.js';
import type { BackfillJob } from './job.js';
import type { Reached } from './report.js';
import type { Limits, PlannerSettings, Session } from './session.js';
import { blockingReason } from './signals/blocking.js';
import type { SignalWatch } from './signals/watch.js';
import { type Stretch, Stretches } from './stretch.js';
import type { Reason } from './throttle.js';
import { endsWithin, Pause } from './wait.js';
import { type Rest, Worker } from './worker.js';

/** What has become of a chunk. */
export type Ended =
  | { kind: 'filled'; worker: Worker; rows: number; ms: number; isWhole: boolean }
  | { kind: 'failed'; sqlstate: string; why: Reason };

/** Who fills, and how. */
export interface Orders {
  planner: PlannerSettings;
  chunkTargetMs: number;
  /** So many chunks at once. */
  count: number;
  /** So many workers are kept for better times. */
  countMax: number;
}

/** After a connection for one more worker was refused it is not asked for again so soon. */
const HIRE_AGAIN_MS = 10_000;

/**
 * The workers of one table, each with a connection of its own. A chunk and the checkpoint are in one
 * transaction, with the block before which everything is filled as far as was known when it began.
 * What others have filled beyond it is read again after a crash, and not filled again.
 */
export class Crew {
  private workers: Worker[];
  private readonly busy = new Map<Worker, Promise<void>>();
  /** The checkpoint is at no later block, whatever of what is under way is committed. */
  private aheadBlock = 0;
  private readonly ended: Ended[] = [];
  private failure: { error: unknown } | null = null;
  private hiring: Promise<void> | null = null;
  private hireMs = 0;
  /** When chunks were given out last. */
  private lookedMs = 0;
  private isClosed = false;
  readonly stretches = new Stretches();
  /** null before the first pass. */
  checkpoint: Checkpoint | null = null;
  /** The table has another file than the checkpoint's: the next pass is to begin. */
  isOtherFile = false;
  /** Why there are fewer workers than there may be. */
  trouble: string | null = null;

  private constructor(
    private readonly open: Opener,
    private readonly job: BackfillJob,
    private readonly reader: SignalWatch,
    private readonly signal: AbortSignal,
    /** Does also what is to be done while nothing is filled. */
    readonly first: Worker,
  ) {
    this.workers = [first];
  }

  /** @throws Error of `pg`, when the server cannot be reached or refuses the login. */
  static async open(
    open: Opener,
    job: BackfillJob,
    reader: SignalWatch,
    signal: AbortSignal,
  ): Promise<Crew> {
    return new Crew(open, job, reader, signal, await Worker.open(open, job));
  }

  /** A pass begins, or goes on where another run was; nothing is under way. */
  begin(checkpoint: Checkpoint): void {
    this.checkpoint = checkpoint;
    this.aheadBlock = checkpoint.nextBlock;
    this.isOtherFile = false;
    this.stretches.begin(this.job.table.oid, checkpoint);
  }

  get reached(): Reached | null {
    const { checkpoint, stretches } = this;
    if (!checkpoint) return null;
    const { pass, endBlock: blocksTotal, rowsFilled } = checkpoint;
    return { pass, blocksDone: stretches.blocksDone, blocksTotal, rowsFilled };
  }

  get isComplete(): boolean {
    const { checkpoint } = this;
    return checkpoint !== null && checkpoint.nextBlock >= checkpoint.endBlock;
  }

  /** Workers that are connected. */
  get size(): number {
    return this.workers.length;
  }

  /** Those who rest after a chunk. */
  get resting(): { worker: Worker; rest: Rest }[] {
    return this.workers.flatMap((worker) => (worker.rest ? [{ worker, rest: worker.rest }] : []));
  }

  /** For how long none of the first `count` begins a chunk, since who has none rests, milliseconds. */
  restMs(count: number): number {
    const free = this.workers.slice(0, count).filter((worker) => !this.busy.has(worker));
    const untilMs = Math.min(...free.map(({ restsUntilMs }) => restsUntilMs));
    return free.length === 0 ? 0 : Math.max(0, untilMs - performance.now());
  }

  /** Gives a chunk to each that has none. @returns whether there was one to give. */
  handOut(orders: Orders): boolean {
    this.hire(orders);
    const nowMs = performance.now();
    this.lookedMs = nowMs;
    const before = this.busy.size;
    for (const worker of this.workers.slice(0, orders.count)) {
      if (this.busy.has(worker) || worker.restsUntilMs > nowMs) continue;
      const stretch = this.stretches.take(orders.chunkTargetMs, nowMs, orders.count);
      if (!stretch) break;
      const work = this.fill(worker, stretch, orders)
        .catch((error: unknown) => {
          this.failure ??= { error };
        })
        .finally(() => this.busy.delete(worker));
      this.busy.set(worker, work);
    }
    return this.busy.size > before;
  }

  /** Until when nobody has anything to do, since all that is left has failed; null: not so. */
  get stuckUntilMs(): number | null {
    const { busy, ended, workers, lookedMs } = this;
    const isResting = workers.some(({ restsUntilMs }) => restsUntilMs > lookedMs);
    if (busy.size > 0 || ended.length > 0 || isResting) return null;
    return this.stretches.waitsUntilMs(lookedMs);
  }

  /** Waits until a chunk has ended or another one can be begun, and no longer than `ms`. */
  async untilNews(ms: number): Promise<void> {
    if (this.ended.length > 0 || this.failure) return;
    const nowMs = performance.now();
    const times = this.workers.map(({ restsUntilMs }) => restsUntilMs);
    // What was due already when chunks were given out waits for somebody who has one.
    const due = times.filter((each) => each > this.lookedMs);
    const againMs = this.stretches.waitsUntilMs(this.lookedMs);
    const untilMs = Math.min(nowMs + ms, againMs ?? Number.POSITIVE_INFINITY, ...due);
    // What is under way ends soon after an abort; where nothing is, the abort ends the wait.
    const pause = new Pause(untilMs - nowMs, this.busy.size > 0 ? undefined : this.signal);
    await Promise.race([...this.busy.values(), pause.over]);
    pause.end();
  }

  /** What has ended since the last time. @throws what does not pass by itself. */
  take(): Ended[] {
    if (this.failure) throw this.failure.error;
    return this.ended.splice(0);
  }

  /** Resolves when nothing is under way. */
  async allEnded(): Promise<void> {
    await Promise.all(this.busy.values());
  }

  /** Ends all connections; what is under way is cancelled, and rolled back. */
  async close(): Promise<void> {
    this.isClosed = true;
    const cancels = [...this.busy.keys()].map(({ pid }) => this.reader.cancel(pid));
    await endsWithin(Promise.allSettled(cancels), 200);
    await endsWithin(this.allEnded(), 2_000);
    const ends = this.workers.map(({ connection }) => connection.end());
    await endsWithin(Promise.allSettled([...ends, this.hiring]), 2_000);
  }

  /** The next piece of a stretch of blocks. */
  private async fill(worker: Worker, stretch: Stretch, orders: Orders): Promise<void> {
    const { reader, signal } = this;
    const startedMs = performance.now();
    const limits = timeouts(orders.chunkTargetMs, stretch.failures);
    const work = this.fillPiece(worker.session, stretch, limits, orders.planner);
    try {
      const filled = await worker.interruptibly(work, limits, reader, signal);
      if (!filled) return;
      const ms = performance.now() - startedMs;
      this.ended.push({ kind: 'filled', worker, ...filled, ms });
    } catch (error) {
      const sqlstate = retryableState(error);
      if (sqlstate === null || signal.aborted) throw error;
      const why = await this.fails(worker, stretch, sqlstate);
      this.ended.push({ kind: 'failed', sqlstate, why });
    }
  }

  /** @returns null where the table has another file. */
  private async fillPiece(
    session: Session,
    stretch: Stretch,
    limits: Limits,
    planner: PlannerSettings,
  ): Promise<{ rows: number; isWhole: boolean } | null> {
    const { stretches } = this;
    const { pass } = this.checkpoint!;
    const block = this.reaches(stretches.reachedWith(stretch));
    const chunk = { ...stretch, ...stretch.piece };
    const step = await fillChunk(session, chunk, { pass, block }, limits, planner);
    if (step.kind === 'other-file') {
      this.isOtherFile = true;
      return null;
    }
    const { rows, stayed, ms } = step;
    this.committed(step);
    await this.endPass(session, stretch);
    return { rows, isWhole: stretches.filled(stretch, rows, stayed, ms) };
  }

  /** The checkpoint will be at this block, or is beyond it. */
  private reaches(block: number): number {
    this.aheadBlock = Math.max(this.aheadBlock, block);
    return block;
  }

  /** Where the checkpoint is now; of several that were committed, the news can come in any order. */
  private committed({ nextBlock, rowsFilled }: Pick<Checkpoint, 'nextBlock' | 'rowsFilled'>): void {
    if (nextBlock > this.aheadBlock) throw anotherFills(this.job.migrationId);
    const before = this.checkpoint!;
    this.checkpoint = {
      ...before,
      nextBlock: Math.max(before.nextBlock, nextBlock),
      rowsFilled: Math.max(before.rowsFilled, rowsFilled),
    };
  }

  /** Of chunks that were under way together none knew that the others would be done: the last one says so. */
  private async endPass(session: Session, stretch: Stretch): Promise<void> {
    const { nextBlock, endBlock, pass } = this.checkpoint!;
    const block = this.stretches.reachedWith(stretch);
    if (block < endBlock || nextBlock >= endBlock) return;
    this.reaches(block);
    this.committed(await advance(session.connection, this.job.migrationId, pass, block));
  }

  private async fails(worker: Worker, stretch: Stretch, sqlstate: string): Promise<Reason> {
    const nowMs = performance.now();
    const { from, to, failures, failingSinceMs } = stretch;
    // The chunk is over before anybody is asked about it: another one may go on meanwhile.
    this.stretches.failed(stretch, nowMs);
    if (worker.waiter) return blockingReason(worker.waiter);
    const ms = failures === 0 ? 0 : nowMs - failingSinceMs;
    const failure = { from, blocks: to - from, sqlstate, failures: failures + 1, ms };
    return await lockedReason(worker.connection, this.job, failure);
  }

  /** As many connections as are wanted; one that cannot be had is no reason to fill no more. */
  private hire({ count, countMax }: Orders): void {
    for (const worker of this.workers.slice(Math.max(1, countMax))) {
      if (this.busy.has(worker)) continue;
      this.workers = this.workers.filter((other) => other !== worker);
      worker.connection.end().catch(() => undefined);
    }
    const missing = count - this.workers.length;
    if (missing <= 0) this.trouble = null;
    if (missing <= 0 || this.hiring || performance.now() < this.hireMs) return;
    this.hiring = Worker.open(this.open, this.job)
      .then(async (worker) => {
        if (this.isClosed) await worker.connection.end();
        else this.workers.push(worker);
      })
      .catch((error: unknown) => {
        this.hireMs = performance.now() + HIRE_AGAIN_MS;
        this.trouble = `One more worker could not connect: ${error}`;
      })
      .finally(() => {
        this.hiring = null;
      });
  }
}
