/** Times are counted by their logarithm: eight counts for each factor of two, from 0.1 ms on. */
const FIRST_SECONDS = 0.0001;
const PER_OCTAVE = 8;
const BUCKETS = 192;

/** Counts by bucket, where there are any: plain data, to be added up. */
export type Counts = Record<string, number>;

/** How long transactions took that touched a table, since this process began. */
export class Latencies {
  private readonly tables = new Map<number, Float64Array>();

  /** @param oid of the table. */
  record(oid: number, seconds: number): void {
    let counts = this.tables.get(oid);
    if (!counts) {
      counts = new Float64Array(BUCKETS);
      this.tables.set(oid, counts);
    }
    const at = Math.ceil(Math.log2(seconds / FIRST_SECONDS) * PER_OCTAVE);
    counts[Math.min(BUCKETS - 1, Math.max(0, at))]!++;
  }

  /** Of these tables; those of the others are forgotten. */
  of(oids: readonly number[]): Record<string, Counts> {
    for (const oid of this.tables.keys()) if (!oids.includes(oid)) this.tables.delete(oid);
    return Object.fromEntries(
      oids.map((oid) => {
        const counts = this.tables.get(oid) ?? new Float64Array(0);
        const some = [...counts.entries()].filter(([, n]) => n > 0);
        return [String(oid), Object.fromEntries(some)];
      }),
    );
  }
}

/**
 * How long the client has waited for answers in a session's transaction so far, and which tables it
 * has touched: what a chunk of a backfill delays is a row's lock here and the COMMIT there.
 */
export class Waits {
  private seconds = 0;
  private readonly tables = new Set<number>();

  /** A request of the client was answered. @param touched oids of the tables that it touches. */
  add(seconds: number, touched: readonly number[] | null): void {
    this.seconds += seconds;
    if (touched) for (const oid of touched) this.tables.add(oid);
  }

  /** The transaction is over: it counts for each of its tables. */
  end(latencies: Latencies): void {
    if (this.tables.size > 0) {
      for (const oid of this.tables) latencies.record(oid, this.seconds);
      this.tables.clear();
    }
    this.seconds = 0;
  }
}
