import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';

const root = resolve(import.meta.dirname, '..', '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const manifest = JSON.parse(read('package.json'));

interface Instruction {
  stage: string;
  name: string;
  /** What follows the name, continued lines joined. */
  rest: string;
}

/** The instructions of the Dockerfile, each with the stage that it is in. */
function instructions(): Instruction[] {
  const lines = read('Dockerfile')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '');
  let stage = '';
  return lines.map((line) => {
    const [, name = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (name === 'FROM') stage = / AS (\S+)$/.exec(rest)?.[1] ?? '';
    return { stage, name, rest };
  });
}

const dockerfile = instructions();
const of = (name: string) => dockerfile.filter((instruction) => instruction.name === name);

/** The files and folders that are copied from the build's context. */
function sources(): string[] {
  return of('COPY')
    .filter(({ rest }) => !rest.startsWith('--from='))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1));
}

t.test('what the image copies is there, and is let into the build', async (t) => {
  const allowed = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  t.ok(sources().length >= 10);
  t.same(
    sources().filter((source) => !existsSync(join(root, source))),
    [],
  );
  t.same([...new Set(sources())].sort(), allowed.sort());
  t.match(read('.dockerignore'), /^\*$/m);
});

t.test('every folder of code is in the image', async (t) => {
  const directions = read('ARCHITECTURE.md').split(/^## /m)[1]!;
  const table = directions.matchAll(/^\| (\w+) +\|.*\|.*\|$/gm);
  const folders = [...table].map((row) => row[1]!).filter((name) => name !== 'folder');
  t.ok(folders.length >= 7);
  t.same(
    folders.filter((folder) => !sources().includes(folder)),
    [],
  );
});

t.test('stages are made of scripts that there are and of stages before them', async (t) => {
  const stages = of('FROM').map(({ stage }) => stage);
  t.same(stages, ['manifest', 'build', 'dependencies', 'runtime']);
  const runs = [...read('Dockerfile').matchAll(/npm run ([\w-]+)/g)].map((match) => match[1]!);
  t.ok(runs.length > 0);
  t.same(
    runs.filter((script) => !(script in manifest.scripts)),
    [],
  );
  for (const { stage, rest } of of('COPY').filter(({ rest }) => rest.startsWith('--from='))) {
    const from = /^--from=(\S+)/.exec(rest)![1]!;
    t.ok(stages.indexOf(from) >= 0 && stages.indexOf(from) < stages.indexOf(stage), rest);
  }
});

t.test('the image says what package.json says', async (t) => {
  const labels = of('LABEL').map(({ rest }) => rest)[0]!;
  t.match(labels, `title="${manifest.name}"`);
  t.match(labels, `description="${manifest.description}"`);
  t.match(labels, `licenses="${manifest.license}"`);
  t.same(
    of('ARG').map(({ rest }) => rest),
    ['BASE_IMAGE=node:24-bookworm-slim', `VERSION=${manifest.version}`],
  );
  t.ok(sources().includes('LICENSE'));
  t.match(read('Dockerfile'), `ln -s /app/${manifest.bin.pgtandem} /usr/local/bin/pgtandem`);
});

t.test('the image runs the proxy, not as root, and checks itself without curl', async (t) => {
  const runtime = dockerfile.filter(({ stage }) => stage === 'runtime');
  const names = runtime.map(({ name }) => name);
  const value = (name: string) => runtime.findLast((each) => each.name === name)?.rest;
  t.equal(value('USER'), 'node');
  t.ok(names.lastIndexOf('USER') > names.lastIndexOf('RUN'));
  t.same(JSON.parse(value('ENTRYPOINT')!), Object.keys(manifest.bin));
  t.same(JSON.parse(value('CMD')!), ['proxy']);
  t.equal(value('STOPSIGNAL'), 'SIGTERM');
  const ports = [...value('ENV')!.matchAll(/0\.0\.0\.0:(\d+)/g)].map((match) => match[1]!);
  t.same(value('EXPOSE')!.split(' '), ports);
  const [program, flag, script] = JSON.parse(/CMD (\[.*\])$/.exec(value('HEALTHCHECK')!)![1]!);
  t.same([program, flag], ['node', '-e']);
  // Nobody answers on port 1, so what matters here is that the script runs and says so.
  const run = spawnSync(process.execPath, ['-e', script], {
    encoding: 'utf8',
    env: { PGTANDEM_METRICS: '0.0.0.0:1' },
  });
  t.equal(run.status, 1);
  t.equal(run.stderr, '');
});

t.test('.ci/run can be run, and its steps are scripts that there are', async (t) => {
  t.equal(statSync(join(root, '.ci', 'run')).mode & 0o111, 0o111);
  const text = read('.ci/run');
  const scripts = [...text.matchAll(/^step npm run --silent ([\w-]+)/gm)].map((match) => match[1]!);
  t.same(scripts, ['lint', 'build']);
  t.same(
    scripts.filter((script) => !(script in manifest.scripts)),
    [],
  );
  t.match(text, /^run npm test$/m);
  t.equal(spawnSync('bash', ['-n', join(root, '.ci', 'run')]).status, 0);
});

t.test('the lock file has every platform package that npm ci asks for', async (t) => {
  const { packages } = JSON.parse(read('package-lock.json'));
  const missing: string[] = [];
  for (const [path, entry] of Object.entries<{ optionalDependencies?: object }>(packages)) {
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      const there = [`${path}/node_modules/${name}`, `node_modules/${name}`];
      if (!there.some((each) => each in packages)) missing.push(`${path}: ${name}`);
    }
  }
  t.same(missing, []);
});

t.test('the package has no tests in it, and its program is named', async (t) => {
  t.ok(manifest.files.includes('!dist/test'));
  t.ok(readdirSync(join(root, 'cli')).includes('main.ts'));
});
