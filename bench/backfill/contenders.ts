import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import type { Cluster } from '../../cli/demo/cluster.js';
import { Plane } from '../../test/migration/plane.js';

const run = promisify(execFile);

/** One way to give a column of every row its value. */
export interface Contender {
  name: string;
  /** @returns when the rows were being filled, milliseconds of the wall clock. */
  fill(cluster: Cluster, database: string): Promise<{ fromMs: number; toMs: number }>;
}

const TABLE = 'pgbench_accounts';

/** A migration from its start until it is filled; the database is written to without a proxy. */
export function pgtandem(workers: number): Contender {
  return {
    name: workers === 1 ? 'pgtandem' : `pgtandem, ${workers} workers`,
    async fill(cluster, database) {
      const plane = await Plane.open(cluster, database);
      try {
        const sql = `ALTER TABLE ${TABLE} ALTER COLUMN abalance TYPE bigint`;
        await plane.start('bench', sql);
        const { rows } = await untilFilled(plane);
        return rows[0];
      } finally {
        await plane.close();
      }
    },
  };
}

/** The phase's own times, so that neither the plan nor the proof counts. */
async function untilFilled(plane: Plane) {
  const times = `SELECT
      extract(epoch FROM min(at) FILTER (WHERE to_phase = 'backfilling'))::float8 * 1000 AS "fromMs",
      extract(epoch FROM max(at) FILTER (WHERE from_phase = 'backfilling'))::float8 * 1000 AS "toMs"
    FROM pgtandem.history`;
  for (;;) {
    const found = await plane.control.query(times);
    if (found.rows[0].toMs !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The yardstick: nothing is faster for who can do without his application meanwhile. */
export const single: Contender = {
  name: 'single UPDATE',
  fill: (cluster, database) =>
    withClient(cluster, database, async (client) => {
      await client.query(`ALTER TABLE ${TABLE} ADD COLUMN abalance_new bigint`);
      return timed(() =>
        client.query(`UPDATE ${TABLE} SET abalance_new = abalance`).then(() => undefined),
      );
    }),
};

/** What tools do that keep two columns in step by a trigger: touch each row, in batches by key. */
export const batches: Contender = {
  name: 'batches of 1000, trigger',
  fill: (cluster, database) =>
    withClient(cluster, database, async (client) => {
      await client.query(`ALTER TABLE ${TABLE} ADD COLUMN abalance_new bigint;
        CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN NEW.abalance_new := NEW.abalance; RETURN NEW; END $$;
        CREATE TRIGGER up BEFORE INSERT OR UPDATE ON ${TABLE}
          FOR EACH ROW EXECUTE FUNCTION up()`);
      const touch = {
        name: 'touch',
        text: `WITH batch AS (SELECT aid FROM ${TABLE} WHERE aid > $1 ORDER BY aid LIMIT 1000
            FOR NO KEY UPDATE),
          touched AS (UPDATE ${TABLE} t SET aid = t.aid FROM batch WHERE t.aid = batch.aid
            RETURNING t.aid)
          SELECT max(aid) AS last FROM touched`,
      };
      return timed(async () => {
        for (let last: number | null = -1; last !== null; ) {
          last = (await client.query({ ...touch, values: [last] })).rows[0].last;
        }
      });
    }),
};

/**
 * pgroll itself, its start with its backfill; the program `pgroll` has to be on the PATH. A database
 * that it does not know wants a baseline first: without one it says so, and ends as if all were well.
 */
export const pgroll: Contender = {
  name: 'pgroll',
  async fill(cluster, database) {
    const folder = mkdtempSync(join(tmpdir(), 'bench-pgroll-'));
    try {
      const file = join(folder, '01_abalance.json');
      const alter = {
        table: TABLE,
        column: 'abalance',
        type: 'bigint',
        up: 'abalance',
        down: 'abalance',
      };
      writeFileSync(file, JSON.stringify({ operations: [{ alter_column: alter }] }));
      const url = ['--postgres-url', `${cluster.url(database)}?sslmode=disable`];
      await run('pgroll', ['init', ...url]);
      await run('pgroll', ['baseline', '00_before', folder, '--yes', ...url]);
      return await timed(async () => void (await run('pgroll', ['start', file, ...url])));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

/** Whether pgroll can be run at all. */
export async function hasPgroll(): Promise<boolean> {
  return run('pgroll', ['--version']).then(
    () => true,
    () => false,
  );
}

async function timed(work: () => Promise<void>): Promise<{ fromMs: number; toMs: number }> {
  const fromMs = Date.now();
  await work();
  return { fromMs, toMs: Date.now() };
}

async function withClient<T>(
  cluster: Cluster,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: cluster.url(database) });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
