/**
 * The backfill job: the one value in which a plan tells the engine what to fill. Plain data.
 * The engine knows one table and one predicate; it knows no phases.
 */
export interface BackfillJob {
  /** `pgtandem.migration.id`; key of the checkpoint. */
  migrationId: number;
  /** For metrics and messages. */
  migration: string;
  table: { oid: number; schema: string; name: string };
  /** `pg_class.oid` of the table as applications name it, where that is another (of a partition). */
  namedOid?: number;
  /** What a fill assigns: SQL over the row's columns, schema-qualified. */
  set: { column: string; value: string }[];
  /** SQL predicate, never NULL: true of a row that is not in order yet. */
  pending: string;
  /** Whether the fill may silence the user's triggers (`session_replication_role = replica`). */
  silenceTriggers: boolean;
}

/** How much a signal beyond its threshold matters. */
export type Level = 'soft' | 'hard' | 'critical';

/**
 * Thresholds, asked for before each chunk, so that they can be retuned while it runs; null
 * where a signal is not asked for.
 */
export interface ThrottleSettings {
  /** Replication lag in time of the standby that is farthest behind, milliseconds. */
  maxLagMs: number;
  /** The same in WAL bytes not yet replayed. */
  maxLagBytes: number;
  /** What one chunk should take, milliseconds. */
  chunkTargetMs: number;
  /** At most so many chunks are filled at once, 1 to {@link MAX_FILL_WORKERS}. */
  fillWorkers: number;
  /** WAL that a replication slot keeps from being removed, bytes. */
  maxSlotBytes: number | null;
  /** WAL that the archiver has not archived yet, bytes. */
  maxArchiveBytes: number | null;
  /** Age of the oldest transaction that keeps VACUUM from removing row versions, milliseconds. */
  maxTransactionMs: number | null;
  /** Sessions that run a statement, those of pgtandem left out. */
  maxActive: number | null;
  /** WAL written by the whole server, bytes a second. */
  maxWalRate: number | null;
  /** Size of the directory of the WAL, bytes. */
  maxWalBytes: number | null;
  /** Size of the table with its indexes and its TOAST table, bytes. */
  maxTableBytes: number | null;
  /** The application's p99 on the table before the backfill, milliseconds; null: not compared with. */
  latencyBaselineMs: number | null;
  /** Filling after which it is held for a look at what the p99 is without it, milliseconds; null: never. */
  latencyLearnMs: number | null;
  /** So many times that slows the fill down. */
  latencySlow: number | null;
  /** So many times that stops it. */
  latencyStop: number | null;
  /** A query of the user's, whose value is held against `queryMax`. */
  query: string | null;
  queryMax: number;
  /** A URL that answers 200 when the backfill may go on. */
  url: string | null;
  /** Levels other than the default ones, by the name of the signal; `off`: not looked at. */
  levels: Partial<Record<string, Level | 'off'>>;
}

/** More would only wait for each other's WAL. */
export const MAX_FILL_WORKERS = 16;

export const DEFAULT_THROTTLE: ThrottleSettings = {
  maxLagMs: 1_000,
  maxLagBytes: 64 * 1024 * 1024,
  chunkTargetMs: 50,
  fillWorkers: 1,
  maxSlotBytes: 4 * 1024 ** 3,
  maxArchiveBytes: 1024 ** 3,
  maxTransactionMs: 10 * 60_000,
  maxActive: null,
  maxWalRate: null,
  maxWalBytes: null,
  maxTableBytes: null,
  latencyBaselineMs: null,
  latencyLearnMs: 60_000,
  latencySlow: 1.1,
  latencyStop: 4,
  query: null,
  queryMax: 0,
  url: null,
  levels: {},
};

/** What is written by SQL can be anything: of what is no number of workers one is left. */
export function fillWorkersOf({ fillWorkers }: ThrottleSettings): number {
  const whole = Math.floor(Number(fillWorkers));
  return Number.isNaN(whole) ? 1 : Math.min(MAX_FILL_WORKERS, Math.max(1, whole));
}
