import { backoffMs } from './phase.js';

/** A step that has run for so long before it failed was at work: what failed before is over, milliseconds. */
const AT_WORK_MS = 60_000;

interface Failed {
  /** At which phase. */
  key: string;
  againAtMs: number;
  told: Failing;
}

/** A step that fails again and again, as the migration's progress tells it. */
export interface Failing {
  /** So many times in a row. */
  times: number;
  /** Why, the last time. */
  reason: string;
  /** When that was, in ISO 8601. */
  at: string;
  /** It is tried again so long after that, milliseconds. */
  againMs: number;
}

/**
 * When the steps of migrations that failed are tried again: after a second, and then more and more slowly. Each
 * attempt opens connections and looks at the catalog, which an application feels when it is each second.
 * A phase that was left, or a pause that was taken back, begins anew. Pure: the time comes as an argument.
 */
export class Failures {
  private readonly failed = new Map<number, Failed>();

  /** Whether a migration's step is not to be tried yet. @param key of its phase. */
  waits(id: number, key: string, nowMs: number): boolean {
    const last = this.failed.get(id);
    return last !== undefined && last.key === key && nowMs < last.againAtMs;
  }

  /** @param ranMs how long the step had run. @returns after how long it is tried again, milliseconds. */
  add(id: number, key: string, ranMs: number, nowMs: number, reason: string, at: Date): number {
    const last = this.failed.get(id);
    const isInRow = last !== undefined && last.key === key && ranMs < AT_WORK_MS;
    const times = isInRow ? last.told.times + 1 : 1;
    const againMs = backoffMs(times);
    const told = { times, reason, at: at.toISOString(), againMs };
    this.failed.set(id, { key, againAtMs: nowMs + againMs, told });
    return againMs;
  }

  /** @param runsMs how long its step runs now; 0: it waits. @returns null where it does not fail, or not any more. */
  failing(id: number, key: string, runsMs: number): Failing | null {
    const last = this.failed.get(id);
    return last?.key === key && runsMs < AT_WORK_MS ? last.told : null;
  }

  /** It went well, or was told to stop. */
  forget(id: number): void {
    this.failed.delete(id);
  }
}
