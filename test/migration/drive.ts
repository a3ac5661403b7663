import type pg from 'pg';
import { connect } from '../../db/connect.js';
import { CHANNEL } from '../../db/schema.js';
import { parseDefinition } from '../../migration/definition.js';
import type { Settings } from '../../migration/plan.js';
import { makePlan } from '../../migration/planner.js';
import { insertMigration, loadMigration, type Migration } from '../../migration/store.js';
import { Wake } from '../../migration/wake.js';
import type { Guard } from '../../sql/rules.js';

/** Settings of a test: no waiting that is not asked for. */
export const SETTINGS: Settings = {
  cutover: 'manual',
  columnOrder: 'keep',
  soakMs: 0,
  maxLagMs: 1_000,
  maxLagBytes: 64 * 1024 * 1024,
  chunkTargetMs: 50,
};

/** Plans a migration and saves it, as `pgtandem start` does. */
export async function startMigration(
  control: pg.Client,
  name: string,
  sql: string,
  settings: Partial<Settings> = {},
  guard: Guard = 'repair',
): Promise<Migration> {
  const definition = parseDefinition(sql, `${name}.sql`);
  const plan = await makePlan(control, definition, guard);
  return insertMigration(control, name, definition, plan, { ...SETTINGS, ...settings });
}

/** Waits until a migration is as wanted; fails when it pauses, or after a minute. */
export async function untilMigration(
  url: string,
  name: string,
  wanted: (migration: Migration) => boolean,
): Promise<Migration> {
  const listener = await connect({ url, role: 'test' });
  const wake = new Wake();
  wake.listenTo(listener);
  await listener.query(`LISTEN ${CHANNEL}`);
  const timeout = AbortSignal.timeout(60_000);
  try {
    for (;;) {
      const migration = await loadMigration(listener, name);
      if (wanted(migration)) return migration;
      if (migration.paused !== null) throw new Error(`paused: ${migration.paused}`);
      if (timeout.aborted) {
        const { phase, progress } = migration;
        throw new Error(`still ${JSON.stringify({ phase, progress })}`);
      }
      await wake.wait(100, timeout);
    }
  } finally {
    await listener.end();
  }
}
