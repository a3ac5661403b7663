import { Command, Option } from 'commander';
import { forgetStandbys } from '../../backfill/lag.js';
import type { Connection } from '../../db/connect.js';
import { layoutVersion } from '../../db/schema.js';
import { UserError } from '../../migration/errors.js';
import { ENDED, type Request } from '../../migration/phase.js';
import { requestMove } from '../../migration/request.js';
import { readSeen } from '../../migration/seen.js';
import { arriving, leaving } from '../../migration/stage.js';
import {
  changeSettings,
  listMigrations,
  loadMigration,
  type Migration,
  readHistory,
  setPaused,
} from '../../migration/store.js';
import { UNUSED_FOR_MS, usesOf } from '../../migration/unused.js';
import { withDatabase } from '../database.js';
import {
  columnOrderOption,
  databaseOption,
  EXIT,
  jsonOption,
  unusedForOption,
} from '../options.js';
import { describeList, describeMigration, toJson } from '../print.js';
import { describeSeen, describeUses } from '../print-seen.js';
import { WAIT_PHASES, waitFor, watch } from '../watch.js';

interface ControlOptions {
  database: string;
  json?: boolean;
  watch?: boolean;
  forgetStandbys?: boolean;
  columnOrder?: 'keep' | 'physical';
  wait?: (typeof WAIT_PHASES)[number];
  unusedFor?: number;
  force?: boolean;
  statements?: boolean;
}

export function statusCommand(): Command {
  return new Command('status')
    .description('Show where a migration stands, or list all of them.')
    .argument('[name]', 'the migration')
    .addOption(databaseOption())
    .addOption(jsonOption())
    .option('--watch', 'go on showing it until it has ended')
    .option('--statements', 'show every statement that was seen on its table')
    .action(async (name: string | undefined, options: ControlOptions) => {
      await withDatabase(options.database, async (connection) => {
        if (name === undefined) return await printList(connection, options);
        const migration = await loadMigration(connection, name);
        if (options.watch) {
          const over = (now: Migration) => ENDED.has(now.phase.name);
          await watch(connection, name, options.json ?? false, over);
          return;
        }
        await printOne(connection, migration, options);
      });
    });
}

async function printList(connection: Connection, options: ControlOptions): Promise<void> {
  const used = (await layoutVersion(connection)) > 0;
  const migrations = used ? await listMigrations(connection) : [];
  process.stdout.write(
    options.json
      ? `${JSON.stringify(migrations.map((migration) => toJson(migration, [])))}\n`
      : describeList(migrations),
  );
}

async function printOne(
  connection: Connection,
  migration: Migration,
  options: ControlOptions,
): Promise<void> {
  const history = await readHistory(connection, migration.id);
  const seen = await readSeen(connection, migration.plan.table.oid);
  if (options.json) {
    const { plan, createdAt } = migration;
    const named = usesOf(seen, [...leaving(plan), ...arriving(plan)], createdAt);
    const all = { ...toJson(migration, history), named, ...(options.statements && { seen }) };
    process.stdout.write(`${JSON.stringify(all)}\n`);
    return;
  }
  process.stdout.write(describeMigration(migration, history));
  const uses = describeUses(migration, seen);
  if (uses) process.stdout.write(`\n${uses}`);
  if (options.statements) process.stdout.write(`\n${describeSeen(seen)}`);
}

export function pauseCommand(): Command {
  return control('pause', 'Stop before the next effect; both columns are still written.').action(
    async (name: string, options: ControlOptions) => {
      await withDatabase(options.database, async (connection) => {
        const migration = await loadMigration(connection, name);
        if (ENDED.has(migration.phase.name)) {
          throw new UserError(`${name} is ${migration.phase.name}.`, 'There is nothing to pause.');
        }
        await setPaused(connection, migration.id, 'by the operator');
        await printOne(connection, await loadMigration(connection, name), options);
      });
    },
  );
}

export function resumeCommand(): Command {
  return control('resume', 'Go on after a pause, by an operator or by an error.')
    .option('--forget-standbys', 'standbys that are not streaming now are gone for good')
    .action(async (name: string, options: ControlOptions) => {
      await withDatabase(options.database, async (connection) => {
        const migration = await loadMigration(connection, name);
        if (options.forgetStandbys) await forgetStandbys(connection);
        await setPaused(connection, migration.id, null);
        await printOne(connection, await loadMigration(connection, name), options);
      });
    });
}

const REQUEST_HELP: Record<Request, string> = {
  cutover: 'Let the new columns take over (again).',
  revert: 'Go back to the old columns; nothing written meanwhile is lost.',
  complete: 'Drop the old columns and everything of pgtandem; there is no way back after it.',
  abort: 'Give the migration up: drop the new columns and everything of pgtandem.',
};

export function requestCommand(request: Request): Command {
  const command = control(request, REQUEST_HELP[request]);
  if (request === 'complete') command.addOption(columnOrderOption());
  if (request === 'complete' || request === 'abort') {
    command.addOption(unusedForOption()).option('--force', 'whoever uses the name that goes away');
  }
  return command
    .addOption(
      new Option('--wait <phase>', 'wait until it is there; exit 0 only if it got there').choices(
        WAIT_PHASES,
      ),
    )
    .action(async (name: string, options: ControlOptions) => {
      await withDatabase(options.database, async (connection) => {
        if (!(await onlyOrder(connection, name, options))) {
          const unusedForMs = options.force ? 0 : (options.unusedFor ?? UNUSED_FOR_MS);
          await requestMove(connection, name, request, unusedForMs);
        }
        if (options.wait) {
          const reached = await waitFor(connection, name, options.wait, options.json ?? false);
          process.exitCode = reached ? EXIT.ok : EXIT.notReached;
          return;
        }
        await printOne(connection, await loadMigration(connection, name), options);
      });
    });
}

/** `complete --column-order` of a migration that is complete changes that alone. */
async function onlyOrder(
  connection: Connection,
  name: string,
  { columnOrder }: ControlOptions,
): Promise<boolean> {
  if (columnOrder === undefined) return false;
  const { id, phase } = await loadMigration(connection, name);
  await changeSettings(connection, id, { columnOrder });
  return phase.name === 'completed';
}

function control(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .argument('<name>', 'the migration')
    .addOption(databaseOption())
    .addOption(jsonOption());
}
