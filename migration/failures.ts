import { backoffMs } from './phase.js';

/** A step that has run for so long before it failed was at work: what failed before is over, milliseconds. */
const AT_WORK_MS = 60_000;

interface Failed {
  /** At which phase. */
  key: string;
  count: number;
  againAtMs: number;
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
  add(id: number, key: string, ranMs: number, nowMs: number): number {
    const last = this.failed.get(id);
    const isInRow = last !== undefined && last.key === key && ranMs < AT_WORK_MS;
    const count = isInRow ? last.count + 1 : 1;
    const againMs = backoffMs(count);
    this.failed.set(id, { key, count, againAtMs: nowMs + againMs });
    return againMs;
  }

  /** It went well, or was told to stop. */
  forget(id: number): void {
    this.failed.delete(id);
  }
}
