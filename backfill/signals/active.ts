import type { CatalogSource } from './source.js';

/** Sessions that run a statement now: more than the machine has cores for means that they queue. */
export const active = (): CatalogSource<{ active: number; hidden: number }> => ({
  name: 'active',
  level: 'soft',
  sql: `(SELECT json_build_object(
      'active', count(*) FILTER (WHERE state = 'active' AND backend_type = 'client backend'),
      'hidden', count(*) FILTER (WHERE is_hidden))
    FROM activity)`,
  wanted: (settings) => settings.maxActive !== null,
  take: (raw) => raw,
  judge({ active, hidden }, { maxActive }) {
    const threshold = maxActive ?? Number.NaN;
    return [
      {
        subject: 'sessions',
        observed: hidden > 0 ? null : active,
        threshold,
        detail:
          hidden > 0
            ? `the role may not see what ${hidden} sessions do: GRANT pg_monitor to it`
            : `${active} sessions run a statement (limit ${threshold})`,
      },
    ];
  },
});
