/** Bytes that an entry is counted with besides what it says itself. */
const ENTRY_BYTES = 400;

/**
 * A cache bounded in entries and in bytes; what was not used for the longest time goes first. A
 * Map keeps the order of insertion, which makes a hit one deletion and one insertion.
 */
export class Cache<Value> {
  private readonly entries = new Map<string, { value: Value; bytes: number }>();
  private total = 0;
  private newest: string | undefined;

  constructor(
    private readonly maxEntries: number,
    private readonly maxBytes: number,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  get bytes(): number {
    return this.total;
  }

  get(key: string): Value | undefined {
    const entry = this.entries.get(key);
    if (!entry) return undefined;
    if (key !== this.newest) {
      this.entries.delete(key);
      this.entries.set(key, entry);
      this.newest = key;
    }
    return entry.value;
  }

  /** @param bytes what the value holds in memory, the key not counted. */
  set(key: string, value: Value, bytes: number): void {
    const size = bytes + key.length + ENTRY_BYTES;
    // One text may not drive out all the others.
    if (size > this.maxBytes / 4) return;
    this.delete(key);
    this.entries.set(key, { value, bytes: size });
    this.total += size;
    this.newest = key;
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.maxEntries && this.total <= this.maxBytes) return;
      this.delete(oldest);
    }
  }

  private delete(key: string): void {
    const entry = this.entries.get(key);
    if (!entry) return;
    this.entries.delete(key);
    this.total -= entry.bytes;
  }
}
