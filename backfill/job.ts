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
  /** What a fill assigns: SQL over the row's columns, schema-qualified. */
  set: { column: string; value: string }[];
  /** SQL predicate, never NULL: true of a row that is not in order yet. */
  pending: string;
  /** Whether the fill may silence the user's triggers (`session_replication_role = replica`). */
  silenceTriggers: boolean;
}

/** Thresholds, read again from the database before each chunk, so that they can be retuned. */
export interface ThrottleSettings {
  /** Replication lag in time of the standby that is farthest behind, milliseconds. */
  maxLagMs: number;
  /** The same in WAL bytes not yet replayed. */
  maxLagBytes: number;
  /** What one chunk should take, milliseconds. */
  chunkTargetMs: number;
}

export const DEFAULT_THROTTLE: ThrottleSettings = {
  maxLagMs: 1_000,
  maxLagBytes: 64 * 1024 * 1024,
  chunkTargetMs: 50,
};
