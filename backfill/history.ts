const MAX_SAMPLES = 20_000;

/**
 * Where the primary's WAL was at which time, as we saw it ourselves. Pure.
 *
 * The lag of a standby in time is how long ago the primary's WAL first passed what the standby has
 * replayed. `pg_stat_replication.replay_lag` does not serve: it is NULL when nothing was written
 * for a while, it freezes at its last value when replay is paused or stuck, and it measures the
 * records of the past. `pg_last_xact_replay_timestamp()` is the standby's to tell, and grows on an
 * idle primary.
 *
 * The positions are of *flushed* WAL, because only that is sent. Inserted WAL can stay in a buffer
 * for seconds on a quiet primary, and would be called the lag of a standby that has everything.
 */
export class LagHistory {
  private samples: { atMs: number; lsn: number }[] = [];

  /** @param atMs of a clock that does not go back. */
  record(atMs: number, lsn: number): void {
    const last = this.samples.at(-1);
    // A position that goes back is another server's (a failover behind the same address).
    if (last && lsn < last.lsn) this.samples = [];
    else if (last?.lsn === lsn) return;
    this.samples.push({ atMs, lsn });
    if (this.samples.length > MAX_SAMPLES) {
      this.samples = this.samples.filter((_, i) => i < 2 || i % 2 === 0);
    }
  }

  /**
   * Milliseconds, good to the distance of two samples; 0 when everything was replayed; null when
   * the standby is behind the oldest sample, so that nobody can say for how long.
   */
  lagMs(atMs: number, replayed: number): number | null {
    const oldest = this.samples[0];
    const newest = this.samples.at(-1);
    if (!oldest || !newest) return null;
    if (newest.lsn <= replayed) return 0;
    if (oldest.lsn > replayed) return null;
    let below = 0;
    let above = this.samples.length - 1;
    while (above - below > 1) {
      const middle = (below + above) >> 1;
      if (this.samples[middle]!.lsn <= replayed) below = middle;
      else above = middle;
    }
    return Math.max(0, atMs - this.samples[above]!.atMs);
  }

  /** Forgets samples that no lag can need any more, all standbys having replayed up to `lsn`. */
  prune(lsn: number): void {
    let keep = 0;
    while (keep + 1 < this.samples.length && this.samples[keep + 1]!.lsn <= lsn) keep++;
    if (keep > 0) this.samples.splice(0, keep);
  }

  get length(): number {
    return this.samples.length;
  }
}
