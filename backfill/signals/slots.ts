import type { ThrottleSettings } from '../job.js';
import { size } from '../throttle.js';
import type { CatalogSource, Judged } from './source.js';

interface Slot {
  name: string;
  retained: number;
  /** `pg_replication_slots.wal_status` */
  status: 'reserved' | 'extended' | 'unreserved' | 'lost' | null;
}

/**
 * WAL that replication slots keep, what is inserted and not yet written counted: a slot that nobody
 * reads fills the disk of the primary with it, or, with `max_slot_wal_keep_size`, is lost together
 * with the standby behind it.
 */
export const slots = (): CatalogSource<Slot[]> => ({
  name: 'slot-wal',
  level: 'hard',
  sql: `(SELECT coalesce(json_agg(json_build_object('name', slot_name, 'status', wal_status,
      'retained', (pg_catalog.pg_current_wal_insert_lsn() - restart_lsn)::float8)), '[]')
    FROM slots WHERE restart_lsn IS NOT NULL AND NOT temporary)`,
  wanted: (settings) => settings.maxSlotBytes !== null,
  take: (raw) => raw,
  judge: judgeSlots,
});

function judgeSlots(all: Slot[], { maxSlotBytes }: ThrottleSettings): Judged[] {
  const threshold = maxSlotBytes ?? Number.NaN;
  return all.map(({ name, retained, status }) => {
    const losing = status === 'unreserved';
    return {
      subject: name,
      observed: losing ? null : retained,
      threshold,
      detail: losing
        ? `slot ${name} is about to be lost (max_slot_wal_keep_size): ${size(retained)} behind`
        : `slot ${name} retains ${size(retained)} (limit ${size(threshold)})`,
    };
  });
}
