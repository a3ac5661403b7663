import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import { Command } from 'commander';
import type pg from 'pg';
import { median } from '../median.js';
import { Application } from './application.js';
import { batches, type Contender, type Filled, hasPgroll, pgroll, single } from './contenders.js';
import { describeEta } from './eta.js';
import { watchLag } from './lag.js';
import { capacity, type Place, serviceOf } from './load.js';
import { type Manner, pgtandem } from './pgtandem.js';
import { setStage } from './stage.js';
import { stolenWithin, watchStolen } from './stolen.js';
import { describeServices, SKIPPED_MS, type State, servicesOf, windowsOf } from './windows.js';

interface Options extends Manner {
  rows: number[];
  rounds: number;
  warmUp: number;
  seconds: number;
  only: string[];
  workers: number[];
  load: boolean;
  quiet: boolean;
  sharedBuffers?: string;
}

/** What one fill gave. */
interface Figures extends Filled {
  seconds: number;
  rowsPerSecond: number;
  /** Size after over size before: of the table alone, and of its indexes. */
  heapGrowth: number;
  indexGrowth: number;
  walBytesPerRow: number;
  /** The highest that was seen, milliseconds. */
  lagMs: number;
  services: ReturnType<typeof servicesOf>;
}

/** What the fill is compared with. */
const YARDSTICKS = ['before', 'alone', 'held', 'after'] as const;

/** The database that is filled, and the one of an application without migration. */
const RUN = 'run';
const ALONE = 'alone';

const list = (text: string) => text.split(',');

const options = new Command('bench/backfill')
  .description('How fast a column of a large table is filled, and at what cost to others.')
  .option('--rows <list>', 'sizes of the table', (text) => list(text).map(Number), [1e6, 1e7])
  .option('--rounds <n>', 'runs of each, of which the median is shown', Number, 1)
  .option('--warm-up <n>', 'seconds of the load that are not counted', Number, 20)
  .option('--seconds <n>', 'the load runs alone before the fill, and after', Number, 10)
  .option('--only <list>', 'contenders: single, batches, pgroll, pgtandem', list, [])
  .option('--workers <list>', 'of pgtandem', (text) => list(text).map(Number), [1, 2])
  .option(
    '--set <json>',
    "settings of pgtandem's backfill that are not the default",
    (text: string) => JSON.parse(text) as Record<string, unknown>,
    {} as Record<string, unknown>,
  )
  .option('--at-most <n>', 'seconds of a fill by pgtandem under load', Number, 60)
  .option(
    '--turn <n>',
    'seconds for which it is held, and the application elsewhere, by turns then; it fills for two',
    Number,
    10,
  )
  .option('--shared-buffers <size>', 'of the primary; a quarter of the memory by default')
  .option('--trace', 'print each progress of pgtandem', false)
  .option('--no-quiet', 'only under load')
  .option('--no-load', 'only quiet')
  .parse()
  .opts<Options>();

const all: Record<string, Contender[]> = {
  single: [single],
  batches: [batches],
  pgroll: (await hasPgroll()) ? [pgroll] : [],
  pgtandem: options.workers.map((workers) => pgtandem(workers, options)),
};
if (all.pgroll!.length === 0) console.log('pgroll is not on the PATH: left out.');
const contenders = Object.entries(all)
  .filter(([name]) => options.only.length === 0 || options.only.includes(name))
  .flatMap(([, each]) => each);

for (const rows of options.rows) {
  const stage = await setStage(rows, options.sharedBuffers);
  try {
    if (options.quiet) await compare(rows, false);
    if (options.load) await compare(rows, true);
  } catch (error) {
    // Told before the connections that are open fail in their turn.
    console.error(error);
    process.exitCode = 1;
  } finally {
    await stage.stop();
  }

  async function compare(count: number, isLoaded: boolean): Promise<void> {
    const runs = new Map(contenders.map(({ name }) => [name, [] as Figures[]]));
    for (let round = 0; round < options.rounds; round++) {
      for (const contender of contenders) {
        const rate = isLoaded ? (await capacityWith(contender)) / 2 : null;
        runs.get(contender.name)!.push(await measure(contender, rate));
      }
    }
    const title = isLoaded ? `TPC-B at half of what the machine can do` : 'quiet';
    console.log(`${count.toLocaleString('en-US')} rows, ${title}`);
    print(runs, isLoaded);
  }

  /** Transactions a second of an application that connects as this contender has it, and no fill. */
  async function capacityWith(contender: Contender): Promise<number> {
    await stage.fresh(RUN);
    const run = await contender.open(stage.cluster, RUN);
    try {
      return await capacity(run.place, options.seconds);
    } finally {
      await run.close();
    }
  }

  async function measure(contender: Contender, rate: number | null): Promise<Figures> {
    const { cluster } = stage;
    const alone = rate === null ? undefined : ALONE;
    await stage.fresh(RUN, ...(alone ? [alone] : []));
    const run = await contender.open(cluster, RUN, alone);
    const client = await cluster.client(RUN);
    client.on('error', () => undefined);
    const application = rate === null ? null : new Application(rate);
    // It takes some of the machine, so it does before the fill, too.
    const lag = await watchLag(cluster);
    // Until then each page that is changed is in the WAL as a whole, and code is not compiled yet.
    const warmUp = async (place: Place) => {
      await application?.moveTo(place);
      if (application) await sleep(options.warmUp * 1_000);
    };
    if (run.alone) await warmUp(run.alone);
    await warmUp(run.place);
    const watch = watchStolen();
    const startMs = Date.now();
    if (application) await sleep(options.seconds * 1_000);
    const beganMs = Date.now();
    const was = await sizes(client);
    lag.begin();
    const filled = await run.fill(application);
    const lagMs = await lag.stop();
    const is = await sizes(client);
    const { rows: wal } = await client.query(
      'SELECT pg_wal_lsn_diff($1, $2)::float8 AS bytes, count(*)::float8 AS n FROM pgbench_accounts',
      [is.lsn, was.lsn],
    );
    // An update of a row is more; so few are of DDL alone.
    if (wal[0].bytes < 40 * (filled.rows ?? wal[0].n))
      throw new Error(`${contender.name} has filled nothing`);
    await client.end();
    // Who waited for the fill is to end, and to be in the log.
    if (application) await sleep(SKIPPED_MS);
    const done = (await application?.stop()) ?? [];
    await run.close();
    const { fromMs, toMs } = filled;
    const stolen = watch.stop();
    for (let at = startMs; application && options.trace && at < toMs; at += 1_000) {
      const { tps, p99 } = serviceOf(done, at, at + 1_000);
      const seconds = ((at - fromMs) / 1_000).toFixed(1);
      const lost = `${stolenWithin(stolen, at, at + 1_000)} ms stolen`;
      console.log(
        `${seconds} s: ${tps.toFixed(0)} transactions/s, p99 ${p99.toFixed(1)} ms, ${lost}`,
      );
    }
    const seconds = filled.seconds ?? (toMs - fromMs) / 1000;
    const windows = [
      ...windowsOf('before', startMs, beganMs, options.turn),
      ...(filled.windows ?? windowsOf('filling', fromMs, toMs, options.turn)),
    ];
    return {
      ...filled,
      seconds,
      rowsPerSecond: (filled.rows ?? wal[0].n) / seconds,
      heapGrowth: is.heap / was.heap,
      indexGrowth: is.indexes / was.indexes,
      walBytesPerRow: wal[0].bytes / (filled.rows ?? wal[0].n),
      lagMs,
      services: servicesOf(done, windows, stolen),
    };
  }
}

async function sizes(client: pg.Client) {
  const { rows } = await client.query(
    `SELECT pg_relation_size('pgbench_accounts')::float8 AS heap,
       pg_indexes_size('pgbench_accounts')::float8 AS indexes, pg_current_wal_insert_lsn() AS lsn`,
  );
  return rows[0] as { heap: number; indexes: number; lsn: string };
}

/** Nothing of what was not seen. */
function shown(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : '';
}

function print(runs: ReadonlyMap<string, Figures[]>, loaded: boolean): void {
  const head = ['', 's', 'rows/s', 'of UPDATE', 'heap', 'indexes', 'WAL B/row', 'lag ms'];
  if (loaded)
    head.push(
      ...['tps', 'p99 ms'].flatMap((what) => [what, ...YARDSTICKS.map((state) => `of ${state}`)]),
    );
  head.push('MB at 10%', 'at 100%', 'ETA off');
  const table = new Table({
    head,
    style: { head: [], border: [] },
    colAligns: ['left', ...Array(head.length - 1).fill('right')],
  });
  const middle = (of: readonly Figures[], pick: (figures: Figures) => number) =>
    median(of.map(pick));
  const yardstick = runs.get(single.name);
  for (const [name, own] of runs) {
    const speed = middle(own, (each) => each.rowsPerSecond);
    const part = own.some(({ rows }) => rows !== undefined);
    const row = [
      name,
      middle(own, (each) => each.seconds).toFixed(1),
      Math.round(speed).toLocaleString('en-US'),
      yardstick ? (speed / middle(yardstick, (each) => each.rowsPerSecond)).toFixed(2) : '',
      // Not of a fill that was not given the time for all rows, nor what the application has written.
      shown(part ? Number.NaN : middle(own, (each) => each.heapGrowth), 2),
      shown(part ? Number.NaN : middle(own, (each) => each.indexGrowth), 2),
      shown(loaded ? Number.NaN : middle(own, (each) => each.walBytesPerRow), 0),
      middle(own, (each) => each.lagMs).toFixed(0),
    ];
    if (loaded) {
      for (const what of ['tps', 'p99'] as const) {
        const of = (state: State) =>
          middle(own, ({ services }) => services.get(state)?.[what] ?? Number.NaN);
        const during = of('filling');
        row.push(shown(during, what === 'tps' ? 0 : 1));
        row.push(...YARDSTICKS.map((state) => shown(during / of(state), 2)));
      }
    }
    const last = own.at(-1)!;
    const MB = 1024 ** 2;
    row.push(
      shown((last.resident?.early ?? Number.NaN) / MB, 0),
      shown((last.resident?.late ?? Number.NaN) / MB, 0),
      own.flatMap(({ eta }) => (eta ? [`${(eta.error * 100).toFixed(0)}%`] : [])).join(' '),
    );
    table.push(row);
  }
  console.log(table.toString());
  for (const [name, own] of runs) {
    for (const { eta, shares, services, paces } of own) {
      for (const line of describeServices(services)) console.log(`${name}, ${line}`);
      if (paces) console.log(`${name}, rows/s by turn: ${paces.map(Math.round).join(' ')}`);
      if (shares) console.log(`${name}: ${shares}`);
      if (eta) console.log(`  the ETA was farthest off at ${describeEta(eta)}`);
    }
  }
}
