import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Rig } from '../e2e/rig.js';
import type { Ground, Phase } from './phases.js';
import { output } from './psql.js';
import type { Subject } from './subject.js';
import { versionOf } from './toolchains.js';

export const MODES = ['simple', 'extended', 'prepared', 'pipeline'] as const;
type Mode = (typeof MODES)[number];

export const ACCOUNTS: Ground = {
  table: 'pgbench_accounts',
  number: 'abalance',
  before: 'abalance',
  after: 'balance',
  columns: ['aid', 'bid', 'abalance', 'filler'],
};

/** How many transactions each mode makes in each phase, at the least. */
const ENOUGH = 50;
/** Transactions of one mode in a second: all the time, without using up the machine. */
const RATE = 40;
const LIMIT_MS = 60_000;

/** A server whose tables pgbench has made and filled through the proxy. */
export async function openAccounts(): Promise<Rig> {
  versionOf('pgbench');
  const rig = await Rig.open();
  try {
    await output('pgbench', ['--quiet', '-i', '-I', 'dtgvp', rig.proxy.url()]);
    return rig;
  } catch (error) {
    await rig.close();
    throw error;
  }
}

/** TPC-B as pgbench has it, but that history says who has written it. */
function script(mode: Mode, balance: string): string {
  const [start, end] = mode === 'pipeline' ? ['\\startpipeline', '\\endpipeline'] : ['', ''];
  return `
\\set aid random(1, 100000)
\\set bid 1
\\set tid random(1, 10)
\\set delta random(-5000, 5000)
${start}
BEGIN;
UPDATE pgbench_accounts SET ${balance} = ${balance} + :delta WHERE aid = :aid;
SELECT ${balance} FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, filler)
  VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP, '${mode}');
END;
${end}
`;
}

/**
 * pgbench in one of its modes, which goes on while the migration moves. It is started anew only
 * when the application is, before the column's old name goes.
 */
export class Pgbench implements Subject {
  readonly name: string;
  readonly version = versionOf('pgbench');
  private readonly folder = mkdtempSync(join(tmpdir(), 'pgtandem-pgbench-'));
  private running: { column: string; child: ChildProcess; said: () => string } | undefined;

  constructor(
    private readonly mode: Mode,
    private readonly url: string,
  ) {
    this.name = `pgbench (${mode})`;
  }

  async exercise({ column }: Phase): Promise<string[]> {
    if (this.running?.column !== column) {
      await this.stop();
      this.start(column);
    }
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    try {
      await this.untilEnough(client);
      await checkBalances(client, column);
    } finally {
      await client.end();
    }
    return ['TPC-B without a pause', 'balances agree'];
  }

  private start(column: string): void {
    const file = join(this.folder, `${column}.sql`);
    writeFileSync(file, script(this.mode, column));
    const protocol = this.mode === 'pipeline' ? 'prepared' : this.mode;
    const options = ['-n', '-c2', '-M', protocol, '-R', String(RATE), '-T', '3600', '-f', file];
    const child = spawn('pgbench', [...options, this.url], { stdio: ['ignore', 'ignore', 'pipe'] });
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('close', () => process.removeListener('exit', kill));
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', (error) => {
      stderr += error.message;
    });
    this.running = { column, child, said: () => stderr };
  }

  private async untilEnough(client: pg.Client): Promise<void> {
    const count = async () => {
      const { rows } = await client.query(
        'SELECT count(*)::int AS n FROM pgbench_history WHERE filler = $1',
        [this.mode],
      );
      return rows[0].n as number;
    };
    const wanted = (await count()) + ENOUGH;
    const deadline = Date.now() + LIMIT_MS;
    while ((await count()) < wanted) {
      this.complain();
      if (Date.now() > deadline) throw new Error(`not ${ENOUGH} transactions in ${LIMIT_MS} ms`);
      await delay(100);
    }
    this.complain();
  }

  /** It goes on with the clients that are left when one has failed; says so, and nothing else. */
  private complain(): void {
    const said = this.running!.said().trim();
    if (said) throw new Error(said.slice(0, 500));
    if (this.running!.child.exitCode !== null) throw new Error('it has ended');
  }

  private async stop(): Promise<void> {
    const child = this.running?.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed;
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Every transaction adds the same to all four; one statement sees them at one moment. */
async function checkBalances(client: pg.Client, column: string): Promise<void> {
  const { rows } = await client.query(`SELECT
    (SELECT sum(${column})::text FROM pgbench_accounts) AS accounts,
    (SELECT sum(tbalance)::text FROM pgbench_tellers) AS tellers,
    (SELECT sum(bbalance)::text FROM pgbench_branches) AS branches,
    (SELECT sum(delta)::text FROM pgbench_history) AS history`);
  if (new Set(Object.values(rows[0])).size !== 1) {
    throw new Error(`the balances do not agree: ${JSON.stringify(rows[0])}`);
  }
}
