import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const CACHE = resolve(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'corpus');

/** Where Debian keeps the sources of the version whose grammar the parser has. */
const SUITE = 'sid';
const PACKAGE = 'postgresql-18';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * The folder `src/test/regress` of PostgreSQL's sources: one that is given, one that was fetched
 * before, or the one of Debian's source package, fetched with apt into a folder of our own.
 * @throws Error with what to do when there is no apt.
 */
export function regressFolder(given: string | undefined): string {
  if (given !== undefined) {
    if (existsSync(join(given, 'sql'))) return given;
    throw new Error(`There is no folder sql in ${given}: give src/test/regress of the sources.`);
  }
  return fetched() ?? fetchByApt();
}

function fetched(): string | null {
  if (!existsSync(CACHE)) return null;
  const name = readdirSync(CACHE).find((entry) => existsSync(join(CACHE, entry, REGRESS, 'sql')));
  return name === undefined ? null : join(CACHE, name, REGRESS);
}

const REGRESS = join('src', 'test', 'regress');

function fetchByApt(): string {
  const lists = join(CACHE, 'apt', 'lists');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  mkdirSync(join(CACHE, 'apt', 'archives', 'partial'), { recursive: true });
  const sources = join(CACHE, 'apt', 'src.sources');
  writeFileSync(
    sources,
    `Types: deb-src\nURIs: http://deb.debian.org/debian\nSuites: ${SUITE}\nComponents: main\nSigned-By: ${KEYRING}\n`,
  );
  const options = [
    `Dir::Etc::sourcelist=${sources}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${lists}`,
    `Dir::Cache=${join(CACHE, 'apt')}`,
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option]);
  run('apt-get', [...options, 'update']);
  run('apt-get', [...options, 'source', '--download-only', PACKAGE]);
  const archive = readdirSync(CACHE).find((name) => /\.orig\.tar\./.test(name));
  if (archive === undefined) throw new Error('apt-get has fetched no sources.');
  run('tar', ['xf', archive, '--wildcards', '*/src/test/regress']);
  const folder = fetched();
  if (folder === null) throw new Error(`There is no regression suite in ${archive}.`);
  return folder;
}

function run(command: string, args: string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { cwd: CACHE, encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(
    `${command} ${args.join(' ')} failed: ${error?.message ?? stderr}\n` +
      'Fetch the sources of PostgreSQL yourself, and give the folder: --from .../src/test/regress',
  );
}
