import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import pg from 'pg';
import { readSeen, type Seen } from '../../migration/seen.js';
import type { Rig } from './rig.js';

const MAIN = resolve(import.meta.dirname, '..', '..', 'cli', 'main.js');

/** Runs a command on the rig's database. */
export function pgtandem(
  rig: Rig,
  ...args: string[]
): Promise<{ code: number | null; out: string }> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, PGTANDEM_DATABASE: rig.cluster.url() },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      out += chunk;
    });
    child.on('close', (code) => done({ code, out }));
  });
}

/** An application, through the proxy. */
export async function connect(rig: Rig, name: string, options = ''): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: rig.proxy.url(),
    application_name: name,
    ...(options && { options }),
  });
  await client.connect();
  return client;
}

/** Waits until what was seen of the table is as wanted. */
export async function seen(
  rig: Rig,
  table: string,
  wanted: (all: Seen[]) => boolean,
): Promise<Seen[]> {
  const oid = Number(await rig.one(`SELECT '${table}'::regclass::oid::int8`));
  const deadline = Date.now() + 20_000;
  for (;;) {
    const all = await readSeen(rig.control, oid);
    if (wanted(all)) return all;
    if (Date.now() > deadline) throw new Error(`seen so far: ${JSON.stringify(all, null, 1)}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** How often statements with this part in them were run. */
export const countOf = (all: Seen[], part: string, application?: string) =>
  all
    .filter(({ statement }) => statement.includes(part))
    .filter((each) => application === undefined || each.application === application)
    .reduce((sum, { count }) => sum + count, 0);
