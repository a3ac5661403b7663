/**
 * What was read, for as long as it may be taken for what is: until it is too old or somebody says that it
 * has changed. What was being read when that was said is given to who asked for it, and not kept.
 */
export class Remembered<T> {
  private kept: { value: T; atMs: number } | null = null;
  private forgotten = 0;

  constructor(
    private readonly read: () => Promise<T>,
    /** Milliseconds, counted from before it was asked for. */
    private readonly maxAgeMs: number,
    private readonly now = () => performance.now(),
  ) {}

  /** It has changed. */
  readonly forget = (): void => {
    this.forgotten++;
    this.kept = null;
  };

  /** @throws what reading throws. */
  async value(): Promise<T> {
    const { forgotten } = this;
    const atMs = this.now();
    if (this.kept && atMs - this.kept.atMs < this.maxAgeMs) return this.kept.value;
    const value = await this.read();
    if (forgotten === this.forgotten) this.kept = { value, atMs };
    return value;
  }
}
