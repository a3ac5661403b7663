import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { Cluster } from '../../cli/demo/cluster.js';
import type { Rig } from '../e2e/rig.js';
import { openRig, type Phase } from './phases.js';
import { output } from './psql.js';
import type { Subject } from './subject.js';
import { NotInstalled, versionOf } from './toolchains.js';

/** A server that these tools know: none that is newer than they are. */
export async function openForTools(): Promise<Rig> {
  const major = Number.parseInt(versionOf('pg_dump'), 10);
  if (major < 14) throw new NotInstalled(`pg_dump ${major} knows no server that is supported`);
  return openRig(major < 18 ? 14 : 18);
}

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows;
  } finally {
    await client.end();
  }
}

/** All rows of `orders`, by the columns that an application knows. */
async function rowsOf(url: string, column: string): Promise<string> {
  const row = `concat_ws('|', id, coalesce(amount::text, 'null'), ${column}, payload)`;
  const sql = `SELECT count(*), md5(string_agg(${row}, E'\\n' ORDER BY id)) FROM orders`;
  return String((await ask(url, sql))[0]);
}

function same(what: string, actual: string, expected: string): void {
  if (actual !== expected) throw new Error(`${what}: ${actual} is not ${expected}`);
}

/** Dumps taken and restored through the proxy, of the whole and of the table's rows alone. */
export class Dump implements Subject {
  readonly name = 'pg_dump, pg_restore';
  readonly version = versionOf('pg_dump');
  private readonly folder = mkdtempSync(join(tmpdir(), 'pgtandem-dump-'));
  private readonly url: string;
  /** The table's rows as they were before the migration, and what they were. */
  private first: { file: string; rows: string } | undefined;

  constructor(private readonly rig: Rig) {
    this.url = rig.proxy.url();
  }

  async exercise({ name, column }: Phase): Promise<string[]> {
    const target = (file: string) => join(this.folder, file);
    await ask(
      this.url,
      `INSERT INTO orders (amount, ${column}) VALUES (1, '${name}'), (NULL, 'tab\t\\N')`,
    );
    const [custom, plain, folder] = [target('custom'), target('plain.sql'), target('folder')];
    await this.dump('-Fc', '-f', custom);
    await this.restored(name, column, (to) => output('pg_restore', ['-e', '-d', to, custom]));
    rmSync(folder, { recursive: true, force: true });
    await this.dump('-Fd', '-j2', '-f', folder);
    await this.restored(name, column, (to) =>
      output('pg_restore', ['-e', '-j2', '-d', to, folder]),
    );
    await this.dump('--inserts', '-f', plain);
    const psql = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', plain];
    await this.restored(name, column, (to) => output('psql', [...psql, to]));
    await this.rowsAlone(column, target('rows'));
    return ['custom', 'directory -j 2', '--inserts', '--data-only into the table'];
  }

  private dump(...options: string[]): Promise<unknown> {
    return output('pg_dump', [...options, this.url]);
  }

  /** Restores into a database of its own, through the proxy, and compares. */
  private async restored(
    name: string,
    column: string,
    restore: (url: string) => Promise<unknown>,
  ): Promise<void> {
    await this.rig.query('CREATE DATABASE restored');
    try {
      const url = this.rig.proxy.url('restored');
      await restore(url);
      const rows = await rowsOf(url, column);
      same('restored', rows, await rowsOf(this.url, column));
      // With its guard: the database that it makes keeps the relation too.
      const [own] = await ask(
        url,
        `SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = 'orders'::regclass
           AND t.tgname LIKE '~~pgtandem%'`,
      );
      const moving = name !== 'none' && !name.endsWith(':completed');
      same('guards', String(own), moving ? '1' : '0');
    } finally {
      await this.rig.query('DROP DATABASE restored');
    }
  }

  /** Rows that were dumped before, as an application has them, come back into the table. */
  private async rowsAlone(column: string, file: string): Promise<void> {
    if (this.first === undefined) {
      await this.dump('-Fc', '--data-only', '-t', 'orders', '-f', file);
      this.first = { file, rows: await rowsOf(this.url, column) };
    }
    if (column !== 'note') return;
    await ask(this.url, 'DELETE FROM orders');
    await output('pg_restore', ['-e', '--data-only', '-d', this.url, this.first.file]);
    same('the rows alone', await rowsOf(this.url, column), this.first.rows);
  }

  async end(): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A base backup taken through the proxy, started as a server. */
export class BaseBackup implements Subject {
  readonly name = 'pg_basebackup';
  readonly version = versionOf('pg_basebackup');

  constructor(private readonly rig: Rig) {}

  async exercise({ name }: Phase): Promise<string[]> {
    const { binaries, major } = this.rig.cluster;
    const folder = mkdtempSync(join(binaries.workDir, 'backup-'));
    try {
      const dataDir = join(folder, 'data');
      const options = ['-X', 'stream', '-c', 'fast', '--no-sync', '-D', dataDir];
      await output('pg_basebackup', [...options, '-d', this.rig.proxy.url()]);
      const backup = await Cluster.open(dataDir, major);
      try {
        const all = `SELECT md5(string_agg(o::text, E'\\n' ORDER BY id)) FROM orders o`;
        const phase = 'SELECT name, phase FROM pgtandem.migration ORDER BY id';
        for (const sql of [all, phase]) {
          const [there, here] = [
            await ask(backup.url(), sql),
            await ask(this.rig.cluster.url(), sql),
          ];
          same(name, JSON.stringify(there), JSON.stringify(here));
        }
      } finally {
        await backup.destroy();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    return ['-X stream', 'starts as a server', 'same bytes in every row'];
  }

  async end(): Promise<void> {}
}
