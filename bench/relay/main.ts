import Table from 'cli-table3';
import { Command } from 'commander';
import { median } from '../median.js';
import { OTHERS } from './others.js';
import { type Cell, type Figures, pgbench } from './pgbench.js';
import { setStage } from './stage.js';

interface Options {
  seconds: number;
  rounds: number;
  scale: number;
  clients: number[];
  modes: Cell['mode'][];
  workloads: Cell['workload'][];
  only: string[];
  tls: boolean;
  transactions: boolean;
  others: boolean;
  measures: string[];
  slow: number;
}

const list = (text: string) => text.split(',');
const NAMES = OTHERS.map(({ name }) => name);

const options = new Command('bench/relay')
  .description('What the relay costs, beside PgBouncer, socat and no proxy at all (Linux).')
  .option('--seconds <n>', 'of one run', Number, 3)
  .option('--rounds <n>', 'runs of each, of which the median is shown', Number, 3)
  .option('--scale <n>', "pgbench's scale", Number, 10)
  .option('--clients <list>', 'connections', (text) => list(text).map(Number), [1, 8, 32, 128])
  .option('--modes <list>', 'of the protocol', list, ['simple', 'extended', 'prepared'])
  .option('--workloads <list>', 'select, tpcb, pipeline', list, ['select', 'pipeline', 'tpcb'])
  .option('--only <list>', 'contenders', list, [])
  .option('--tls', 'from the clients to PgBouncer and pgtandem', false)
  .option('--no-transactions', 'leave out transactions')
  .option('--no-others', 'leave out connections, COPY and memory (as with --tls)')
  .option('--measures <list>', `of these: ${NAMES.join(', ')}`, list, NAMES)
  .option('--slow <megabytes>', 'of 1 GB at 1 MB/s, a second each; 1000: to the end', Number, 8)
  .parse()
  .opts<Options>();

const cells = options.workloads.flatMap((workload) =>
  options.modes
    // The simple protocol has no pipelines.
    .filter((mode) => workload !== 'pipeline' || mode !== 'simple')
    .flatMap((mode) => options.clients.map((clients): Cell => ({ workload, mode, clients }))),
);
console.log(`Node ${process.version}, ${options.rounds} rounds of ${options.seconds} s`);
const stage = await setStage(options.scale, options.only, options.tls);
try {
  let warm = '';
  for (const cell of options.transactions ? cells : []) {
    const kind = `${cell.workload} ${cell.mode}`;
    if (kind !== warm) await warmUp(cell);
    warm = kind;
    const runs = new Map(stage.contenders.map(({ name }) => [name, [] as Figures[]]));
    for (let round = 0; round < options.rounds; round++) {
      for (const contender of stage.contenders) {
        const figures = await pgbench(contender, cell, options.seconds, options.scale);
        runs.get(contender.name)!.push(figures);
      }
    }
    print(cell, runs);
  }
  if (options.others && !options.tls) await measureOthers();
} finally {
  await stage.stop();
}

/** What has just been started compiles its code and fills its caches while it is used first. */
async function warmUp(cell: Cell): Promise<void> {
  for (const contender of stage.contenders) {
    await pgbench(contender, { ...cell, clients: 8 }, options.seconds, options.scale);
  }
}

function print(cell: Cell, runs: ReadonlyMap<string, Figures[]>): void {
  const yardstick = runs.get('pgbouncer');
  const table = new Table({
    head: ['', 'tps', 'of PgBouncer', 'of socat', 'p50 ms', 'p99 ms', 'of', 'CPU us', 'of'],
    style: { head: [], border: [] },
    colAligns: ['left', ...Array(8).fill('right')],
  });
  const ratio = (own: Figures[], other: Figures[] | undefined, of: keyof Figures) =>
    other ? (middle(own, of) / middle(other, of)).toFixed(2) : '';
  for (const [name, own] of runs) {
    const cpu = middle(own, 'cpu');
    table.push([
      name,
      Math.round(middle(own, 'tps')),
      ratio(own, yardstick, 'tps'),
      ratio(own, runs.get('socat'), 'tps'),
      middle(own, 'p50').toFixed(2),
      middle(own, 'p99').toFixed(2),
      ratio(own, yardstick, 'p99'),
      cpu > 0 ? cpu.toFixed(1) : '',
      cpu > 0 ? ratio(own, yardstick, 'cpu') : '',
    ]);
  }
  console.log(`${cell.workload}, ${cell.mode}, ${cell.clients} clients\n${table}`);
}

async function measureOthers(): Promise<void> {
  for (const { title, unit, measure } of OTHERS.filter(({ name }) =>
    options.measures.includes(name),
  )) {
    const runs = new Map(stage.contenders.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < options.rounds; round++) {
      for (const contender of stage.contenders) {
        const value = await measure(contender, options.slow);
        if (value !== null) runs.get(contender.name)!.push(value);
      }
    }
    console.log(`${title}, ${unit}`);
    for (const [name, values] of runs) {
      if (values.length > 0) console.log(`  ${name.padEnd(12)} ${median(values).toFixed(1)}`);
    }
  }
}

function middle(runs: readonly Figures[], of: keyof Figures): number {
  return median(runs.map((run) => run[of]));
}
