import { Command } from 'commander';
import { installSchema, layoutVersion } from '../../db/schema.js';
import { observe } from '../../migration/observe.js';
import { type ObservedTable, readObserved } from '../../migration/observed.js';
import { readSeen } from '../../migration/seen.js';
import { withDatabase } from '../database.js';
import { databaseOption, jsonOption } from '../options.js';
import { describeSeen } from '../print-seen.js';

interface ObserveOptions {
  database: string;
  off?: boolean;
  json?: boolean;
}

export function observeCommand(): Command {
  return new Command('observe')
    .description(
      'Let the proxies record the statements on a table, before there is a migration of it; ' +
        'plan then says what would become of them. Without a table: list what is observed.',
    )
    .argument('[table]', 'the table, as in SQL')
    .addOption(databaseOption())
    .option('--off', 'record them no longer')
    .addOption(jsonOption())
    .action(async (name: string | undefined, options: ObserveOptions) => {
      await withDatabase(options.database, async (connection) => {
        if (name === undefined) {
          const used = (await layoutVersion(connection)) > 0;
          print(used ? await readObserved(connection) : [], options);
          return;
        }
        await installSchema(connection);
        const table = await observe(connection, name, options.off !== true);
        const seen = await readSeen(connection, table.oid);
        const { schema, name: own } = table;
        if (options.json) {
          const observed = options.off !== true;
          process.stdout.write(`${JSON.stringify({ schema, name: own, observed, seen })}\n`);
          return;
        }
        const now = options.off ? 'is not observed any more' : 'is observed';
        process.stdout.write(`${schema}.${own} ${now}.\n${describeSeen(seen)}`);
      });
    });
}

function print(tables: ObservedTable[], { json }: ObserveOptions): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(tables)}\n`);
    return;
  }
  const lines = tables.map(
    ({ schema, name, since }) => `${schema}.${name} since ${since.toISOString()}`,
  );
  process.stdout.write(`${lines.join('\n') || 'No table is observed.'}\n`);
}
