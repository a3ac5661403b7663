import { type Connection, sqlState } from '../db/connect.js';
import { CHANNEL } from '../db/schema.js';
import { UserError } from './errors.js';
import { ENDED, type Event, next, type Phase } from './phase.js';
import type { Plan, Settings } from './plan.js';
import type { Stage } from './stage.js';

/** A migration as it is saved. */
export interface Migration {
  id: number;
  name: string;
  sql: string;
  file: string;
  plan: Plan;
  phase: Phase;
  stage: Stage;
  /** Why it stands still; null when it does not. */
  paused: string | null;
  settings: Settings;
  progress: Record<string, unknown>;
  createdAt: Date;
  changedAt: Date;
}

/** The plan, with the name that its table has now: it may be renamed past the proxies. */
export const PLAN_NOW = `coalesce(
  (SELECT jsonb_set(plan, '{table}', plan->'table' ||
     jsonb_build_object('schema', n.nspname, 'name', c.relname))
   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = (plan->'table'->>'oid')::oid), plan)`;

const COLUMNS = `id, name, definition->>'sql' AS sql, definition->>'file' AS file,
  ${PLAN_NOW} AS plan, phase,
  stage, paused, settings, progress, created_at AS "createdAt", changed_at AS "changedAt"`;

const toMigration = (row: Record<string, unknown>) =>
  ({ ...row, id: Number(row.id) }) as unknown as Migration;

/** Says on our channel that something has changed; waiting processes look at once. */
export async function notify(connection: Connection): Promise<void> {
  await connection.query(`NOTIFY ${CHANNEL}`);
}

/**
 * Saves a new migration, planned.
 * @throws UserError when its table or its name is taken by one that has not ended.
 */
export async function insertMigration(
  connection: Connection,
  name: string,
  definition: { sql: string; file: string },
  plan: Plan,
  settings: Settings,
): Promise<Migration> {
  await connection.query('BEGIN');
  try {
    await connection.query('LOCK TABLE pgtandem.migration IN SHARE ROW EXCLUSIVE MODE');
    for (const other of await listMigrations(connection)) refuseConflict(other, name, plan);
    const { rows } = await connection.query(
      `INSERT INTO pgtandem.migration (name, definition, plan, phase, settings)
       VALUES ($1, $2, $3, '{"name": "planned"}', $4) RETURNING ${COLUMNS}`,
      [name, definition, plan, settings],
    );
    await notify(connection);
    await connection.query('COMMIT');
    return toMigration(rows[0]);
  } catch (error) {
    await connection.query('ROLLBACK');
    throw error;
  }
}

function refuseConflict(other: Migration, name: string, plan: Plan): void {
  if (other.name === name) {
    throw new UserError(
      `There is a migration named ${name} already (${other.phase.name}).`,
      'Give this one another name: --name NAME.',
    );
  }
  const theirs = [other.plan.table, ...(other.plan.children ?? [])];
  const ours = new Set([plan.table, ...(plan.children ?? [])].map(({ oid }) => oid));
  const shared = theirs.find(({ oid }) => ours.has(oid));
  if (!ENDED.has(other.phase.name) && shared) {
    throw new UserError(
      `Migration ${other.name} is under way on ${shared.schema}.${shared.name}.`,
      `Complete or abort it first: pgtandem status ${other.name}.`,
    );
  }
}

export async function listMigrations(connection: Connection): Promise<Migration[]> {
  // Prepared: the coordinator asks each second.
  const text = `SELECT ${COLUMNS} FROM pgtandem.migration ORDER BY id`;
  const { rows } = await connection.query({ name: 'migrations', text });
  return rows.map(toMigration);
}

/** @throws UserError when there is none of that name, or pgtandem has never been used here. */
export async function loadMigration(connection: Connection, name: string): Promise<Migration> {
  try {
    const { rows } = await connection.query(
      `SELECT ${COLUMNS} FROM pgtandem.migration WHERE name = $1`,
      [name],
    );
    if (rows[0]) return toMigration(rows[0]);
  } catch (error) {
    if (sqlState(error) !== '42P01' && sqlState(error) !== '3F000') throw error;
  }
  throw new UserError(
    `There is no migration named ${name} in this database.`,
    'See those that there are: pgtandem status.',
  );
}

/** @returns the migration as it is now; null when it is gone. */
export async function reload(connection: Connection, id: number): Promise<Migration | null> {
  const { rows } = await connection.query(
    `SELECT ${COLUMNS} FROM pgtandem.migration WHERE id = $1`,
    [id],
  );
  return rows[0] ? toMigration(rows[0]) : null;
}

/** @returns the settings as they are now; null when the migration is gone. */
export async function reloadSettings(connection: Connection, id: number): Promise<Settings | null> {
  // Prepared: it is asked for each chunk.
  const text = 'SELECT settings FROM pgtandem.migration WHERE id = $1';
  const { rows } = await connection.query({ name: 'settings', text, values: [id] });
  return rows[0]?.settings ?? null;
}

/** Another process has moved the migration since it was read: whoever sees this reads it again. */
export class MovedError extends Error {
  override readonly name = 'MovedError';
}

/**
 * Moves a migration to the phase that follows an event, and writes its history. May be part of a
 * transaction of the caller's.
 * @param resumes whether it goes on there although it was paused.
 * @throws MovedError when it is not where it was read.
 */
export async function move(
  connection: Connection,
  migration: Migration,
  event: Event,
  phase: Phase,
  detail: string | null = null,
  resumes = false,
): Promise<Migration> {
  const to = next(migration.phase.name, event);
  if (to !== phase.name) {
    throw new Error(`${event} in ${migration.phase.name} leads to ${to}, not to ${phase.name}`);
  }
  const { rows } = await connection.query(
    `WITH moved AS (
       UPDATE pgtandem.migration SET phase = $3, changed_at = clock_timestamp(),
         paused = CASE WHEN $8 THEN NULL ELSE paused END
       WHERE id = $1 AND phase = $2 RETURNING *),
     logged AS (
       INSERT INTO pgtandem.history (migration_id, event, from_phase, to_phase, detail)
       SELECT id, $4, $5, $6, $7 FROM moved)
     SELECT ${COLUMNS} FROM moved`,
    [
      migration.id,
      migration.phase,
      phase,
      event,
      migration.phase.name,
      phase.name,
      detail,
      resumes,
    ],
  );
  if (!rows[0]) throw new MovedError(`Migration ${migration.name} was moved by another process.`);
  await notify(connection);
  return toMigration(rows[0]);
}

/** Changes settings, merging; takes effect at the next step. */
export async function changeSettings(
  connection: Connection,
  id: number,
  settings: Partial<Settings>,
): Promise<void> {
  await connection.query('UPDATE pgtandem.migration SET settings = settings || $2 WHERE id = $1', [
    id,
    settings,
  ]);
  await notify(connection);
}

/**
 * Pauses a migration for what was found in a phase of it. An operator who has moved it on since then, or
 * paused it, has the last word.
 * @returns whether it was still there, and was paused.
 */
export async function pauseIn(
  connection: Connection,
  { id, phase }: Migration,
  reason: string,
): Promise<boolean> {
  const { rowCount } = await connection.query(
    `UPDATE pgtandem.migration SET paused = $3
     WHERE id = $1 AND phase ->> 'name' = $2 AND paused IS NULL`,
    [id, phase.name, `${phase.name}: ${reason}`],
  );
  await notify(connection);
  return rowCount === 1;
}

/** Pauses as an operator asks, or (null) lets it go on. */
export async function setPaused(
  connection: Connection,
  id: number,
  reason: string | null,
): Promise<void> {
  await connection.query('UPDATE pgtandem.migration SET paused = $2 WHERE id = $1', [id, reason]);
  await notify(connection);
}

/**
 * Saves what people are shown; nothing is decided by it, so that it does not wait for the disk or a
 * synchronous standby, as little as for those who commit.
 */
export async function saveProgress(
  connection: Connection,
  id: number,
  progress: Record<string, unknown>,
): Promise<void> {
  await connection.query({
    name: 'progress',
    text: `UPDATE pgtandem.migration SET progress = progress || $2
      FROM (SELECT pg_catalog.set_config('synchronous_commit', 'off', true)) AS waits WHERE id = $1`,
    values: [id, progress],
  });
}

export interface HistoryEntry {
  at: Date;
  event: string;
  from: string;
  to: string;
  detail: string | null;
}

export async function readHistory(connection: Connection, id: number): Promise<HistoryEntry[]> {
  const { rows } = await connection.query(
    `SELECT at, event, from_phase AS "from", to_phase AS "to", detail
     FROM pgtandem.history WHERE migration_id = $1 ORDER BY id`,
    [id],
  );
  return rows;
}
