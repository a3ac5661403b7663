import type { Connection } from '../db/connect.js';
import type { Followed } from './observe.js';
import { strayChild } from './parts.js';
import { ENDED, type PhaseName } from './phase.js';
import { describeStray } from './shape.js';
import { pauseIn } from './store.js';

/**
 * Phases in which a child that the plan does not know takes nothing away: what is ours goes from the
 * whole tree, and a revert proves every row first.
 */
const HARMLESS: ReadonlySet<PhaseName> = new Set([
  'planned',
  'soaking',
  'reverted',
  'completing',
  'aborting',
]);

/** Pauses those migrations whose table has got a child without a guard since it was planned. */
export async function pauseForStrays(
  connection: Connection,
  { migrations, trees }: Followed,
): Promise<void> {
  const going = migrations.filter(
    ({ paused, phase }) => paused === null && !HARMLESS.has(phase.name) && !ENDED.has(phase.name),
  );
  for (const migration of going) {
    const { plan } = migration;
    const stray = strayChild(trees.get(plan.table.oid)!, plan);
    if (stray) await pauseIn(connection, migration, describeStray(stray, plan));
  }
}
