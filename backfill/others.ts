import { activeOthers } from '../db/backend.js';
import type { Connection } from '../db/connect.js';

/** At most so often it is looked who is at work, milliseconds. */
const EVERY_MS = 100;
/** Looks over which the average is. */
const LOOKS = 10;

/** How many others are at work in the database server, on average over the last second or so. */
export class Others {
  private readonly looks: number[] = [];
  private lookedMs = Number.NEGATIVE_INFINITY;

  /** Looks, unless it has just looked. */
  async look(connection: Connection): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.lookedMs < EVERY_MS) return;
    this.lookedMs = nowMs;
    this.looks.push(await activeOthers(connection));
    if (this.looks.length > LOOKS) this.looks.shift();
  }

  /** NaN before the first look. */
  get average(): number {
    return this.looks.reduce((sum, n) => sum + n, 0) / this.looks.length;
  }
}
