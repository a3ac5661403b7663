/** Waits so many milliseconds, or until `signal` is aborted: then it resolves early. */
export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Pause(ms, signal).over;
}

/** A wait that can be ended. Not by a signal of its own: an abort makes an error, with its stack, each time. */
export class Pause {
  private resolve: () => void = () => undefined;
  readonly over: Promise<void>;
  private readonly timer: NodeJS.Timeout;
  private readonly ends = (): void => this.end();

  /** @param signal ends it, too. */
  constructor(
    ms: number,
    private readonly signal?: AbortSignal,
  ) {
    this.over = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.timer = setTimeout(this.ends, ms);
    signal?.addEventListener('abort', this.ends, { once: true });
    if (signal?.aborted) this.end();
  }

  end(): void {
    clearTimeout(this.timer);
    this.signal?.removeEventListener('abort', this.ends);
    this.resolve();
  }
}

/** @returns whether `work` has ended (well or not) within so many milliseconds. */
export function endsWithin(
  work: Promise<unknown>,
  ms: number,
  signal?: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(false);
    const answer = (ended: boolean) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
      resolve(ended);
    };
    const giveUp = () => answer(false);
    const timer = setTimeout(giveUp, ms);
    signal?.addEventListener('abort', giveUp, { once: true });
    work.then(
      () => answer(true),
      () => answer(true),
    );
  });
}
