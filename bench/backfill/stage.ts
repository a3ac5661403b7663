import { execFile } from 'node:child_process';
import { totalmem } from 'node:os';
import { promisify } from 'node:util';
import type pg from 'pg';
import { Cluster } from '../../cli/demo/cluster.js';

const run = promisify(execFile);

/** Rows of `pgbench_accounts` at scale 1. */
const ROWS_OF_SCALE = 100_000;

/** A primary with a streaming standby, and a table that each contender gets a copy of. */
export interface Stage {
  cluster: Cluster;
  /** Makes databases with the table as it was; drops those of these names that were there. */
  fresh(...names: string[]): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A server as its manual advises, a quarter of the memory for shared buffers, and with room for the WAL of
 * the largest run, so that neither makes the larger table slower than the smaller one; an eighth for
 * the standby, which is on the same machine.
 * https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-SHARED-BUFFERS
 */
const buffers = (share: number) => `${Math.floor((totalmem() * share) / 1024 ** 2)}MB`;

/** @param sharedBuffers of the primary, where it is another. */
export async function setStage(rows: number, sharedBuffers?: string): Promise<Stage> {
  const cluster = await Cluster.create({
    settings: {
      shared_buffers: sharedBuffers ?? buffers(1 / 4),
      max_wal_size: '16GB',
      max_connections: 50,
      // A copy of a database is then a copy of its files, and not so much WAL.
      wal_keep_size: '64MB',
    },
  });
  const made: Cluster[] = [cluster];
  const stop = async () => {
    for (const each of made.reverse()) await each.destroy();
  };
  try {
    const admin = await cluster.client();
    await makeTable(cluster, admin, rows);
    made.push(await cluster.standby('bench', { shared_buffers: buffers(1 / 8) }));
    const fresh = async (...names: string[]) => {
      for (const name of names) {
        await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
        await admin.query(`CREATE DATABASE ${name} TEMPLATE base STRATEGY file_copy`);
      }
      await admin.query('CHECKPOINT');
      await caughtUp(admin);
    };
    return { cluster, fresh, stop: () => admin.end().then(stop) };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeTable(cluster: Cluster, admin: pg.Client, rows: number): Promise<void> {
  await admin.query('CREATE DATABASE base');
  const where = ['-h', '127.0.0.1', '-p', String(cluster.port), '-U', 'postgres', 'base'];
  const scale = Math.max(1, Math.round(rows / ROWS_OF_SCALE));
  await run('pgbench', ['-i', '-q', '-s', String(scale), ...where]);
  const client = await cluster.client('base');
  // Three secondary indexes: one of many equal keys, one of two columns, one of text.
  await client.query(`UPDATE pgbench_accounts SET filler = 'account ' || aid;
    CREATE INDEX ON pgbench_accounts (bid);
    CREATE INDEX ON pgbench_accounts (bid, aid);
    CREATE INDEX ON pgbench_accounts (filler)`);
  await client.query('VACUUM FULL ANALYZE pgbench_accounts');
  await client.query('VACUUM ANALYZE');
  await client.end();
}

/** Waits until the standby has replayed what is there now. */
async function caughtUp(admin: pg.Client): Promise<void> {
  const { rows } = await admin.query('SELECT pg_current_wal_flush_lsn() AS lsn');
  for (;;) {
    const { rows: behind } = await admin.query(
      'SELECT FROM pg_stat_replication WHERE replay_lsn IS NULL OR replay_lsn < $1',
      [rows[0].lsn],
    );
    if (behind.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
