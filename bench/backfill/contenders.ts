import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import type { Cluster } from '../../cli/demo/cluster.js';
import type { Application } from './application.js';
import type { EtaError } from './eta.js';
import type { Place } from './load.js';
import type { Window } from './windows.js';

const run = promisify(execFile);

/** What is known of a fill when it has ended. */
export interface Filled {
  /** When the rows were being filled, milliseconds of the wall clock. */
  fromMs: number;
  toMs: number;
  /** So many rows, where it was not given the time for all. */
  rows?: number;
  /** So long it was filled, where that is not all the time. */
  seconds?: number;
  /** Stretches of that time, where it was not filled in all of them; also some before. */
  windows?: Window[];
  /** Rows a second of each turn of filling. */
  paces?: number[];
  /** Of pgtandem: the worst estimate of the time left. */
  eta?: EtaError | null;
  /** Of the process that fills, bytes that are of no file: at a tenth of the way, and at its end. */
  resident?: { early: number; late: number };
  /** What its time went to, in words. */
  shares?: string;
}

/** A contender that is about to fill one database. */
export interface Run {
  place: Place;
  /** Where the same application finds the same table, and nothing else happens. */
  alone?: Place | undefined;
  /** @param application which is at work; null: nobody is. */
  fill(application: Application | null): Promise<Filled>;
  close(): Promise<void>;
}

/** One way to give a column of every row its value. */
export interface Contender {
  name: string;
  /** @param alone the database of an application without migration, where one is to be compared with. */
  open(cluster: Cluster, database: string, alone?: string): Promise<Run>;
}

export const TABLE = 'pgbench_accounts';

/** A contender that has no proxy. */
function direct(
  name: string,
  fill: (cluster: Cluster, database: string) => Promise<Filled>,
): Contender {
  return {
    name,
    open: async (cluster, database) => ({
      place: { server: { host: '127.0.0.1', port: cluster.port }, database },
      fill: () => fill(cluster, database),
      close: async () => undefined,
    }),
  };
}

/** The yardstick: nothing is faster for who can do without his application meanwhile. */
export const single = direct('single UPDATE', (cluster, database) =>
  withClient(cluster, database, async (client) => {
    await client.query(`ALTER TABLE ${TABLE} ADD COLUMN abalance_new bigint`);
    return timed(() =>
      client.query(`UPDATE ${TABLE} SET abalance_new = abalance`).then(() => undefined),
    );
  }),
);

/** What tools do that keep two columns in step by a trigger: touch each row, in batches by key. */
export const batches = direct('batches of 1000, trigger', (cluster, database) =>
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
);

/**
 * pgroll itself, its start with its backfill; the program `pgroll` has to be on the PATH. A database
 * that it does not know wants a baseline first: without one it says so, and ends as if all were well.
 */
export const pgroll = direct('pgroll', async (cluster, database) => {
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
});

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
