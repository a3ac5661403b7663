import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { loadParser } from '../../sql/rewriter.js';
import { median } from '../median.js';
import { migrate } from '../migrate.js';

/** Seconds of each way to do a thing, by round. */
export interface BulkFigures {
  title: string;
  seconds: Record<Way, number[]>;
}

/**
 * Directly; directly, with both columns written by hand, which is the least that a second column costs
 * the server; the same into the table under migration (guarded), which is all but the proxy's part;
 * through the proxy; through it under migration; directly, with a trigger.
 */
export const WAYS = ['direct', 'by hand', 'guarded', 'proxy', 'migration', 'trigger'] as const;
export type Way = (typeof WAYS)[number];

const TABLE = `CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount int, note text)`;
const CHANGE = 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint';
/** What tools that work with triggers do to every row. */
const TRIGGER = `ALTER TABLE orders ADD COLUMN new_amount bigint;
  CREATE FUNCTION tandem() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.new_amount := NEW.amount; RETURN NEW; END';
  CREATE TRIGGER tandem BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION tandem()`;
const SHADOW = '_pgtandem_new_amount';
const BY_HAND = `ALTER TABLE orders ADD COLUMN ${SHADOW} bigint`;
const BATCH = 1_000;

interface Step {
  title: string;
  /** @param also what is added to the text, `by hand`. */
  run(client: pg.Client, rows: number, also: (text: string) => string): Promise<unknown>;
}

const source = (rows: number) =>
  `SELECT i, 'customer ' || i, (i % 1000000)::int, NULL FROM generate_series(1, ${rows}) i`;

/** In this order: what is inserted is updated, and thrown away. */
const STEPS: Step[] = [
  {
    title: 'INSERT ... SELECT, one statement',
    run: (client, rows, also) => {
      const text = source(rows).replace(', NULL', `${also(', (i % 1000000)::bigint')}, NULL`);
      return client.query(
        `INSERT INTO orders (id, customer, amount${also(`, ${SHADOW}`)}, note) ${text}`,
      );
    },
  },
  {
    title: 'UPDATE of the column, one statement',
    run: (client, _, also) => {
      const more = also(`, ${SHADOW} = (amount + 1)::bigint`);
      return client.query(`UPDATE orders SET amount = amount + 1${more}`);
    },
  },
  {
    title: 'UPDATE of another, one statement',
    run: (client) => client.query("UPDATE orders SET note = 'seen'"),
  },
  {
    title: `INSERT of ${BATCH} rows each, as constants`,
    run: async (client, rows, also) => {
      await client.query('TRUNCATE orders');
      for (let from = 0; from < rows; from += BATCH) {
        const values = Array.from({ length: BATCH }, (_, i) => {
          return `(${from + i}, 'customer ${from + i}', ${i}, NULL${also(`, '${i}'`)})`;
        });
        const columns = `id, customer, amount, note${also(`, ${SHADOW}`)}`;
        await client.query(`INSERT INTO orders (${columns}) VALUES ${values.join(', ')}`);
      }
    },
  },
  {
    title: `INSERT of ${BATCH} rows each, by unnest`,
    run: async (client, rows, also) => {
      await client.query('TRUNCATE orders');
      const text = `INSERT INTO orders (id, customer, amount${also(`, ${SHADOW}`)})
        SELECT *${also(', amount::bigint')}
        FROM unnest($1::bigint[], $2::text[], $3::int[]) AS u (id, customer, amount)`;
      for (let from = 0; from < rows; from += BATCH) {
        const ids = Array.from({ length: BATCH }, (_, i) => from + i);
        const names = ids.map((id) => `customer ${id}`);
        await client.query({ name: 'unnest', text, values: [ids, names, ids] });
      }
    },
  },
];

/** Every step in every way, the ways in turn, `rounds` times. */
export async function measureBulk(rows: number, rounds: number): Promise<BulkFigures[]> {
  await loadParser();
  const cluster = await Cluster.create({
    settings: { shared_buffers: '1GB', max_wal_size: '16GB', synchronous_commit: 'off' },
  });
  const proxies: ProxyProcess[] = [];
  try {
    const admin = await cluster.client();
    for (const database of ['plain', 'hand', 'migrated', 'triggered']) {
      await admin.query(`CREATE DATABASE ${database}`);
    }
    await admin.end();
    for (const [database, sql] of [
      ['plain', TABLE],
      ['hand', `${TABLE};${BY_HAND}`],
      ['migrated', TABLE],
      ['triggered', `${TABLE};${TRIGGER}`],
    ] as const) {
      const client = await open(cluster.url(database));
      await client.query(sql);
      await client.end();
    }
    const plain = await ProxyProcess.start(cluster.url('plain'));
    const migrated = await ProxyProcess.start(cluster.url('migrated'));
    proxies.push(plain, migrated);
    await migrate(cluster.url('migrated'), CHANGE);
    const clients: Record<Way, pg.Client> = {
      direct: await open(cluster.url('plain')),
      'by hand': await open(cluster.url('hand')),
      guarded: await open(cluster.url('migrated')),
      proxy: await open(plain.url('plain')),
      migration: await open(migrated.url('migrated')),
      trigger: await open(cluster.url('triggered')),
    };
    const figures = await run(clients, rows, rounds);
    for (const client of Object.values(clients)) await client.end();
    return figures;
  } finally {
    for (const proxy of proxies) await proxy.end('SIGTERM');
    await cluster.destroy();
  }
}

async function run(
  clients: Record<Way, pg.Client>,
  rows: number,
  rounds: number,
): Promise<BulkFigures[]> {
  const figures = STEPS.map(({ title }): BulkFigures => {
    const seconds = Object.fromEntries(
      WAYS.map((way) => [way, []]),
    ) as unknown as BulkFigures['seconds'];
    return { title, seconds };
  });
  for (let round = 0; round < rounds; round++) {
    for (const way of WAYS) {
      const client = clients[way];
      const also = (text: string) => (way === 'by hand' || way === 'guarded' ? text : '');
      await client.query('TRUNCATE orders');
      for (const [i, step] of STEPS.entries()) {
        await client.query('CHECKPOINT');
        const started = performance.now();
        await step.run(client, rows, also);
        figures[i]!.seconds[way].push((performance.now() - started) / 1000);
      }
    }
  }
  return figures;
}

async function open(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  return client;
}

/** Median of the rounds' own ratios: what disturbs a round disturbs both. */
export function ratio({ seconds }: BulkFigures, of: Way, to: Way): number {
  return median(seconds[of].map((value, round) => value / seconds[to][round]!));
}
