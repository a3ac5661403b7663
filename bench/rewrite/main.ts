import Table from 'cli-table3';
import { Command } from 'commander';
import { median } from '../median.js';
import { measureBulk, ratio, WAYS } from './bulk.js';
import { measureShapes } from './shapes.js';

interface Options {
  rows: number;
  rounds: number;
  bulk: boolean;
  shapes: boolean;
}

const options = new Command('bench/rewrite')
  .description('What rewriting costs: a statement, and a million rows.')
  .option('--rows <n>', 'of a bulk write', Number, 1_000_000)
  .option('--rounds <n>', 'of bulk writes, of which the median is shown', Number, 3)
  .option('--no-bulk', 'leave out bulk writes')
  .option('--no-shapes', 'leave out single statements')
  .parse()
  .opts<Options>();

const STYLE = { head: [], border: [] };

if (options.shapes) {
  const table = new Table({
    head: [
      'CPU us',
      'bytes',
      'outcome',
      'parse alone',
      'first sight',
      'of parse',
      'like another',
      'cached',
    ],
    style: STYLE,
    colAligns: ['left', 'right', 'left', ...Array(5).fill('right')],
  });
  for (const { shape, bytes, outcome, parse, first, template, cached } of await measureShapes()) {
    const times = [parse.toFixed(1), first.toFixed(1), (first / parse).toFixed(1)];
    table.push([shape, bytes, outcome, ...times, template.toFixed(1), cached.toFixed(2)]);
  }
  console.log(`${table}`);
}

if (options.bulk) {
  const table = new Table({
    head: [
      `${options.rows} rows`,
      ...WAYS.map((way) => `${way} s`),
      ...['of proxy', 'of trigger', 'by hand of direct', 'guarded of direct'],
    ],
    style: STYLE,
    colAligns: ['left', ...Array(10).fill('right')],
  });
  for (const figures of await measureBulk(options.rows, options.rounds)) {
    const seconds = WAYS.map((way) => median(figures.seconds[way]).toFixed(2));
    const ratios = (['proxy', 'trigger'] as const).map((way) =>
      ratio(figures, 'migration', way).toFixed(2),
    );
    const least = (['by hand', 'guarded'] as const).map((way) =>
      ratio(figures, way, 'direct').toFixed(2),
    );
    table.push([figures.title, ...seconds, ...ratios, ...least]);
  }
  console.log(`${table}\nof: time under migration, by the time of that way in the same round`);
}
