import type { ThrottleSettings } from './job.js';
import type { SignalWatch } from './signals/watch.js';
import { STALE_MS } from './throttle.js';

/**
 * A chunk is not begun on a look that was asked for ahead longer ago, milliseconds: time for a look to be
 * taken while a chunk of the usual length is filled, and for its rest.
 */
const FRESH_MS = 250;
/** Nor, where chunks are short and a look serves for several, on one from longer ago. */
const KEPT_MS = 600;
/**
 * So long before a rest is over the question is asked, milliseconds: what it takes of the server and of
 * this process is over when the chunk begins. Both at once are all that a small machine has.
 */
export const AHEAD_MS = 100;
/** How long a look is waited for while the fill stands still, so that it can be told, milliseconds. */
const STILL_MS = 400;

interface Answered {
  settings: ThrottleSettings;
  askedMs: number;
}

/** The question before each chunk: the settings as they are now, and a look at the signals. */
export class Question {
  private asked: Promise<ThrottleSettings> | null = null;
  private last: Answered | null = null;
  /** What the last chunk was to take, and all since the question was asked last, milliseconds. */
  private chunkMs = 0;
  private filledMs = 0;
  /** Whether the fill stands still. */
  isStill = false;

  /** @param settings the same object as long as they are not read anew. */
  constructor(
    private readonly settings: () => Promise<ThrottleSettings> | ThrottleSettings,
    private readonly reader: SignalWatch,
    private readonly signal: AbortSignal,
    private readonly now = () => performance.now(),
  ) {}

  /** A chunk has begun: what was asked before says nothing of it. @param chunkMs what it is to take. */
  begun(chunkMs: number): void {
    this.chunkMs = chunkMs;
    this.filledMs += chunkMs;
  }

  /** Asks while a chunk is filled, if the next one needs it; what fails is told to who takes the answer. */
  askAhead(): void {
    if (!this.last || !this.serves(this.last, 0)) this.askNow();
  }

  private askNow(): void {
    this.asked = this.ask(this.now());
    this.asked.catch(() => undefined);
  }

  /**
   * The settings, with a look that began when the last chunk was begun or later, after the chunk
   * before that one was committed; or not long ago, when all chunks since then are, together with the next
   * one, no more than one of the usual length.
   * @param restMs before that long no chunk can begin.
   * @throws Error when the settings cannot be had, or the connection of the look is lost.
   */
  async answer(restMs: number): Promise<ThrottleSettings> {
    if (!this.asked && this.last && this.serves(this.last, restMs)) {
      // Others than those of the look may ask for what it has not looked at.
      const now = await this.settings();
      if (now === this.last.settings) return now;
    }
    const settings = this.asked && (await this.take());
    // One that is as young as that and was waited for began when it was asked for, or later.
    if (settings && this.reader.ageMs <= FRESH_MS) return settings;
    this.askNow();
    return await this.take();
  }

  private serves({ settings, askedMs }: Answered, restMs: number): boolean {
    const leftMs = askedMs + KEPT_MS - this.now();
    if (this.isStill || leftMs < 0) return false;
    const { filledMs, chunkMs } = this;
    const isLittle = filledMs === 0 || filledMs + chunkMs <= settings.chunkTargetMs;
    return restMs > AHEAD_MS || (isLittle && restMs <= leftMs);
  }

  /** An answer is for once: what stands still asks again, and hears what has been changed. */
  private async take(): Promise<ThrottleSettings> {
    const settings = await this.asked!;
    this.asked = null;
    return settings;
  }

  /** Resolves when nothing is asked any more. */
  async ended(): Promise<void> {
    await this.asked?.catch(() => undefined);
  }

  private async ask(sinceMs: number): Promise<ThrottleSettings> {
    const askedMs = this.now();
    this.filledMs = 0;
    const settings = await this.settings();
    this.last = { settings, askedMs };
    const patienceMs = this.isStill ? STILL_MS : STALE_MS;
    await this.reader.refresh(settings, sinceMs, patienceMs, this.signal);
    return settings;
  }
}
