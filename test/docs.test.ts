import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { makeProgram } from '../cli/program.js';
import { REMEDIED } from '../sql/remedy.js';

const root = resolve(import.meta.dirname, '..', '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');

/** Sections of docs/cli.md: the commands in the heading, and the options in the table below it. */
function documented(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const section of read('docs/cli.md').split(/^## /m).slice(1)) {
    const [heading, ...lines] = section.split('\n');
    if (!heading!.startsWith('pgtandem ')) continue;
    const options = lines.flatMap((line) => {
      const match = /^\|\s*`(--?[a-z-]+)`\s*\|/.exec(line);
      return match ? [match[1]!] : [];
    });
    for (const name of heading!.replaceAll('pgtandem ', '').split(', ')) {
      found.set(name.trim(), new Set(options));
    }
  }
  return found;
}

/** Options that the page explains once for every command. */
const EVERYWHERE = new Set(['--database', '--help']);

t.test('docs/cli.md has every command and every option, and no other', async (t) => {
  const docs = documented();
  const { commands } = await makeProgram();
  t.same([...docs.keys()].sort(), commands.map((command) => command.name()).sort());
  for (const command of commands) {
    const told = docs.get(command.name())!;
    for (const option of command.options) {
      const flag = option.long ?? option.short!;
      if (!EVERYWHERE.has(flag)) t.ok(told.has(flag), `${command.name()} ${flag} is documented`);
    }
  }
  for (const [name, told] of docs) {
    const section = [...docs].filter(([, other]) => [...other].join() === [...told].join());
    const flags = new Set(
      section.flatMap(([other]) =>
        commands
          .find((command) => command.name() === other)!
          .options.map((option) => option.long ?? option.short!),
      ),
    );
    for (const flag of told) t.ok(flags.has(flag), `${name} has ${flag}`);
  }
});

t.test('docs/rewriting.md explains every reason of the rewriter', async (t) => {
  const told = [...read('docs/rewriting.md').matchAll(/^\| `([a-z-]+)`/gm)].map((m) => m[1]!);
  t.same(
    REMEDIED.filter((reason) => !told.includes(reason)),
    [],
  );
});

t.test('links between the documents lead somewhere', async (t) => {
  for (const name of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'docs/migrations.md']) {
    for (const [, target] of read(name).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      t.ok(existsSync(join(root, name, '..', target!)), `${name}: ${target}`);
    }
  }
});
