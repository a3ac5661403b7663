import type { Connection } from '../db/connect.js';
import { readRelation } from '../db/relation.js';
import { tableOf } from './checkpoint.js';
import type { BackfillJob } from './job.js';

/**
 * Refuses what ranges of blocks do not serve.
 * @returns whether the role may VACUUM the table, and what the operator should know if it may not.
 * @throws Error when the table is none that can be filled.
 */
export async function inspect(
  connection: Connection,
  job: BackfillJob,
): Promise<{ mayVacuum: boolean; note: string | null }> {
  const relation = await readRelation(connection, job.table.oid);
  if (relation?.kind !== 'r' || relation.accessMethod !== 'heap' || relation.temporary) {
    throw new Error(
      `${tableOf(job)} (oid ${job.table.oid}) is not an ordinary heap table that is there: ` +
        'give a job for each partition of a partitioned table; nothing else can be filled.',
    );
  }
  const { mayVacuum, role } = relation;
  if (mayVacuum) return { mayVacuum, note: null };
  const note =
    `The role ${role} may not VACUUM ${tableOf(job)}: the table can double in size. ` +
    `Let the owner run the backfill, or GRANT its owner's role to ${role}.`;
  return { mayVacuum, note };
}
