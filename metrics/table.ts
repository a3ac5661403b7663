/**
 * Every metric there is, in one table; docs/metrics.md says the same, and a test compares the two.
 * Names follow the Prometheus conventions: base units, `_total` on counters.
 */
export type MetricKind = 'counter' | 'gauge' | 'histogram';

export interface MetricDefinition {
  kind: MetricKind;
  help: string;
  labels: readonly string[];
  /** Upper bounds of a histogram, in the metric's unit. */
  buckets?: readonly number[];
  /** How a gauge of several worker processes becomes one; by default the sum. */
  combined?: 'max' | 'min';
  /** A gauge of the process that keeps the workers, and not of each of them. */
  ofKeeper?: true;
}

const LATENCY = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];

export const METRICS = {
  pgtandem_client_connections: {
    kind: 'gauge',
    help: 'Client connections that are open now.',
    labels: [],
  },
  pgtandem_client_connections_total: {
    kind: 'counter',
    help: 'Client connections accepted, by how they ended up: relayed, cancel, cancel-unknown (not sent: no server is known to have given its key), refused, malformed (no PROXY header).',
    labels: ['outcome'],
  },
  pgtandem_statements_total: {
    kind: 'counter',
    help: 'Statements that touch a table under migration or observation, by what the rewriter made of them: unchanged, rewritten, guarded, refused.',
    labels: ['outcome'],
  },
  pgtandem_guarded_total: {
    kind: 'counter',
    help: 'Statements left to the guard, by reason.',
    labels: ['reason'],
  },
  pgtandem_column_uses_total: {
    kind: 'counter',
    help: 'Statements run that name a column whose name goes away when its migration ends, by table, column ((unknown): a text that was not read) and application_name (the first 50; then (others)).',
    labels: ['table', 'column', 'application'],
  },
  pgtandem_request_seconds: {
    kind: 'histogram',
    help: 'Time from a request reaching the proxy (Query, Sync) until its ReadyForQuery left, seconds.',
    labels: [],
    buckets: LATENCY,
  },
  pgtandem_held_statements: {
    kind: 'gauge',
    help: 'Sessions whose next statement waits because a cutover is being taken.',
    labels: [],
  },
  pgtandem_hold_seconds: {
    kind: 'histogram',
    help: 'Time for which a held statement waited, seconds.',
    labels: [],
    buckets: LATENCY,
  },
  pgtandem_reprepared_total: {
    kind: 'counter',
    help: 'Prepared statements that were prepared again under the hood after an epoch or a schema change.',
    labels: [],
  },
  pgtandem_replayed_total: {
    kind: 'counter',
    help: 'Batches sent again because a statement in them gave another result type than before (0A000).',
    labels: [],
  },
  pgtandem_result_type_errors_total: {
    kind: 'counter',
    help: 'Errors 0A000 `cached plan must not change result type` that clients were told.',
    labels: [],
  },
  pgtandem_errors_total: {
    kind: 'counter',
    help: "Errors of the proxy's own, by kind. Must stay 0.",
    labels: ['kind'],
  },
  pgtandem_out_of_sync_total: {
    kind: 'counter',
    help: 'Sessions ended because a reply did not match the ledger. Must stay 0.',
    labels: [],
  },
  pgtandem_epoch: {
    kind: 'gauge',
    help: 'Epoch of the rule set in force at this proxy, by target.',
    labels: ['database'],
    combined: 'min',
  },
  pgtandem_backfill_rows_total: {
    kind: 'counter',
    help: 'Rows filled by this process.',
    labels: ['migration'],
  },
  pgtandem_backfill_progress_ratio: {
    kind: 'gauge',
    help: 'Share of the table that the backfill has passed, 0 to 1, by blocks.',
    labels: ['migration'],
    combined: 'max',
  },
  pgtandem_backfill_blocks: {
    kind: 'gauge',
    help: 'Blocks of the table that a running backfill has passed, or is still to pass, by state: done, left.',
    labels: ['migration', 'state'],
    combined: 'max',
  },
  pgtandem_backfill_rows: {
    kind: 'gauge',
    help: 'Rows that a running backfill has filled, or (an estimate) is still to fill, by state: done, left.',
    labels: ['migration', 'state'],
    combined: 'max',
  },
  pgtandem_backfill_rows_per_second: {
    kind: 'gauge',
    help: 'Rows filled a second while a backfill fills, over the last minute of that.',
    labels: ['migration'],
    combined: 'max',
  },
  pgtandem_backfill_eta_seconds: {
    kind: 'gauge',
    help: 'Time until a running backfill will have passed the table, standing still included, seconds.',
    labels: ['migration'],
    combined: 'max',
  },
  pgtandem_backfill_workers: {
    kind: 'gauge',
    help: 'Workers of a running backfill that fill now; 0 while it stands still.',
    labels: ['migration'],
    combined: 'max',
  },
  pgtandem_backfill_waiting: {
    kind: 'gauge',
    help: '1 for the reason for which a backfill stands still now.',
    labels: ['migration', 'reason'],
    combined: 'max',
  },
  pgtandem_backfill_time_ratio: {
    kind: 'gauge',
    help: 'Share of the time of a running backfill, over restarts, by what it went to: filling, vacuum, or a reason to stand still.',
    labels: ['migration', 'reason'],
    combined: 'max',
  },
  pgtandem_backfill_chunk_seconds: {
    kind: 'histogram',
    help: 'Time of one backfill chunk with its commit, seconds.',
    labels: ['migration'],
    buckets: LATENCY,
  },
  pgtandem_backfill_throttled_seconds_total: {
    kind: 'counter',
    help: 'Time for which the backfill stood still, by reason, seconds.',
    labels: ['migration', 'reason'],
  },
  pgtandem_backfill_slowed_seconds_total: {
    kind: 'counter',
    help: 'Time by which the rests between backfill chunks were made longer, by soft reason, seconds.',
    labels: ['migration', 'reason'],
  },
  pgtandem_backfill_retries_total: {
    kind: 'counter',
    help: 'Backfill chunks that were given up and tried again, by SQLSTATE.',
    labels: ['migration', 'sqlstate'],
  },
  pgtandem_backfill_vacuums_total: {
    kind: 'counter',
    help: 'Interleaved VACUUMs of a table being filled, by outcome: done, skipped, cancelled, failed.',
    labels: ['migration', 'outcome'],
  },
  pgtandem_verification_rows_total: {
    kind: 'counter',
    help: 'Rows of passes that compare old and new columns, by outcome: compared, disagreed, repaired.',
    labels: ['migration', 'outcome'],
  },
  pgtandem_replica_lag_seconds: {
    kind: 'gauge',
    help: 'Replication lag of a standby in time, seconds.',
    labels: ['standby'],
    combined: 'max',
  },
  pgtandem_replica_lag_bytes: {
    kind: 'gauge',
    help: 'WAL not yet replayed by a standby, bytes.',
    labels: ['standby'],
    combined: 'max',
  },
  pgtandem_migration_phase: {
    kind: 'gauge',
    help: '1 for the phase in which a migration stands, 0 for the others it has been in.',
    labels: ['migration', 'phase'],
    combined: 'max',
  },
  pgtandem_step_failures_total: {
    kind: 'counter',
    help: 'Attempts at the step of a migration’s phase that failed: they are tried again, or it pauses.',
    labels: ['migration', 'phase'],
  },
  pgtandem_guard_repairs: {
    kind: 'gauge',
    help: 'Rows that the guard has repaired since the migration began (counted by the database).',
    labels: ['migration'],
    combined: 'max',
  },
  pgtandem_cutover_attempts_total: {
    kind: 'counter',
    help: 'Attempts at a cutover or a revert, by outcome: done, blocked, failed.',
    labels: ['migration', 'outcome'],
  },
  pgtandem_workers: {
    kind: 'gauge',
    help: 'Worker processes of this proxy, by state: starting, ready, draining.',
    labels: ['state'],
    ofKeeper: true,
  },
  pgtandem_silent_workers: {
    kind: 'gauge',
    help: 'Worker processes that did not tell their numbers in time; what only grows is shown as they told it last.',
    labels: [],
    ofKeeper: true,
  },
  pgtandem_worker_failures_total: {
    kind: 'counter',
    help: 'Worker processes that ended unasked, or could not start.',
    labels: [],
  },
  pgtandem_waiting_connections: {
    kind: 'gauge',
    help: 'Client connections that wait for a worker process to be ready.',
    labels: [],
    ofKeeper: true,
  },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
