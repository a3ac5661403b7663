import { connect } from '../db/connect.js';
import type { Guard } from '../sql/rules.js';
import { startMigration, untilMigration } from '../test/migration/drive.js';

/** Brings a database's migration to where it writes both columns and everything is filled. */
export async function migrate(url: string, sql: string, guard?: Guard): Promise<void> {
  const control = await connect({ url, role: 'bench' });
  try {
    await startMigration(control, 'bench', sql, {}, guard);
    await untilMigration(url, 'bench', ({ phase }) => phase.name === 'ready');
    await control.query('VACUUM ANALYZE');
  } finally {
    await control.end();
  }
}
