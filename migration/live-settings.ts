import type { Connection } from '../db/connect.js';
import { Remembered } from './remembered.js';

/** How old the settings may be where they were changed and nobody has said so, milliseconds. */
const SETTINGS_MS = 1_000;

/**
 * Settings that are looked at before each chunk. Who changes them says so on our channel, to which the
 * connection listens, or is heard within a second.
 */
export class LiveSettings<T> {
  private readonly remembered: Remembered<T>;

  /** @param maxAgeMs of what nobody has said anything about, milliseconds. */
  constructor(
    private readonly connection: Connection,
    read: () => Promise<T>,
    maxAgeMs = SETTINGS_MS,
  ) {
    this.remembered = new Remembered(read, maxAgeMs);
    connection.on('notification', this.remembered.forget);
  }

  /** The same object as long as they are not read anew. @throws what reading throws. */
  value(): Promise<T> {
    return this.remembered.value();
  }

  close(): void {
    this.connection.off('notification', this.remembered.forget);
  }
}
