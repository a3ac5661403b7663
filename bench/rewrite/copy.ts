import { spawn } from 'node:child_process';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { pipeline } from 'node:stream/promises';
import Table from 'cli-table3';
import { Command } from 'commander';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { loadParser } from '../../sql/rewriter.js';
import { median } from '../median.js';
import { migrate } from '../migrate.js';
import { cpuOf, family } from '../relay/process.js';

/*
 * A million rows by psql's COPY FROM STDIN: what it costs that each field of a column is given twice
 * and the guard asked, beside the same without a migration, without a proxy, with a trigger that
 * writes the column, and with one that never fires (hook): where a table has any BEFORE ROW trigger the
 * server inserts row by row, and not a page at a time. The ways take turns, each round has a ratio of its
 * own, and the median of those is shown.
 */

const WAYS = ['direct', 'proxy', 'repair', 'reject', 'none', 'hook', 'trigger'] as const;
type Way = (typeof WAYS)[number];

interface Options {
  rows: number;
  rounds: number;
  indexes: boolean;
  to: string;
}

const options = new Command('bench/rewrite/copy')
  .description('What COPY costs under migration. Needs psql.')
  .option('--rows <n>', 'of one COPY', Number, 1_000_000)
  .option('--rounds <n>', 'of which the median is shown', Number, 5)
  .option('--indexes', 'with a primary key and two more indexes', false)
  .option('--to <type>', 'to which an integer is changed: bigint or text', 'bigint')
  .parse()
  .opts<Options>();

const TABLE = `CREATE TABLE orders (id int NOT NULL, customer int, name text, amount numeric(10,2),
  at timestamp)`;
/** None of the column that is changed: the new one would have its own. */
const INDEXES = `ALTER TABLE orders ADD PRIMARY KEY (id); CREATE INDEX ON orders (amount);
  CREATE INDEX ON orders (at)`;
const CHANGE = `ALTER TABLE orders ALTER COLUMN customer TYPE ${options.to}`;
const TRIGGER = `ALTER TABLE orders ADD COLUMN new_customer ${options.to};
  CREATE FUNCTION tandem() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.new_customer := NEW.customer; RETURN NEW; END';
  CREATE TRIGGER tandem BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION tandem()`;
const HOOK = `CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER hook BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.id IS NULL)
    EXECUTE FUNCTION hook()`;
const COLUMNS = ['id', 'customer', 'name', 'amount', 'at'];

/** The layouts that are tried: options of COPY, and how a row is written. */
const FORMATS: { title: string; options: string; line: (fields: string[]) => string }[] = [
  { title: 'text', options: '', line: (fields) => `${fields.join('\t')}\n` },
  {
    title: 'CSV',
    options: '(FORMAT csv)',
    line: (fields) => `${fields.map((field) => (/ /.test(field) ? `"${field}"` : field)).join()}\n`,
  },
];

function writeData(folder: string, format: (typeof FORMATS)[number]): string {
  const lines = Array.from({ length: options.rows }, (_, i) => {
    const second = String(i % 60).padStart(2, '0');
    return format.line([
      `${i + 1}`,
      `${(i * 7919) % 1_000_000}`,
      `customer number ${i}`,
      `${i % 10_000}.${String(i % 100).padStart(2, '0')}`,
      `2026-01-01 00:00:${second}`,
    ]);
  });
  const file = join(folder, format.title);
  writeFileSync(file, lines.join(''));
  return file;
}

/** Runs psql with a file as its input. @throws when it fails. */
async function psql(url: string, text: string, file: string): Promise<void> {
  const child = spawn('psql', ['-qX', '-v', 'ON_ERROR_STOP=1', url, '-c', text], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await pipeline(createReadStream(file, { highWaterMark: 1 << 18 }), child.stdin);
  const code = await ended;
  if (code !== 0) throw new Error(`psql ended with ${code}`);
}

interface Figures {
  seconds: number;
  /** CPU of the server and of the proxy, seconds. */
  server: number;
  proxy: number;
}

/** One COPY, with the CPU that it took: on a busy machine that is what can be compared. */
async function measure(way: Way, text: string, file: string): Promise<Figures> {
  const server = serverCpu();
  const proxy = proxyCpu(way);
  const started = performance.now();
  await psql(urls.get(way)!, text, file);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, server: serverCpu() - server, proxy: proxyCpu(way) - proxy };
}

const serverCpu = () => cpuOf(family(cluster.pid ?? 0)) / 1e9;
const proxyCpu = (way: Way) => {
  const pid = proxies.get(way)?.pid;
  return pid === undefined ? 0 : cpuOf(family(pid)) / 1e9;
};

function print(title: string, figures: ReadonlyMap<Way, Figures[]>): void {
  const of = (way: Way, what: keyof Figures) => figures.get(way)!.map((each) => each[what]);
  const middle = (way: Way, what: keyof Figures) => median(of(way, what)).toFixed(2);
  const ratio = (way: Way, to: Way, what: keyof Figures) =>
    median(of(way, what).map((value, round) => value / of(to, what)[round]!)).toFixed(2);
  const table = new Table({
    head: [
      title,
      's',
      'of proxy',
      'of direct',
      'of trigger',
      'server CPU s',
      'of proxy',
      'proxy CPU s',
    ],
    style: { head: [], border: [] },
    colAligns: ['left', ...Array(7).fill('right')],
  });
  for (const way of WAYS) {
    const shares = (['proxy', 'direct', 'trigger'] as const).map((to) => ratio(way, to, 'seconds'));
    table.push([
      ...[way, middle(way, 'seconds'), ...shares],
      ...[middle(way, 'server'), ratio(way, 'proxy', 'server'), middle(way, 'proxy')],
    ]);
  }
  console.log(`${table}`);
}

const folder = mkdtempSync(join(tmpdir(), 'pgtandem-copy-'));
const cluster = await Cluster.create({
  settings: { shared_buffers: '512MB', max_wal_size: '16GB', autovacuum: false },
});
const proxies = new Map<Way, ProxyProcess>();
const urls = new Map<Way, string>();
try {
  await loadParser();
  for (const way of WAYS) {
    const admin = await cluster.client();
    await admin.query(`CREATE DATABASE ${way}_`);
    await admin.end();
    const client = await cluster.client(`${way}_`);
    await client.query(TABLE);
    if (options.indexes) await client.query(INDEXES);
    if (way === 'trigger') await client.query(TRIGGER);
    if (way === 'hook') await client.query(HOOK);
    await client.end();
    if (way === 'direct' || way === 'hook' || way === 'trigger') {
      urls.set(way, cluster.url(`${way}_`));
      continue;
    }
    const proxy = await ProxyProcess.start(cluster.url(`${way}_`));
    proxies.set(way, proxy);
    urls.set(way, proxy.url(`${way}_`));
    if (way !== 'proxy') await migrate(cluster.url(`${way}_`), CHANGE, way);
  }
  for (const format of FORMATS) {
    const file = writeData(folder, format);
    const text = `COPY orders (${COLUMNS}) FROM STDIN ${format.options}`;
    const figures = new Map(WAYS.map((way) => [way, [] as Figures[]]));
    for (let round = 0; round < options.rounds; round++) {
      for (const way of WAYS) {
        const client = await cluster.client(`${way}_`);
        await client.query('TRUNCATE orders');
        await client.query('CHECKPOINT');
        await client.end();
        figures.get(way)!.push(await measure(way, text, file));
      }
    }
    print(format.title, figures);
  }
} finally {
  for (const proxy of proxies.values()) await proxy.end('SIGTERM');
  await cluster.destroy();
  rmSync(folder, { recursive: true, force: true });
}
