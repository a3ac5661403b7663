import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import t from 'tap';

const root = resolve(import.meta.dirname, '..', '..');

interface Row {
  folder: string;
  allowed: Set<string>;
}

/** The table of ARCHITECTURE.md: folder, and the folders it may import. */
function readTable(): Row[] {
  const lines = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8').split('\n');
  const start = lines.findIndex((line) => /^\| folder +\|/.test(line));
  const rows: Row[] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    const [folder, , imports] = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    const above = new Set(rows.map((row) => row.folder));
    const allowed =
      imports === 'all above'
        ? above
        : new Set(imports === 'nothing of ours' ? [] : imports!.split(', '));
    rows.push({ folder: folder!, allowed });
  }
  return rows;
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(root, folder, name));
}

function imports(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)].map((m) =>
    relative(root, resolve(file, '..', m[1]!)),
  );
}

const table = readTable();

t.test('the import table names every code folder that there is', async (t) => {
  const known = new Set(table.map((row) => row.folder));
  const there = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .filter((name) => !['node_modules', 'dist', 'docs', 'test', 'bench'].includes(name))
    .filter((name) => sources(name).length > 0);
  t.same(
    there.filter((name) => !known.has(name)),
    [],
  );
  t.ok(table.length >= 7, 'the table was read');
});

t.test('a folder imports only what the table allows', async (t) => {
  const wrong: string[] = [];
  for (const { folder, allowed } of table) {
    for (const file of sources(folder)) {
      for (const target of imports(file)) {
        const other = target.split('/')[0]!;
        if (other !== folder && !allowed.has(other))
          wrong.push(`${relative(root, file)} -> ${target}`);
      }
    }
  }
  t.same(wrong, []);
});

t.test('no source file is longer than 400 lines, and none is a barrel', async (t) => {
  const folders = [...table.map((row) => row.folder), 'test', 'bench'];
  const files = folders.filter((name) => existsSync(join(root, name))).flatMap(sources);
  const long = files.filter((file) => readFileSync(file, 'utf8').split('\n').length > 401);
  t.same(
    long.map((file) => relative(root, file)),
    [],
  );
  t.same(
    files.filter((file) => /(^|\/)index\.ts$/.test(file)),
    [],
  );
});

t.test('only cli reads the environment, the arguments or ends the process', async (t) => {
  const wrong: string[] = [];
  for (const { folder } of table.filter((row) => row.folder !== 'cli')) {
    for (const file of sources(folder)) {
      if (/process\.(env|argv|exit\b|on\('SIG)/.test(readFileSync(file, 'utf8'))) {
        wrong.push(relative(root, file));
      }
    }
  }
  t.same(wrong, []);
});

t.test('no file imports itself by way of others', async (t) => {
  const files = table.flatMap((row) => sources(row.folder));
  const targets = new Map(
    files.map((file) => [
      relative(root, file),
      // Types too: they are gone when it runs, and the files are still not to be read apart.
      imports(file).map((target) => target.replace(/\.js$/, '.ts')),
    ]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (done.has(file) || path.includes(file)) return;
    for (const target of targets.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  t.same(cycles, []);
  t.ok(targets.size > 30, 'the imports were read');
});

t.test('every dependency is used, and named with its reason in ARCHITECTURE.md', async (t) => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const code = table
    .flatMap((row) => sources(row.folder))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const rows = text.slice(text.indexOf('## Dependencies'));
  for (const name of Object.keys(dependencies)) {
    t.ok(code.includes(`from '${name}'`) || code.includes(`'${name}/`), `${name} is used`);
    t.match(rows, new RegExp(`\\b${name}\\b`), `${name} is named`);
  }
});
