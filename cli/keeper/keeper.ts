import type { Socket } from 'node:net';
import { combineNumbers, growing, type Numbers } from '../../metrics/aggregate.js';
import type { Metrics } from '../../metrics/registry.js';
import { writeError } from '../../proxy/messages.js';
import type { ProxyLog } from '../../proxy/proxy.js';
import { firstKnown } from './asking.js';
import { combine, type FleetHealth, type WorkerHealth } from './health.js';
import type { Ask, WorkerSettings } from './messages.js';
import { type Ending, WorkerProcess, type WorkerState } from './worker-process.js';

export interface KeeperOptions {
  workers: number;
  settings: WorkerSettings;
  /** Sessions at once, of all workers together. */
  maxConnections: number;
  /** How long a client may wait for a worker, milliseconds. */
  patienceMs: number;
  metrics: Metrics;
  log: ProxyLog;
  /** The program of a worker, when it is not the one beside this. */
  program?: string;
}

/** A worker could not start, and none has before. `code`: what the program should end with. */
export class StartError extends Error {
  constructor(
    message: string,
    readonly code: number,
  ) {
    super(message);
  }
}

/** Connections beyond the limit on sessions that are still handed over: they may be cancels. */
const BEYOND = 200;
/** Connections that wait for a worker at most. */
const WAITING = 1_000;
/** A worker has so long to answer the keeper, milliseconds. */
const ANSWER_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;
/** A worker that was ready for so long has not failed because it was started, milliseconds. */
const SOUND_MS = 30_000;

/** How long to wait before a worker is started again, after so many failures in a row. Pure. */
export function pauseMs(failures: number): number {
  return failures <= 1 ? 0 : Math.min(LONGEST_PAUSE_MS, 100 * 2 ** (failures - 2));
}

/**
 * Keeps workers: starts them, again when one ends unasked, and anew one for one on `renew`; gives
 * each client to the one with the fewest. It relays no byte, so that nothing of what it does can
 * be what ends it: listening sockets outlive the workers.
 */
export class Keeper {
  private readonly workers = new Set<WorkerProcess>();
  private readonly waiting = new Map<Socket, { timer: NodeJS.Timeout; announced: boolean }>();
  private readonly pauses = new Set<NodeJS.Timeout>();
  /** What grew in workers that are gone. */
  private retired: Promise<Numbers> = Promise.resolve([]);
  /** What was found out last, or is being found out. */
  private room = Promise.resolve(true);
  private failures = 0;
  private turn = 0;
  private running = false;
  private ending = false;
  private renewing = false;
  private empty: (() => void) | undefined;

  constructor(private readonly options: KeeperOptions) {}

  /** Starts the workers. @throws StartError when one of them can not. */
  async start(): Promise<void> {
    const { workers, settings } = this.options;
    const first = Array.from({ length: workers }, () => this.spawn(settings));
    await Promise.all(first.map((worker) => this.readyOrThrow(worker)));
    this.running = true;
    this.replenish();
  }

  /** Takes a connection that was accepted, paused, and nothing read of it. */
  take(socket: Socket, announced: boolean): void {
    if (this.ending) {
      socket.destroy();
      return;
    }
    const { maxConnections, metrics } = this.options;
    const there = [...this.workers].reduce((sum, { clients }) => sum + clients, this.waiting.size);
    const worker = this.pick();
    if (there >= maxConnections + BEYOND || (!worker && this.waiting.size >= WAITING)) {
      metrics.count('pgtandem_client_connections_total', { outcome: 'refused' });
      turnAway(socket, '53300', 'sorry, too many clients already');
    } else if (worker) worker.give(socket, { full: there >= maxConnections, announced });
    else this.wait(socket, announced);
  }

  /**
   * New workers, from the program as it is on the disk now, take the place of those that there
   * are, which then end gently. When one of the new can not start, all stays as it is.
   */
  async renew(graceMs: number): Promise<void> {
    const { workers, settings, log } = this.options;
    if (this.renewing || this.ending) return;
    this.renewing = true;
    const old = new Set(this.workers);
    const fresh = Array.from({ length: workers }, () => this.spawn(settings));
    try {
      await Promise.all(fresh.map((worker) => this.readyOrThrow(worker)));
      for (const worker of old) worker.drain(graceMs, true);
      log.info({ workers: fresh.map(({ pid }) => pid) }, 'renewed');
    } catch (error) {
      for (const worker of fresh) worker.drain(0, false);
      log.error({ error: (error as Error).message }, 'not renewed: a new worker does not start');
    } finally {
      this.renewing = false;
      this.replenish();
    }
  }

  reload(): void {
    for (const worker of this.workers) worker.reload();
  }

  /** Ends all workers, and resolves when they are gone. @returns whether they ended by themselves. */
  async end(graceMs: number): Promise<boolean> {
    this.ending = true;
    for (const timer of this.pauses) clearTimeout(timer);
    for (const socket of [...this.waiting.keys()]) this.stopWaiting(socket).destroy();
    const endings = [...this.workers].map((worker) => worker.ended);
    const gone = new Promise<void>((resolve) => {
      this.empty = resolve;
    });
    for (const worker of this.workers) worker.drain(graceMs, false);
    if (this.workers.size > 0) await gone;
    return (await Promise.all(endings)).every(({ asked }) => asked);
  }

  /** Ends all workers at once, and starts none. */
  kill(): void {
    this.ending = true;
    for (const timer of this.pauses) clearTimeout(timer);
    for (const worker of this.workers) worker.kill();
  }

  async health(): Promise<FleetHealth> {
    const asked = this.inState('ready').map((worker) => worker.ask('health', null, ANSWER_MS));
    const healths = (await Promise.all(asked)).filter((health) => health !== null);
    return combine(healths as WorkerHealth[], this.options.workers);
  }

  /** The metrics of each worker and of those that are gone. */
  async numbers(): Promise<Numbers[]> {
    const { metrics } = this.options;
    let silent = 0;
    const told = [...this.workers].map(async (worker) => {
      if (worker.state === 'starting') return { worker, numbers: [] };
      const numbers = (await worker.ask('numbers', null, ANSWER_MS)) as Numbers | null;
      if (numbers === null && worker.state !== 'gone') silent++;
      if (numbers !== null) worker.numbers = numbers;
      return { worker, numbers: numbers ?? growing(worker.numbers) };
    });
    const all = await Promise.all(told);
    for (const state of ['starting', 'ready', 'draining'] as const) {
      metrics.set('pgtandem_workers', { state }, this.inState(state).length);
    }
    metrics.set('pgtandem_silent_workers', {}, silent);
    metrics.set('pgtandem_waiting_connections', {}, this.waiting.size);
    // One that has ended meanwhile is among the retired.
    const present = all.filter(({ worker }) => this.workers.has(worker));
    return [...present.map(({ numbers }) => numbers), await this.retired];
  }

  /** One after the other, so that two clients are not given the same place. */
  private hasRoom(): Promise<boolean> {
    this.room = this.room.then(async () => {
      const told = [...this.workers].map(async (worker) => {
        if (worker.state === 'starting') return 0;
        return Number((await worker.ask('taken', null, ANSWER_MS)) ?? worker.clients);
      });
      const taken = (await Promise.all(told)).reduce((sum, each) => sum + each, 0);
      return taken < this.options.maxConnections;
    });
    return this.room;
  }

  /** Asks all workers but one; @returns the first answer that is not null. */
  private askOthers({ topic, payload }: Ask, from: WorkerProcess): Promise<unknown> {
    if (topic === 'room') return this.hasRoom();
    const others = [...this.workers].filter(
      (worker) => worker !== from && worker.state !== 'starting',
    );
    return firstKnown(others.map((worker) => worker.ask(topic, payload, ANSWER_MS)));
  }

  private spawn(settings: WorkerSettings): WorkerProcess {
    const worker = new WorkerProcess(
      settings,
      (ask, from) => this.askOthers(ask, from),
      this.options.program,
    );
    this.workers.add(worker);
    const born = performance.now();
    void worker.started.then(() => {
      if (worker.state !== 'ready') return;
      for (const [socket, { announced }] of [...this.waiting]) {
        this.take(this.stopWaiting(socket), announced);
      }
    });
    void worker.ended.then((ending) => this.buried(worker, ending, performance.now() - born));
    return worker;
  }

  private async readyOrThrow(worker: WorkerProcess): Promise<void> {
    await worker.started;
    if (worker.state !== 'gone') return;
    const { message, code } = await worker.ended;
    throw new StartError(message, code);
  }

  private buried(worker: WorkerProcess, ending: Ending, ageMs: number): void {
    const { log, metrics } = this.options;
    this.workers.delete(worker);
    const last = growing(worker.numbers);
    this.retired = this.retired.then((sum) => combineNumbers([sum, last]));
    if (!ending.asked && !this.ending) {
      this.failures = ageMs >= SOUND_MS ? 1 : this.failures + 1;
      metrics.count('pgtandem_worker_failures_total', {});
      log.error({ worker: worker.pid, reason: ending.message }, 'a worker has failed');
    }
    for (const { socket, seat } of worker.takeBack()) this.take(socket, seat.announced);
    if (this.workers.size === 0) this.empty?.();
    this.replenish();
  }

  /** Starts workers until there are as many as there should be, after a pause if they fail. */
  private replenish(): void {
    if (this.ending || this.renewing || !this.running) return;
    const there = this.inState('ready').length + this.inState('starting').length;
    const wanted = this.options.workers - there - this.pauses.size;
    for (let i = 0; i < wanted; i++) {
      const timer = setTimeout(() => {
        this.pauses.delete(timer);
        this.spawn(this.options.settings);
      }, pauseMs(this.failures));
      this.pauses.add(timer);
    }
  }

  private inState(state: WorkerState): WorkerProcess[] {
    return [...this.workers].filter((worker) => worker.state === state);
  }

  /** The ready worker with the fewest clients; one after the other where there are several. */
  private pick(): WorkerProcess | undefined {
    const ready = this.inState('ready');
    const start = ready.length > 0 ? this.turn++ % ready.length : 0;
    let best = ready[start];
    for (let i = 1; i < ready.length; i++) {
      const worker = ready[(start + i) % ready.length]!;
      if (worker.clients < best!.clients) best = worker;
    }
    return best;
  }

  private wait(socket: Socket, announced: boolean): void {
    const timer = setTimeout(() => {
      turnAway(this.stopWaiting(socket), '57P03', 'no worker of the proxy is ready');
    }, this.options.patienceMs);
    this.waiting.set(socket, { timer, announced });
  }

  private stopWaiting(socket: Socket): Socket {
    clearTimeout(this.waiting.get(socket)?.timer);
    this.waiting.delete(socket);
    return socket;
  }
}

/** Tells a client why it is not served. Nothing of it is read, so nothing can be asked of us. */
function turnAway(socket: Socket, code: string, message: string): void {
  socket.on('error', () => undefined);
  socket.end(writeError({ severity: 'FATAL', code, message }), () => socket.destroySoon());
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), ANSWER_MS);
  socket.once('close', () => clearTimeout(timer));
}
