import { Command } from 'commander';
import { pauseCommand, requestCommand, resumeCommand, statusCommand } from './commands/control.js';
import { demoCommand } from './commands/demo.js';
import { explainCommand } from './commands/explain.js';
import { observeCommand } from './commands/observe.js';
import { proxyCommand } from './commands/proxy.js';
import { planCommand, startCommand } from './commands/start.js';
import { throttleCommand } from './commands/throttle.js';
import { EXIT } from './options.js';
import { version } from './version.js';

/** The command line: every command with its options. docs/cli.md says the same, and a test compares. */
export function makeProgram(): Command {
  const program = new Command('pgtandem')
    .description(
      'Online schema change proxy for PostgreSQL: old and new columns are written in tandem until ' +
        'the database has proved every row.',
    )
    .version(version())
    .showHelpAfterError('(pgtandem COMMAND --help says more)')
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage);
    });

  for (const command of [
    demoCommand(),
    proxyCommand(),
    planCommand(),
    startCommand(),
    statusCommand(),
    pauseCommand(),
    resumeCommand(),
    throttleCommand(),
    requestCommand('cutover'),
    requestCommand('revert'),
    requestCommand('complete'),
    requestCommand('abort'),
    observeCommand(),
    explainCommand(),
  ]) {
    program.addCommand(command.copyInheritedSettings(program));
  }

  program.addHelpText(
    'after',
    `
A first migration:
  $ pgtandem proxy --upstream postgres://control@db:5432/shop --listen 127.0.0.1:6432
  (point the application at 127.0.0.1:6432, then, elsewhere:)
  $ export PGTANDEM_DATABASE=postgres://control@db:5432/shop
  $ pgtandem plan  -e 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint'
  $ pgtandem start -e 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint' --wait ready
  $ pgtandem cutover orders_amount
  $ pgtandem complete orders_amount

To see it at work on a server of its own: pgtandem demo`,
  );

  return program;
}
