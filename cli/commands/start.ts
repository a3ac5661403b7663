import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Command, Option } from 'commander';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { installSchema } from '../../db/schema.js';
import { type Definition, parseDefinition } from '../../migration/definition.js';
import { UserError } from '../../migration/errors.js';
import { type Forecast, readForecast } from '../../migration/forecast.js';
import type { Plan, Settings } from '../../migration/plan.js';
import { makePlan } from '../../migration/planner.js';
import { insertMigration } from '../../migration/store.js';
import { UNUSED_FOR_MS } from '../../migration/unused.js';
import { VERIFY_EVERY_MS } from '../../migration/verification.js';
import { loadParser } from '../../sql/rewriter.js';
import type { Guard } from '../../sql/rules.js';
import { withDatabase } from '../database.js';
import {
  bytes,
  columnOrderOption,
  databaseOption,
  duration,
  EXIT,
  fillWorkers,
  jsonOption,
  unusedForOption,
} from '../options.js';
import { describePlan } from '../print.js';
import { describeForecast } from '../print-seen.js';
import { WAIT_PHASES, waitFor } from '../watch.js';

interface StartOptions {
  e?: string;
  database: string;
  name?: string;
  guard: Guard;
  cutover: 'auto' | 'manual';
  columnOrder: 'keep' | 'physical';
  soak: number;
  unusedFor?: number;
  verifyEvery: number;
  learn: number;
  maxLag: number;
  maxLagBytes: number;
  chunkTime: number;
  fillWorkers: number;
  wait?: (typeof WAIT_PHASES)[number];
  json?: boolean;
}

export function planCommand(): Command {
  return withOptions(
    new Command('plan').description(
      'Say what a migration would do, and what stands in its way. Changes nothing.',
    ),
  ).action(async (file: string | undefined, options: StartOptions) => {
    const definition = await readDefinition(file, options);
    const { plan, seen } = await withDatabase(options.database, async (c) => {
      const plan = await makePlan(c, definition, options.guard);
      return { plan, seen: await readForecast(c, plan) };
    });
    print(plan, nameOf(definition, options), options, seen);
  });
}

export function startCommand(): Command {
  return withOptions(
    new Command('start').description(
      'Start a migration; the proxies carry it out. Returns at once, or with --wait when it got there.',
    ),
  )
    .addOption(
      new Option('--wait <phase>', 'wait until it is there; exit 0 only if it got there').choices(
        WAIT_PHASES,
      ),
    )
    .action(async (file: string | undefined, options: StartOptions) => {
      const definition = await readDefinition(file, options);
      const name = nameOf(definition, options);
      await withDatabase(options.database, async (connection) => {
        const plan = await makePlan(connection, definition, options.guard);
        await installSchema(connection);
        await insertMigration(connection, name, definition, plan, settingsOf(options));
        if (!options.json || !options.wait) print(plan, name, options);
        if (!options.wait) return;
        const reached = await waitFor(connection, name, options.wait, options.json ?? false);
        process.exitCode = reached ? EXIT.ok : EXIT.notReached;
      });
    });
}

function withOptions(command: Command): Command {
  return command
    .argument('[file]', 'an .sql file with ALTER TABLE; "-" reads standard input')
    .option('-e <sql>', 'the SQL itself, in place of a file')
    .addOption(databaseOption())
    .option('--name <name>', "the migration's name (default: the file's, or made from the table)")
    .addOption(
      new Option('--guard <guard>', 'what the database holds against writes past the proxy')
        .choices(['repair', 'reject', 'none'])
        .default('repair'),
    )
    .addOption(
      new Option('--cutover <when>', 'cut over as soon as it is ready, or when told to')
        .choices(['auto', 'manual'])
        .default('manual'),
    )
    .addOption(
      new Option('--soak <duration>', 'how long old and new are both written after cutover')
        .argParser(duration)
        .default(30 * 60_000, '30m'),
    )
    .addOption(unusedForOption())
    .addOption(
      new Option(
        '--learn <duration>',
        'how long its latency is learned before the backfill; 0: not',
      )
        .argParser(duration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option(
        '--verify-every <duration>',
        'compare all rows again while a cutover waits; 0: never',
      )
        .argParser(duration)
        .default(VERIFY_EVERY_MS, '1h'),
    )
    .addOption(columnOrderOption().default('keep'))
    .addOption(
      new Option('--max-lag <duration>', 'replication lag at which the backfill stops')
        .argParser(duration)
        .default(DEFAULT_THROTTLE.maxLagMs, '1s'),
    )
    .addOption(
      new Option('--max-lag-bytes <size>', 'the same in WAL not yet replayed')
        .argParser(bytes)
        .default(DEFAULT_THROTTLE.maxLagBytes, '64MB'),
    )
    .addOption(
      new Option('--chunk-time <duration>', 'what one chunk of the backfill should take')
        .argParser(duration)
        .default(DEFAULT_THROTTLE.chunkTargetMs, '50ms'),
    )
    .addOption(
      new Option('--fill-workers <n>', 'chunks of the backfill that are filled at once, 1 to 16')
        .argParser(fillWorkers)
        .default(DEFAULT_THROTTLE.fillWorkers),
    )
    .addOption(jsonOption());
}

async function readDefinition(
  file: string | undefined,
  options: StartOptions,
): Promise<Definition> {
  if ((file === undefined) === (options.e === undefined)) {
    throw new UserError(
      file === undefined ? 'There is no migration.' : 'There are two migrations: a file and -e.',
      'Give a file, or SQL with -e.',
    );
  }
  await loadParser();
  if (options.e !== undefined) return parseDefinition(options.e, '-e');
  try {
    const sql = readFileSync(file === '-' ? 0 : file!, 'utf8');
    return parseDefinition(sql, file === '-' ? 'stdin' : file!);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    throw new UserError(`Can't read ${file}: ${code}.`, 'Look at the path of the file.');
  }
}

function nameOf(definition: Definition, options: StartOptions): string {
  if (options.name !== undefined) return options.name;
  if (options.e === undefined && definition.file !== 'stdin') {
    return basename(definition.file).replace(/\.sql$/, '');
  }
  return [definition.table.name, ...definition.changes.map((change) => change.column)].join('_');
}

function settingsOf(options: StartOptions): Settings {
  return {
    cutover: options.cutover,
    columnOrder: options.columnOrder,
    soakMs: options.soak,
    learnMs: options.learn,
    verifyEveryMs: options.verifyEvery,
    unusedForMs: options.unusedFor ?? UNUSED_FOR_MS,
    maxLagMs: options.maxLag,
    maxLagBytes: options.maxLagBytes,
    chunkTargetMs: options.chunkTime,
    fillWorkers: options.fillWorkers,
  };
}

/** @param seen what the rewriter would make of the statements that were seen; null: not observed. */
function print(plan: Plan, name: string, options: StartOptions, seen?: Forecast | null): void {
  const settings = settingsOf(options);
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ name, plan, settings, ...(seen && { seen }) })}\n`);
    return;
  }
  process.stdout.write(describePlan(name, plan, settings));
  if (seen !== undefined) process.stdout.write(describeForecast(seen, plan));
}
