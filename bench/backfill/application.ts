import { setTimeout as sleep } from 'node:timers/promises';
import { type Done, Load, type Place } from './load.js';

/** So that what ended last is in the log: it is written when there is 4 kB of it. */
const FLUSH_MS = 300;

/** The application of a run: a load at a fixed rate on one database, or on another like it, never on both. */
export class Application {
  private readonly done: Done[] = [];
  private load: Load | null = null;

  /** @param rate transactions per second. */
  constructor(private readonly rate: number) {}

  /** It goes on there. */
  async moveTo(place: Place): Promise<void> {
    await this.rest();
    this.load = Load.start(place, this.rate);
  }

  /** Ends it. @returns all that it has done. */
  async stop(): Promise<readonly Done[]> {
    await this.rest();
    return this.done;
  }

  private async rest(): Promise<void> {
    if (!this.load) return;
    await sleep(FLUSH_MS);
    // Not spread: there may be more of them than a call can have arguments.
    for (const each of await this.load.stop()) this.done.push(each);
    this.load = null;
  }
}
