import { sqlState } from '../db/connect.js';
import { tableOf } from './checkpoint.js';
import type { BackfillJob } from './job.js';
import type { PlannerSettings, Session, Statement } from './session.js';

/**
 * What is tried, in this order, until a chunk's plan is a TID range scan. The first changes nothing
 * for the other tables that an expression may look into; the later ones are for small tables, where
 * a sequential scan looks as cheap, and for an index that seems to serve the predicate.
 */
const LADDER: readonly PlannerSettings[] = [
  { enable_tidscan: 'on' },
  { enable_tidscan: 'on', enable_seqscan: 'off' },
  {
    enable_tidscan: 'on',
    enable_seqscan: 'off',
    enable_bitmapscan: 'off',
    enable_indexscan: 'off',
    enable_indexonlyscan: 'off',
  },
];

/** feature_not_supported: of an UPDATE in WITH, a rule. */
const NOT_SUPPORTED = '0A000';

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  Schema?: string;
  Plans?: PlanNode[];
}

/**
 * Finds the settings under which an update, prepared, reads its table by a TID range scan: the cost of a chunk
 * is then that of its blocks, however large the table is.
 * https://www.postgresql.org/docs/current/using-explain.html
 * @param values with which it could be run: SQL, in parentheses.
 * @throws Error with the plan's scans when no settings bring that about.
 */
export async function assertTidRangeScan(
  session: Session,
  { text, types }: Statement,
  values: string,
): Promise<PlannerSettings> {
  const { connection, job } = session;
  let scans: string[] = [];
  for (const settings of LADDER) {
    const set = Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = ${value}`);
    // One that was prepared before would show the plan that it had then.
    const name = session.newName();
    await connection
      .query(`${set.join('; ')}; PREPARE ${name} ${types} AS ${text}`)
      .catch((error) => {
        if (sqlState(error) !== NOT_SUPPORTED) throw error;
        throw new Error(
          `The backfill of ${tableOf(job)} cannot be prepared (${error.message}): look for rules on the ` +
            'table (pg_rules), and drop them for the time of the migration.',
        );
      });
    const { rows } = await connection.query(
      `EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE ${name} ${values}`,
    );
    await connection.query(`DEALLOCATE ${name}`);
    scans = rows.flatMap((row) =>
      (row['QUERY PLAN'] as { Plan: PlanNode }[]).flatMap(({ Plan }) => scansOf(Plan, job)),
    );
    if (scans.length === 1 && scans[0] === 'Tid Range Scan') return settings;
  }
  throw new Error(
    `The backfill of ${tableOf(job)} would read it by ${scans.join(', ') || 'no scan'} for every ` +
      'chunk, not by a Tid Range Scan: look whether its expressions read the table itself.',
  );
}

/** The types of the nodes that read the job's table. */
function scansOf(node: PlanNode, job: BackfillJob): string[] {
  const own =
    node['Node Type'] !== 'ModifyTable' &&
    node['Relation Name'] === job.table.name &&
    node.Schema === job.table.schema;
  const below = (node.Plans ?? []).flatMap((child) => scansOf(child, job));
  return own ? [node['Node Type'], ...below] : below;
}
