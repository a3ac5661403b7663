import { Command } from 'commander';
import type { Request } from '../migration/phase.js';
import { EXIT } from './options.js';
import { version } from './version.js';

const control = () => import('./commands/control.js');
const request = (name: Request) => async () => (await control()).requestCommand(name);
const started = () => import('./commands/start.js');

/** Every command, in the order of the help. One is loaded without what the others need. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./commands/demo.js')).demoCommand(),
  proxy: async () => (await import('./commands/proxy.js')).proxyCommand(),
  plan: async () => (await started()).planCommand(),
  start: async () => (await started()).startCommand(),
  status: async () => (await control()).statusCommand(),
  pause: async () => (await control()).pauseCommand(),
  resume: async () => (await control()).resumeCommand(),
  throttle: async () => (await import('./commands/throttle.js')).throttleCommand(),
  cutover: request('cutover'),
  revert: request('revert'),
  complete: request('complete'),
  abort: request('abort'),
  observe: async () => (await import('./commands/observe.js')).observeCommand(),
  explain: async () => (await import('./commands/explain.js')).explainCommand(),
};

/**
 * The command line: every command with its options. docs/cli.md says the same, and a test compares.
 * @param only the command that is asked for; when there is none of that name, all are loaded.
 */
export async function makeProgram(only = ''): Promise<Command> {
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

  const names = Object.hasOwn(COMMANDS, only) ? [only] : Object.keys(COMMANDS);
  for (const name of names) {
    const command = await COMMANDS[name]!();
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
