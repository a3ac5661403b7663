import { type Connection, transaction } from '../db/connect.js';
import { lockHolders } from '../db/relation.js';
import { blockRange, tableOf } from './checkpoint.js';
import { retryableState } from './fill.js';
import type { BackfillJob } from './job.js';
import { type Reason, reason, since } from './throttle.js';

/** A chunk that was given up, and how often in a row. */
export interface Failure {
  from: number;
  blocks: number;
  sqlstate: string;
  failures: number;
  /** Since the first of them, milliseconds. */
  ms: number;
}

/** Failures in a row after which it is worth asking who is in the way. */
const ASK_FROM = 3;

/** Why a chunk does not get on, with who holds its rows when that can be found out. */
export async function lockedReason(
  connection: Connection,
  job: BackfillJob,
  failure: Failure,
): Promise<Reason> {
  const { from, blocks, sqlstate, failures, ms } = failure;
  const holders = failures >= ASK_FROM ? await askHolders(connection, job, failure) : [];
  const where = blocks === 1 ? `block ${from}` : `blocks ${from} to ${from + blocks - 1}`;
  const by = holders.length > 0 ? `, locked by ${holders.join(', ')}` : '';
  const times = failures === 1 ? 'once' : `${failures} times`;
  return reason('lock-wait', `${where} given up ${times} in ${since(ms)} (${sqlstate})${by}`);
}

async function askHolders(
  connection: Connection,
  job: BackfillJob,
  { from, blocks }: Failure,
): Promise<string[]> {
  try {
    return await transaction(connection, async () => {
      await connection.query('SET LOCAL lock_timeout = 50; SET LOCAL statement_timeout = 500');
      const range = blockRange(from, from + blocks);
      const rows = await lockHolders(connection, job.table.oid, tableOf(job), range);
      return rows.map(({ pid, application }) =>
        pid === null
          ? 'a prepared transaction (pg_prepared_xacts)'
          : `pid ${pid}${application ? ` (${application})` : ''}`,
      );
    });
  } catch (error) {
    // It was not to be known in time, which is no reason to give up the backfill.
    if (retryableState(error) === null) throw error;
    return [];
  }
}
