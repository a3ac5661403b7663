import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Cluster } from '../../cli/demo/cluster.js';
import { row } from '../proxy/wire.js';
import { Counter, loadParser } from './count.js';
import { printLeft, printTable, shareRewritten, writeDocs } from './report.js';
import { Script } from './script.js';
import { HELPERS, Session } from './session.js';
import { regressFolder } from './sources.js';

/*
 * PostgreSQL's regression suite as a corpus: its scripts run one after the other against a real
 * server, in the order of its own schedule, and each statement is rewritten before it runs.
 */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    from: { type: 'string' },
    'write-docs': { type: 'boolean' },
    left: { type: 'boolean' },
  },
});

/** They need psql, another encoding, or more of the server than there is. */
const LEFT_OUT = new Set([
  'psql',
  'psql_crosstab',
  'psql_pipeline',
  'event_trigger',
  'event_trigger_login',
  'tablespace',
  'stats',
  'encoding',
]);

function scriptsOf(folder: string): string[] {
  const lines = readFileSync(join(folder, 'parallel_schedule'), 'utf8').split('\n');
  return lines
    .flatMap((line) => (/^test:\s*(.*)$/.exec(line)?.[1] ?? '').split(/\s+/))
    .filter((name) => name !== '' && !LEFT_OUT.has(name))
    .filter((name) => existsSync(join(folder, 'sql', `${name}.sql`)));
}

/** A script of the suite may bring the server down: the next one waits until it is there again. */
async function opened(port: number): Promise<Session> {
  for (const until = Date.now() + 30_000; Date.now() < until; ) {
    const session = await Session.open(port, 'postgres');
    if (session) return session;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('The server does not come back.');
}

async function runScript(
  cluster: Cluster,
  folder: string,
  name: string,
  counter: Counter,
): Promise<void> {
  const text = readFileSync(join(folder, 'sql', `${name}.sql`), 'utf8');
  const environment = {
    PG_ABS_SRCDIR: folder,
    PG_LIBDIR: '',
    PG_DLSUFFIX: '.so',
    PG_ABS_BUILDDIR: folder,
  };
  const script = new Script(text, { DBNAME: 'regression' }, environment);
  let session: Session | null = await opened(cluster.port);
  for (let item = script.next(); item; item = script.next()) {
    if (item.kind === 'connect' || !session || session.isEnded) {
      session?.close();
      const role = item.kind === 'connect' ? (item.role ?? 'postgres') : 'postgres';
      session = await Session.open(cluster.port, role);
      if (item.kind === 'connect') continue;
    }
    if (!session) continue;
    await counter.statement(session, item.sql);
    const answer = item.bound
      ? await session.bound(item.sql, item.bound)
      : await session.query(item.sql, item.data);
    const rows = answer.filter(({ type }) => type === 'D').map(({ body }) => row(body));
    if (item.into !== null) {
      const names = columnNames(answer.find(({ type }) => type === 'T')?.body);
      names.forEach((column, i) => {
        script.variables.set(`${item.into}${column}`, rows[0]?.[i] ?? '');
      });
    }
    if (item.executes) for (const cell of rows.flat()) await session.query(cell);
  }
  session?.close();
}

function columnNames(description: Buffer | undefined): string[] {
  const names: string[] = [];
  if (!description) return names;
  let pos = 2;
  for (let left = description.readUInt16BE(0); left > 0; left--) {
    const end = description.indexOf(0, pos);
    names.push(description.toString('utf8', pos, end));
    pos = end + 19;
  }
  return names;
}

const folder = regressFolder(values.from);
await loadParser();
const cluster = await Cluster.create({ major: 18, settings: { max_prepared_transactions: 2 } });
const counter = new Counter();
const wanted = (name: string) =>
  positionals.length === 0 || name === 'test_setup' || positionals.includes(name);
try {
  const admin = await cluster.client();
  await admin.query("CREATE DATABASE regression TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
  await admin.end();
  const setup = await cluster.client('regression');
  await setup.query(HELPERS);
  await setup.end();
  for (const name of scriptsOf(folder).filter(wanted)) {
    const [before, start] = [counter.statements, Date.now()];
    await runScript(cluster, folder, name, counter);
    console.error(`${name}: ${counter.statements - before} statements, ${Date.now() - start} ms`);
  }
} finally {
  await cluster.destroy();
}
for (const { what, text, sent } of counter.wrong) console.log(`-- ${what}\n${text};\n${sent};\n`);
printTable(counter);
for (const of of ['outcomes', 'taken', 'outcomes without files', 'taken without files'] as const) {
  console.log(`rewritten, ${of}: ${(100 * shareRewritten(counter, of)).toFixed(2)} %`);
}
if (values.left) printLeft(counter);
if (values['write-docs']) writeDocs(counter, basename(join(folder, '..', '..', '..')));
process.exitCode = counter.wrong.length > 0 ? 1 : 0;
