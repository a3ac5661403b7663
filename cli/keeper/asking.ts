import type { Answer, Ask } from './messages.js';

/** Questions that were sent over a channel and the answers that are awaited. */
export class Asking {
  private last = 0;
  private readonly open = new Map<number, (value: unknown) => void>();

  constructor(private readonly send: (ask: Ask) => void) {}

  /** Never throws. @returns null when there is no answer in time, or the answer is null. */
  ask(topic: string, payload: unknown, timeoutMs: number): Promise<unknown> {
    const id = ++this.last;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.settle(id, null), timeoutMs);
      this.open.set(id, (value) => {
        clearTimeout(timer);
        resolve(value);
      });
      this.send({ kind: 'ask', id, topic, payload });
    });
  }

  answered({ id, value }: Answer): void {
    this.settle(id, value);
  }

  /** The other side is gone: nothing more is awaited. */
  end(): void {
    for (const id of [...this.open.keys()]) this.settle(id, null);
  }

  private settle(id: number, value: unknown): void {
    const resolve = this.open.get(id);
    this.open.delete(id);
    resolve?.(value);
  }
}

/**
 * Of several answers the first that is not null. Null when all are.
 * @param answers none of which rejects.
 */
export function firstKnown(answers: readonly Promise<unknown>[]): Promise<unknown> {
  return new Promise((resolve) => {
    for (const answer of answers) {
      void answer.then((value) => {
        if (value !== null) resolve(value);
      });
    }
    void Promise.all(answers).then(() => resolve(null));
  });
}
