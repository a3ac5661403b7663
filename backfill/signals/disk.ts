import { size } from '../throttle.js';
import type { Probe } from './source.js';

/** PostgreSQL does not tell how much room a disk has; these hold what grows to a size given. */

/** The directory of the WAL. The role needs `pg_monitor`. */
export const walSize = (): Probe<number> => ({
  name: 'wal-size',
  level: 'hard',
  wanted: (settings) => settings.maxWalBytes !== null,
  key: () => '',
  async ask(_, connection) {
    const { rows } = await (await connection()).query(
      'SELECT coalesce(sum(size), 0)::float8 AS bytes FROM pg_catalog.pg_ls_waldir()',
    );
    return rows[0].bytes;
  },
  judge(bytes, { maxWalBytes }) {
    const threshold = maxWalBytes ?? Number.NaN;
    const detail = `${size(bytes)} of WAL on the disk (limit ${size(threshold)})`;
    return [{ subject: 'pg_wal', observed: bytes, threshold, detail }];
  },
});

/** The table with its indexes and its TOAST table. */
export const tableSize = (): Probe<number> => ({
  name: 'table-size',
  level: 'hard',
  wanted: (settings) => settings.maxTableBytes !== null,
  key: (_, tableOid) => String(tableOid),
  async ask(_, connection, tableOid) {
    const { rows } = await (await connection()).query(
      'SELECT pg_catalog.pg_total_relation_size($1)::float8 AS bytes',
      [tableOid],
    );
    if (rows[0].bytes === null) throw new Error('there is no such table any more');
    return rows[0].bytes;
  },
  judge(bytes, { maxTableBytes }) {
    const threshold = maxTableBytes ?? Number.NaN;
    const detail = `the table has ${size(bytes)} (limit ${size(threshold)})`;
    return [{ subject: 'table', observed: bytes, threshold, detail }];
  },
});
