import { Command, Option } from 'commander';
import { runDemo } from '../demo/demo.js';
import { EXIT, jsonOption, rows } from '../options.js';

interface DemoOptions {
  rows: number;
  seconds: number;
  rate: number;
  seed?: number;
  keep?: boolean;
  json?: boolean;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'See it at work: a PostgreSQL 18 primary and a streaming standby of its own, the proxy, a ' +
        'busy application, and ALTER COLUMN ... TYPE bigint of a column of its table meanwhile.',
    )
    .addOption(
      new Option('--rows <n>', 'rows of the table').argParser(rows).default(1_000_000, '1000000'),
    )
    .addOption(
      new Option('--seconds <n>', 'how long the application runs before, and after each step')
        .argParser(rows)
        .default(5, '5'),
    )
    .addOption(
      new Option('--rate <n>', 'statements a second of the application')
        .argParser(rows)
        .default(600),
    )
    .addOption(new Option('--seed <n>', "of the application's random numbers").argParser(rows))
    .option('--keep', 'leave it all up at the end, to play with')
    .addOption(jsonOption())
    .action(async (options: DemoOptions) => {
      const kept = await runDemo({ ...options, keep: options.keep ?? false });
      process.exitCode = kept ? EXIT.ok : EXIT.failed;
    });
}
