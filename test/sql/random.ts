/** Seeded randomness (mulberry32): the same seed gives the same statements everywhere. */
export class Random {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Some of the items, in a random order; at least one. */
  some<T>(items: readonly T[]): T[] {
    const left = [...items];
    const result: T[] = [];
    for (let n = 1 + this.below(items.length); n > 0; n--) {
      result.push(...left.splice(this.below(left.length), 1));
    }
    return result;
  }
}

/** The seed of a test run: `SEED=...` in its place repeats one. */
export function seedFrom(text: string | undefined): number {
  return text ? Number(text) : Date.now() % 1_000_000;
}
