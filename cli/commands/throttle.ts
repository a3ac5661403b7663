import { Command } from 'commander';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../../backfill/job.js';
import { UserError } from '../../migration/errors.js';
import { ENDED } from '../../migration/phase.js';
import { changeSettings, loadMigration, type Migration } from '../../migration/store.js';
import { withDatabase } from '../database.js';
import { databaseOption, jsonOption } from '../options.js';
import { describeThrottle, throttleChanges, throttleOptions } from '../throttle-options.js';

export function throttleCommand(): Command {
  const command = new Command('throttle')
    .description('Show what a backfill is held to, or change it; the next chunk obeys.')
    .argument('<name>', 'the migration')
    .addOption(databaseOption())
    .addOption(jsonOption());
  for (const option of throttleOptions()) command.addOption(option);
  return command.action(async (name: string, options: Record<string, unknown>) => {
    await withDatabase(String(options.database), async (connection) => {
      const migration = await loadMigration(connection, name);
      const before = throttleOf(migration);
      const changes = throttleChanges(options, before);
      if (Object.keys(changes).length > 0) {
        if (ENDED.has(migration.phase.name)) {
          throw new UserError(`${name} is ${migration.phase.name}.`, 'It fills nothing any more.');
        }
        await changeSettings(connection, migration.id, changes);
      }
      const now = { ...before, ...changes };
      process.stdout.write(options.json ? `${JSON.stringify(now)}\n` : describeThrottle(now));
    });
  });
}

/** The thresholds alone, also of a migration that was begun before there were some of them. */
function throttleOf({ settings }: Migration): ThrottleSettings {
  const all: ThrottleSettings = { ...DEFAULT_THROTTLE, ...settings };
  const keys = Object.keys(DEFAULT_THROTTLE) as (keyof ThrottleSettings)[];
  return Object.fromEntries(keys.map((key) => [key, all[key]])) as unknown as ThrottleSettings;
}
