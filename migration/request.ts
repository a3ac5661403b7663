import type { Connection } from '../db/connect.js';
import { UserError } from './errors.js';
import { type Phase, type Request, whyNot } from './phase.js';
import { changeSettings, loadMigration, type Migration, MovedError, move } from './store.js';
import { refuseUsed } from './unused.js';

/** The phase that a request leads to, from where it may be asked for. */
const REQUESTED: Record<Request, (migration: Migration) => Phase> = {
  cutover: ({ phase }) => {
    if (phase.name === 'reverted') return { name: 'verifying', asked: true };
    if (phase.name === 'reverting') {
      return { name: 'soaking', since: phase.since, holdMs: 0, unfit: null };
    }
    return { name: 'cutting-over', attempt: 0, blocker: null };
  },
  revert: ({ phase }) => {
    if (phase.name !== 'soaking') return { name: 'ready', asked: false };
    return { name: 'reverting', attempt: 0, blocker: null, since: phase.since };
  },
  complete: () => ({ name: 'completing' }),
  abort: () => ({ name: 'aborting' }),
};

/**
 * Moves a migration as an operator asks.
 * @param unusedForMs how long what it takes away must have been unused; 0: no matter.
 * @throws UserError when it can't be done where the migration stands, or takes away what is used.
 */
export async function requestMove(
  connection: Connection,
  name: string,
  request: Request,
  unusedForMs = 0,
): Promise<void> {
  for (;;) {
    const migration = await loadMigration(connection, name);
    const refused = whyNot(migration.phase.name, request);
    if (refused) throw new UserError(refused.message, refused.hint);
    await refuseUsed(connection, migration, request, unusedForMs);
    try {
      // It is asked for, whatever it was paused for.
      await move(connection, migration, request, REQUESTED[request](migration), 'asked for', true);
    } catch (error) {
      // The migration went on between reading and asking: ask again where it stands now.
      if (error instanceof MovedError) continue;
      throw error;
    }
    if (request === 'revert') await changeSettings(connection, migration.id, { cutover: 'manual' });
    return;
  }
}
