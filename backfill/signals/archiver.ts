import type { ThrottleSettings } from '../job.js';
import { since, size } from '../throttle.js';
import type { CatalogSource, Judged } from './source.js';

interface Raw {
  /** Whether `archive_mode` is on at all. */
  on: boolean;
  /** Bytes of WAL since 0/0, as are positions everywhere here. */
  current: number;
  segmentBytes: number;
  lastArchived: string | null;
  lastFailed: string | null;
  /** Whether the latest attempt failed. */
  failing: boolean;
  failedMsAgo: number | null;
}

interface Answer extends Raw {
  backlog: number;
}

/** WAL that is not archived stays on the disk of the primary, and a backfill writes a lot of it. */
export function archiver(): CatalogSource<Raw, Answer> {
  let first: number | null = null;
  return {
    name: 'archiver',
    level: 'hard',
    sql: `(SELECT json_build_object(
        'on', pg_catalog.current_setting('archive_mode') <> 'off',
        'current', (pg_catalog.pg_current_wal_lsn() - '0/0'::pg_lsn)::float8,
        'segmentBytes', pg_catalog.pg_size_bytes(
          pg_catalog.current_setting('wal_segment_size'))::float8,
        'lastArchived', last_archived_wal, 'lastFailed', last_failed_wal,
        'failing', last_failed_time IS NOT NULL
          AND last_failed_time > coalesce(last_archived_time, '-infinity'),
        'failedMsAgo', extract(epoch FROM clock_timestamp() - last_failed_time) * 1000)
      FROM pg_catalog.pg_stat_archiver)`,
    wanted: (settings) => settings.maxArchiveBytes !== null,
    take(raw) {
      // Where nothing was archived yet, it is counted from the first look on.
      first ??= raw.current;
      const end = segmentEnd(raw.lastArchived, raw.segmentBytes) ?? first;
      // The segment that is being written can't be archived yet.
      const backlog = Math.max(0, raw.current - (raw.current % raw.segmentBytes) - end);
      return { ...raw, backlog };
    },
    judge: judgeArchiver,
  };
}

/** Where the segment of this file name ends; null of other files (a timeline's history). */
export function segmentEnd(file: string | null, segmentBytes: number): number | null {
  const match = /^[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})/.exec(file ?? '');
  if (!match) return null;
  const [log, segment] = [Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)];
  return log * 2 ** 32 + (segment + 1) * segmentBytes;
}

function judgeArchiver(answer: Answer, { maxArchiveBytes }: ThrottleSettings): Judged[] {
  if (!answer.on) return [];
  const threshold = maxArchiveBytes ?? Number.NaN;
  const { failing, lastFailed, failedMsAgo, backlog } = answer;
  const ago = since(failedMsAgo ?? 0);
  return [
    {
      subject: 'archiver',
      observed: failing ? null : backlog,
      threshold,
      detail: failing
        ? `${lastFailed} could not be archived ${ago} ago, ${size(backlog)} wait`
        : `${size(backlog)} not archived yet (limit ${size(threshold)})`,
    },
  ];
}
