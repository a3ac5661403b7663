import ms from 'ms';
import type { Connection } from '../db/connect.js';
import { UserError } from './errors.js';
import type { Request } from './phase.js';
import { readSeen, type Seen } from './seen.js';
import { arriving, leaving } from './stage.js';
import type { Migration } from './store.js';

/** How long a name must have been unused before what it names is dropped, if not said otherwise. */
export const UNUSED_FOR_MS = 60 * 60_000;

/** A proxy that has not told for so long what it sees may have seen the name, milliseconds. */
const SILENT_MS = 15_000;

/** A use of a name that goes away. */
export interface Use {
  /** null: the statement was not read, and may name any. */
  column: string | null;
  application: string;
  user: string;
  /** Without its values; empty when it is not known. */
  statement: string;
  count: number;
  lastSeen: Date;
}

/**
 * Who has named which of the columns, the latest first.
 * @param since when the migration began: to an earlier one a star may have meant these names. Pure.
 */
export function usesOf(seen: readonly Seen[], columns: readonly string[], since: Date): Use[] {
  const late = seen.filter(({ lastSeen }) => lastSeen >= since);
  return late.flatMap(({ named, application, user, statement, count, lastSeen }): Use[] => {
    const rest = { application, user, statement, count, lastSeen };
    if (named === null) return columns.length > 0 ? [{ column: null, ...rest }] : [];
    return columns
      .filter((column) => named.includes(column))
      .map((column) => ({ column, ...rest }));
  });
}

/** The names that a request takes away from applications. Pure. */
export function namesLost(migration: Pick<Migration, 'plan'>, request: Request): string[] {
  if (request === 'complete') return leaving(migration.plan);
  return request === 'abort' ? arriving(migration.plan) : [];
}

export interface Situation {
  columns: readonly string[];
  uses: readonly Use[];
  /** Proxies that are alive and have not told what they see. */
  silent: readonly string[];
  /** Since when the names are looked for. */
  since: Date;
  now: Date;
}

/**
 * Why names are not known to have been unused for so long; null when they are. To go back is not
 * made to wait: an abort asks only whether the name was seen. Pure.
 */
export function whyUsed(
  { columns, uses, silent, since, now }: Situation,
  unusedForMs: number,
  request: Request,
): string | null {
  if (columns.length === 0 || unusedForMs <= 0) return null;
  const age = (at: Date) => now.getTime() - at.getTime();
  const names = columns.join(', ');
  const [last] = [...uses]
    .filter(({ lastSeen }) => age(lastSeen) < unusedForMs)
    .sort((a, b) => age(a.lastSeen) - age(b.lastSeen));
  if (last) {
    const what = last.column ?? `${names} (a statement that could not be read)`;
    return `${what} was used ${ms(Math.max(0, age(last.lastSeen)))} ago by ${describeWho(last)}${
      last.statement ? `: ${last.statement}` : ''
    }`;
  }
  if (request === 'abort') return null;
  if (silent.length > 0) {
    return `it is not known whether ${names} is used: ${silent.join(', ')} does not tell`;
  }
  if (age(since) >= unusedForMs) return null;
  return `${names} has been watched for ${ms(age(since))} only, of ${ms(unusedForMs)}`;
}

export function describeWho({ application, user }: { application: string; user: string }): string {
  return `${application || '(no application_name)'}${user ? ` as ${user}` : ''}`;
}

/** Asks the database how it is. */
export async function readSituation(
  connection: Connection,
  migration: Migration,
  request: Request,
): Promise<Situation> {
  const columns = namesLost(migration, request);
  const { rows } = await connection.query(
    `SELECT clock_timestamp() AS now, ARRAY (
       SELECT address FROM pgtandem.proxy WHERE lease_until > clock_timestamp()
       AND started_at < clock_timestamp() - $1 * interval '1 ms'
       AND coalesce(seen_at, started_at) < clock_timestamp() - $1 * interval '1 ms'
       ORDER BY address) AS silent`,
    [SILENT_MS],
  );
  const seen = columns.length > 0 ? await readSeen(connection, migration.plan.table.oid) : [];
  const { now, silent } = rows[0];
  const since = migration.createdAt;
  return { columns, uses: usesOf(seen, columns, since), silent, since, now };
}

/** @throws UserError when what the request takes away is not known to be unused for so long. */
export async function refuseUsed(
  connection: Connection,
  migration: Migration,
  request: Request,
  unusedForMs: number,
): Promise<void> {
  const why = whyUsed(await readSituation(connection, migration, request), unusedForMs, request);
  if (why === null) return;
  const { name } = migration;
  throw new UserError(
    `Migration ${name} can't ${request} yet: ${why}.`,
    `See who uses it: pgtandem status ${name}. Choose another time with --unused-for, or --force.`,
  );
}
