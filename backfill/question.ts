import type { ThrottleSettings } from './job.js';
import type { SignalWatch } from './signals/watch.js';
import { STALE_MS } from './throttle.js';

/**
 * A chunk is not begun on a look that began longer ago, milliseconds: time for a look to be taken
 * while a chunk of the usual length is filled, and for its rest.
 */
const FRESH_MS = 250;
/** How long a look is waited for while the fill stands still, so that it can be told, milliseconds. */
const STILL_MS = 400;

/** The question before each chunk: the settings as they are now, and a look at the signals. */
export class Question {
  private asked: Promise<ThrottleSettings> | null = null;
  /** Whether the fill stands still. */
  isStill = false;

  constructor(
    private readonly settings: () => Promise<ThrottleSettings> | ThrottleSettings,
    private readonly reader: SignalWatch,
    private readonly signal: AbortSignal,
  ) {}

  /** Asks while a chunk is filled; what fails is told to who takes the answer. */
  askAhead(): void {
    this.asked = this.ask(performance.now());
    this.asked.catch(() => undefined);
  }

  /**
   * The settings, with a look that began when the last chunk was begun or later: after the chunk
   * before that one was committed.
   * @throws Error when the settings cannot be had, or the connection of the look is lost.
   */
  async answer(): Promise<ThrottleSettings> {
    const settings = this.asked && (await this.take());
    // One that is as young as that and was waited for began when it was asked for, or later.
    if (settings && this.reader.ageMs <= FRESH_MS) return settings;
    this.askAhead();
    return await this.take();
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
    const settings = await this.settings();
    const patienceMs = this.isStill ? STILL_MS : STALE_MS;
    await this.reader.refresh(settings, sinceMs, patienceMs, this.signal);
    return settings;
  }
}
