/** Bytes that an entry is counted with besides what it says itself. */
const ENTRY_BYTES = 400;
/** Keys of one hash that are kept: who can choose them must not make a look-up long. */
const CHAIN_MAX = 8;

interface Entry<Key, Value> {
  hash: number;
  signature: string;
  key: Key;
  value: Value;
  bytes: number;
  /** The next one of the same hash. */
  next: Entry<Key, Value> | null;
  older: Entry<Key, Value> | null;
  newer: Entry<Key, Value> | null;
}

/**
 * A cache bounded in entries and in bytes, whose keys are found by a hash of the caller's, which need
 * not read all of a key, and are then compared. What was not used for the longest time goes first.
 */
export class KeyedCache<Key, Value> {
  private readonly chains = new Map<number, Entry<Key, Value>>();
  private oldest: Entry<Key, Value> | null = null;
  private newest: Entry<Key, Value> | null = null;
  private count = 0;
  private total = 0;

  constructor(
    private readonly maxEntries: number,
    private readonly maxBytes: number,
    private readonly isSame: (a: Key, b: Key) => boolean,
  ) {}

  get size(): number {
    return this.count;
  }

  get bytes(): number {
    return this.total;
  }

  /** Whether the key is there under any signature. */
  has(hash: number, key: Key): boolean {
    let entry = this.chains.get(hash) ?? null;
    while (entry && !this.isSame(entry.key, key)) entry = entry.next;
    return entry !== null;
  }

  get(hash: number, signature: string, key: Key): Value | undefined {
    const entry = this.find(hash, signature, key);
    if (!entry) return undefined;
    if (entry !== this.newest) {
      this.unlink(entry);
      this.link(entry);
    }
    return entry.value;
  }

  /** @param bytes what key and value hold in memory. */
  set(hash: number, signature: string, key: Key, value: Value, bytes: number): void {
    const known = this.find(hash, signature, key);
    if (known) this.delete(known);
    const size = bytes + ENTRY_BYTES;
    // One text may not drive out all the others.
    if (size > this.maxBytes / 4) return;
    this.makeRoom(hash);
    const next = this.chains.get(hash) ?? null;
    const entry = { hash, signature, key, value, bytes: size, next, older: null, newer: null };
    this.chains.set(hash, entry);
    this.link(entry);
    this.count++;
    this.total += size;
    while (this.oldest && (this.count > this.maxEntries || this.total > this.maxBytes)) {
      this.delete(this.oldest);
    }
  }

  private find(hash: number, signature: string, key: Key): Entry<Key, Value> | null {
    let entry = this.chains.get(hash) ?? null;
    while (entry && !(entry.signature === signature && this.isSame(entry.key, key))) {
      entry = entry.next;
    }
    return entry;
  }

  /** The last of a chain was put there first. */
  private makeRoom(hash: number): void {
    let length = 0;
    let last = this.chains.get(hash) ?? null;
    for (let entry = last; entry; entry = entry.next) {
      last = entry;
      length++;
    }
    if (last && length >= CHAIN_MAX) this.delete(last);
  }

  private delete(entry: Entry<Key, Value>): void {
    const first = this.chains.get(entry.hash)!;
    if (first !== entry) {
      let before = first;
      while (before.next !== entry) before = before.next!;
      before.next = entry.next;
    } else if (entry.next) this.chains.set(entry.hash, entry.next);
    else this.chains.delete(entry.hash);
    this.unlink(entry);
    this.count--;
    this.total -= entry.bytes;
  }

  private link(entry: Entry<Key, Value>): void {
    entry.older = this.newest;
    entry.newer = null;
    if (this.newest) this.newest.newer = entry;
    else this.oldest = entry;
    this.newest = entry;
  }

  private unlink(entry: Entry<Key, Value>): void {
    if (entry.older) entry.older.newer = entry.newer;
    else this.oldest = entry.newer;
    if (entry.newer) entry.newer.older = entry.older;
    else this.newest = entry.older;
  }
}
