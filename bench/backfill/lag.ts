import type { Cluster } from '../../cli/demo/cluster.js';

const EVERY_MS = 50;

/**
 * Watches how far the standby is behind, in time, by an observation of its own: when the primary's
 * WAL passed what the standby has replayed. `replay_lag` would be of the last report.
 */
export async function watchLag(
  cluster: Cluster,
): Promise<{ begin(): void; stop(): Promise<number> }> {
  const client = await cluster.client();
  client.on('error', () => undefined);
  let highest = 0;
  let stopped = false;
  const seen: { atMs: number; lsn: number }[] = [];
  const watching = (async () => {
    while (!stopped) {
      const { rows } = await client.query(
        `SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::float8 AS flushed,
           pg_wal_lsn_diff(replay_lsn, '0/0')::float8 AS replayed FROM pg_stat_replication`,
      );
      const atMs = performance.now();
      const { flushed, replayed } = rows[0] ?? { flushed: 0, replayed: 0 };
      seen.push({ atMs, lsn: flushed });
      while (seen.length > 0 && seen[0]!.lsn <= replayed) seen.shift();
      // What is left was flushed then and is not replayed now.
      if (seen.length > 0) highest = Math.max(highest, atMs - seen[0]!.atMs);
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
    await client.end();
  })();
  return {
    /** What was seen so far does not count. */
    begin: () => {
      highest = 0;
    },
    stop: async () => {
      stopped = true;
      await watching;
      return highest;
    },
  };
}
