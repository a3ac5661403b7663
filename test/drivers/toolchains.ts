import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..', '..', '..');
/** The programs' sources: they are not compiled with the rest. */
const sources = join(root, 'test', 'drivers');
/** What is fetched and built: thrown away with node_modules. */
const cache = join(root, 'node_modules', '.cache', 'drivers');

/** A tool that is missing, or a registry that does not answer: the driver is not run. */
export class NotInstalled extends Error {}

function run(
  program: string,
  args: string[],
  cwd = root,
  env: Record<string, string> = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) throw new NotInstalled(`${program} is not here`);
  if (status !== 0) {
    const why = (stderr || stdout).trim().split('\n').slice(-3).join(' ');
    throw new NotInstalled(`${program} ${args[0] ?? ''} failed: ${why}`);
  }
  return stdout.trim();
}

/** Runs `build` into a folder of the cache, unless it was made from the same sources before. */
function built(name: string, folder: string, build: (target: string) => void): string {
  const hash = createHash('sha256');
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(folder, file);
    if (/\.(txt|mod|sum|go|toml|lock|rs|xml|java)$/.test(file)) hash.update(readFileSync(path));
  }
  const digest = hash.digest('hex');
  const target = join(cache, name);
  const stamp = join(target, 'built');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return target;
  mkdirSync(target, { recursive: true });
  rmSync(stamp, { force: true });
  process.stderr.write(`building ${name} ...\n`);
  build(target);
  writeFileSync(stamp, digest);
  return target;
}

/** @returns the command that runs a Python program. */
export function python(program: string): string[] {
  const folder = join(sources, 'python');
  const target = built('python', folder, (target) => {
    run('python3', ['-m', 'venv', target]);
    const requirements = join(folder, 'requirements.txt');
    run(join(target, 'bin', 'pip'), ['install', '--quiet', '-r', requirements]);
  });
  return [join(target, 'bin', 'python'), '-B', join(folder, program)];
}

export function go(program: string): string[] {
  const folder = join(sources, 'go');
  const target = built('go', folder, (target) => {
    run('go', ['build', '-mod=readonly', '-o', `${target}/`, './...'], folder);
  });
  return [join(target, program)];
}

export function rust(program: string): string[] {
  const folder = join(sources, 'rust');
  const target = built('rust', folder, (target) => {
    run('cargo', ['build', '--quiet', '--locked', '--target-dir', target], folder);
  });
  return [join(target, 'debug', program)];
}

export function java(): string[] {
  const folder = join(sources, 'java');
  const target = built('java', folder, (target) => {
    const out = `-DoutputDirectory=${target}`;
    run('mvn', ['-q', '-B', '-f', join(folder, 'pom.xml'), 'dependency:copy-dependencies', out]);
    const classes = ['-d', target, '-cp', `${target}/*`, join(folder, 'Scenario.java')];
    run('javac', classes);
  });
  return ['java', '-XX:+UseSerialGC', '-Xmx256m', '-cp', `${target}:${target}/*`, 'Scenario'];
}

/** @param library what the program requires; it is not installed. */
export function ruby(program: string, library: string): string[] {
  run('ruby', ['-e', `require "${library}"`]);
  return ['ruby', join(sources, 'ruby', program)];
}

/** @returns the first word of a program's version. */
export function versionOf(program: string): string {
  return /\d+(\.\d+)*/.exec(run(program, ['--version']))?.[0] ?? '?';
}
