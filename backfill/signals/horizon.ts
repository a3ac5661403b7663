import { DATABASE_SQL } from '../../db/views.js';
import type { ThrottleSettings } from '../job.js';
import { since } from '../throttle.js';
import type { CatalogSource, Judged } from './source.js';

interface Holder {
  who: string;
  /** Age of its transaction; null of what only tells its xmin. */
  ms: number | null;
  xmin: string | null;
}

/**
 * The oldest of what keeps VACUUM from removing row versions: while it is there, every row filled
 * makes the table larger. A transaction tells its age; a slot or a standby with
 * `hot_standby_feedback` tells only its xmin, whose age is for how long we have seen it unchanged.
 */
export function horizon(): CatalogSource<Holder[], { who: string; ms: number }[]> {
  let known = new Map<string, { xmin: string; sinceMs: number }>();
  return {
    name: 'old-transaction',
    level: 'soft',
    sql: `(SELECT coalesce(json_agg(h), '[]') FROM (
        (SELECT 'pid ' || a.pid || coalesce(' (' || nullif(a.application_name, '') || ')', '') AS who,
           extract(epoch FROM clock_timestamp() - a.xact_start) * 1000 AS ms, NULL::text AS xmin
         FROM activity a
         WHERE a.datid = ${DATABASE_SQL} AND a.xact_start IS NOT NULL
           AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
           AND a.pid NOT IN (SELECT v.pid FROM vacuums v)
         ORDER BY a.xact_start LIMIT 1)
        UNION ALL
        (SELECT 'prepared transaction ' || gid,
           extract(epoch FROM clock_timestamp() - prepared) * 1000, NULL
         FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()
         ORDER BY prepared LIMIT 1)
        UNION ALL
        SELECT 'standby ' || application_name || ' (hot_standby_feedback)', NULL, backend_xmin::text
        FROM walsenders WHERE backend_xmin IS NOT NULL
        UNION ALL
        SELECT 'slot ' || slot_name, NULL, xmin::text
        FROM slots WHERE xmin IS NOT NULL) h)`,
    wanted: (settings) => settings.maxTransactionMs !== null,
    take(holders, atMs) {
      const seen = new Map<string, { xmin: string; sinceMs: number }>();
      for (const { who, xmin } of holders) {
        if (xmin === null) continue;
        const before = known.get(who);
        seen.set(who, before?.xmin === xmin ? before : { xmin, sinceMs: atMs });
      }
      known = seen;
      return holders.map(({ who, ms }) => ({ who, ms: ms ?? atMs - seen.get(who)!.sinceMs }));
    },
    judge: judgeHorizon,
  };
}

function judgeHorizon(
  holders: { who: string; ms: number }[],
  { maxTransactionMs }: ThrottleSettings,
): Judged[] {
  const threshold = maxTransactionMs ?? Number.NaN;
  return holders.map(({ who, ms }) => ({
    subject: who,
    observed: ms,
    threshold,
    detail: `${who} has kept VACUUM back for ${since(ms)} (limit ${since(threshold)})`,
  }));
}
