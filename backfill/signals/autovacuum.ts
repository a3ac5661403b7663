import { DATABASE_SQL } from '../../db/views.js';
import type { CatalogSource } from './source.js';

/**
 * A VACUUM of the table that is not ours, autovacuum's as a rule: both read and write the same
 * blocks, and it makes room for the versions to come, so that it is worth letting it get on.
 */
export const autovacuum = (): CatalogSource<number[]> => ({
  name: 'autovacuum',
  level: 'soft',
  // CASE, so that the locks are looked at only while there is any VACUUM at all.
  sql: `(SELECT CASE WHEN EXISTS (SELECT FROM vacuums) THEN
      (SELECT coalesce(json_agg(v.pid), '[]') FROM vacuums v
       JOIN pg_catalog.pg_locks l ON l.pid = v.pid AND l.relation = $1 AND l.granted
         AND l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock'
         AND l.database = ${DATABASE_SQL}
       JOIN activity a ON a.pid = v.pid) ELSE '[]' END)`,
  wanted: () => true,
  take: (raw) => raw,
  judge: (pids) => [
    {
      subject: 'table',
      observed: pids.length,
      threshold: 0,
      // It can take hours on a large table, and the backfill is to end some day: half the speed.
      factorMax: 4,
      detail: `the table is being vacuumed by pid ${pids.join(', ')}`,
    },
  ],
});
