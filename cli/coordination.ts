import { Worker } from 'node:worker_threads';
import { growing, labelled, type Numbers } from '../metrics/aggregate.js';

/** What the thread is told when it starts. */
export interface CoordinationSettings {
  /** Connection strings of control, one for each database. */
  urls: readonly string[];
  logLevel: string;
}

export type ToThread =
  /** The database at this place among the urls is at another server now. */
  | { kind: 'moved'; database: number }
  | { kind: 'tell'; id: number }
  /** It ends, and another process may coordinate. */
  | { kind: 'resign' };

export type FromThread =
  /** The address leads to another server than that at which it coordinates. */
  | { kind: 'stray'; database: number }
  /** `id` null: it has resigned, and these are its last. */
  | { kind: 'numbers'; id: number | null; numbers: Numbers };

/** The thread has so long to tell its metrics, milliseconds: less than the keeper waits for ours. */
const ANSWER_MS = 500;

/**
 * The coordinators of this process (migration/coordinator.ts), in a thread of their own: what they do for a
 * migration is a few milliseconds of work many times a second, and the thread that relays would have its
 * sessions wait for it.
 */
export class Coordination {
  private readonly thread: Worker;
  private readonly asked = new Map<number, (numbers: Numbers) => void>();
  private asks = 0;
  private last: Numbers = [];
  private readonly ended: Promise<void>;
  private isOver = false;

  /** @param stray told which database's address leads to another server. */
  constructor(
    settings: CoordinationSettings,
    private readonly stray: (database: number) => void,
  ) {
    const program = new URL('./coordinator-thread.js', import.meta.url);
    this.thread = new Worker(program, { workerData: settings });
    // As in this thread: the process ends, and its keeper starts another one.
    this.thread.on('error', (error) => {
      throw error;
    });
    this.thread.on('message', (message: FromThread) => this.received(message));
    this.ended = new Promise((resolve) => {
      this.thread.once('exit', () => {
        this.isOver = true;
        for (const answer of this.asked.values()) answer(this.last);
        resolve();
      });
    });
  }

  /** A database is at another server now: what is done at the one before ends, at once. */
  moved(database: number): void {
    this.post({ kind: 'moved', database });
  }

  /** The coordinators' metrics. Of a thread that says nothing in time, what it told last and only grows. */
  async numbers(): Promise<Numbers> {
    if (this.isOver) return this.last;
    const id = ++this.asks;
    const answered = new Promise<Numbers>((resolve) => {
      const timer = setTimeout(() => answer(this.last), ANSWER_MS);
      const answer = (numbers: Numbers) => {
        clearTimeout(timer);
        this.asked.delete(id);
        resolve(numbers);
      };
      this.asked.set(id, answer);
    });
    this.post({ kind: 'tell', id });
    return answered;
  }

  /** Another process may coordinate from now on. Resolves when nothing is done here any more. */
  resign(): Promise<void> {
    this.post({ kind: 'resign' });
    return this.ended;
  }

  private post(message: ToThread): void {
    if (!this.isOver) this.thread.postMessage(message);
  }

  private received(message: FromThread): void {
    if (message.kind === 'stray') {
      this.stray(message.database);
      return;
    }
    const numbers = labelled(message.numbers);
    this.last = growing(numbers);
    if (message.id !== null) this.asked.get(message.id)?.(numbers);
  }
}
