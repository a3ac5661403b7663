import { activeOthers } from '../db/backend.js';
import { type Connection, type Opener, openerOf } from '../db/connect.js';
import { relationFileSql } from '../db/relation.js';
import type { Metrics } from '../metrics/registry.js';
import { quoteIdentifier, quoteLiteral } from '../sql/rules.js';
import { lockedReason } from './blockers.js';
import { blockRange, tableOf } from './checkpoint.js';
import { ChunkSizer, restMs, retryWaitMs, timeouts } from './chunk.js';
import { retryableState } from './fill.js';
import type { BackfillJob, ThrottleSettings } from './job.js';
import { Others } from './others.js';
import { SignalWatch } from './signals/watch.js';
import { CriticalError, decide, type Reason, STALE_MS } from './throttle.js';
import { wait } from './wait.js';

export interface CompareOptions {
  url: string;
  /** As of the backfill. */
  instance?: string;
  job: BackfillJob;
  settings: () => Promise<ThrottleSettings> | ThrottleSettings;
  metrics: Metrics;
  signal: AbortSignal;
  /** Ends at the first range with a row that disagrees, and repairs nothing. */
  onlyLook: boolean;
}

/** What a pass over the table has found so far. Plain data. */
export interface Compared {
  blocksDone: number;
  blocksTotal: number;
  /** Rows compared, how many of them were not in order, and how many were put in order. */
  rows: number;
  disagreed: number;
  repaired: number;
  /** Keys of the first of them: `id 5`. */
  samples: string[];
  /** Why the repair waits. */
  waiting: Reason | null;
}

/** So many keys are told. */
export const SAMPLES_MAX = 5;

export const NOTHING: Readonly<Compared> = {
  blocksDone: 0,
  blocksTotal: 0,
  rows: 0,
  disagreed: 0,
  repaired: 0,
  samples: [],
  waiting: null,
};

/** What two tables' passes have found; the second is the one that goes on. */
export function together(a: Compared, b: Compared): Compared {
  return {
    blocksDone: a.blocksDone + b.blocksDone,
    blocksTotal: a.blocksTotal + b.blocksTotal,
    rows: a.rows + b.rows,
    disagreed: a.disagreed + b.disagreed,
    repaired: a.repaired + b.repaired,
    samples: [...a.samples, ...b.samples].slice(0, SAMPLES_MAX),
    waiting: b.waiting,
  };
}

/** How long it waits before it asks again whether a repair may go on, milliseconds. */
const TICK_MS = 100;

/**
 * Compares all rows that the table has now, by ranges of blocks, and puts those in order that are
 * not. Yields after each range; ends early when it is aborted, and with `onlyLook`.
 *
 * To read takes no row locks and writes nothing, so that it only rests as long as others are at
 * work. A repair is a fill of its range: it asks the same question before it, and waits as long.
 * @throws Error when the connection is lost, or the rows cannot be compared.
 * @throws CriticalError as the backfill does.
 */
export async function* compareTable(options: CompareOptions): AsyncGenerator<Compared, Compared> {
  const open = openerOf(options.url, options.instance);
  const connection = await open('verification');
  const comparison = new Comparison(options, open, connection);
  try {
    yield* comparison.run();
    return comparison.found;
  } finally {
    await comparison.close();
  }
}

interface Range {
  relfilenode: number;
  rows: number;
  disagreed: number;
  samples: string[] | null;
}

class Comparison {
  found: Compared;
  private readonly job: BackfillJob;
  private readonly others = new Others();
  private readonly sizer = new ChunkSizer();
  private watch: SignalWatch | null = null;
  private key = '';
  private relfilenode = 0;

  constructor(
    private readonly options: CompareOptions,
    private readonly open: Opener,
    private readonly connection: Connection,
  ) {
    this.job = options.job;
    this.found = { ...NOTHING };
  }

  async *run(): AsyncGenerator<Compared, void> {
    const { options } = this;
    this.key = await keySql(this.connection, this.job.table.oid);
    await this.begin();
    while (!options.signal.aborted && this.found.blocksDone < this.found.blocksTotal) {
      const { chunkTargetMs } = await options.settings();
      const from = this.found.blocksDone;
      const to = Math.min(this.found.blocksTotal, from + this.sizer.size(chunkTargetMs));
      const startedMs = performance.now();
      const range = yield* this.attempt(from, to, () => this.compare(from, to));
      if (!range) continue;
      if (range.relfilenode !== this.relfilenode) {
        // Rows are elsewhere now, before what was compared perhaps.
        await this.begin();
        continue;
      }
      const ms = performance.now() - startedMs;
      this.sizer.filled(to - from, ms);
      this.count(range);
      if (range.disagreed > 0 && options.onlyLook) return;
      if (range.disagreed > 0) yield* this.repair(from, to);
      if (options.signal.aborted) return;
      this.found.blocksDone = to;
      this.found.waiting = null;
      yield { ...this.found };
      this.others.take(await activeOthers(this.connection), performance.now());
      await wait(restMs(ms, this.others.average), options.signal);
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.connection.end(), this.watch?.close()]);
  }

  /** All blocks that there are: what is written from now on is written by the rules. */
  private async begin(): Promise<void> {
    const { rows } = await this.connection.query(relationFileSql(quoteLiteral(tableOf(this.job))));
    this.relfilenode = rows[0].relfilenode;
    const { disagreed, repaired, samples } = this.found;
    this.found = { ...NOTHING, disagreed, repaired, samples, blocksTotal: rows[0].blocks };
  }

  private count({ rows, disagreed, samples }: Range): void {
    const { found } = this;
    found.rows += rows;
    found.disagreed += disagreed;
    const room = SAMPLES_MAX - found.samples.length;
    if (samples && room > 0) found.samples = [...found.samples, ...samples.slice(0, room)];
    this.tell('compared', rows);
    this.tell('disagreed', disagreed);
  }

  private tell(outcome: 'compared' | 'disagreed' | 'repaired', rows: number): void {
    const labels = { migration: this.job.migration, outcome };
    this.options.metrics.count('pgtandem_verification_rows_total', labels, rows);
  }

  private async compare(from: number, to: number): Promise<Range> {
    const { job, key } = this;
    const table = tableOf(job);
    // OFFSET 0 keeps the expressions where they are: each is computed once for a row.
    const { rows } = await this.inTransaction(
      'READ ONLY',
      `SELECT pg_catalog.pg_relation_filenode(${job.table.oid}) AS relfilenode,
         count(*)::float8 AS rows, count(*) FILTER (WHERE r.wrong)::float8 AS disagreed,
         (array_agg(r.key) FILTER (WHERE r.wrong))[1:${SAMPLES_MAX}] AS samples
       FROM (SELECT (${job.pending}) AS wrong, ${key} AS key
         FROM ONLY ${table} WHERE ${blockRange(from, to)} OFFSET 0) r`,
    );
    return rows[0];
  }

  private async *repair(from: number, to: number): AsyncGenerator<Compared, void> {
    const { job, options } = this;
    const set = job.set.map(({ column, value }) => `${quoteIdentifier(column)} = (${value})`);
    const update =
      `UPDATE ONLY ${tableOf(job)} SET ${set.join(', ')} ` +
      `WHERE ${blockRange(from, to)} AND (${job.pending})`;
    while (!options.signal.aborted) {
      const stop = await this.mayWrite();
      if (stop) {
        yield this.waits(stop);
        await wait(TICK_MS, options.signal);
        continue;
      }
      const work = () => this.inTransaction('READ WRITE', update);
      const done = yield* this.attempt(from, to, work);
      if (!done) continue;
      this.found.repaired += done.rowCount ?? 0;
      this.tell('repaired', done.rowCount ?? 0);
      return;
    }
  }

  /** What the backfill is asked before each chunk. */
  private async mayWrite(): Promise<Reason | null> {
    const { options, job } = this;
    const settings = await options.settings();
    this.watch ??= await SignalWatch.open(this.open, job, options.metrics);
    await this.watch.refresh(settings, performance.now(), STALE_MS, options.signal);
    const stop = decide(this.watch.signals(settings));
    if (stop?.level === 'critical') throw new CriticalError(stop);
    return stop;
  }

  /** Gives null when it failed in a way that passes, after a wait. */
  private async *attempt<T>(
    from: number,
    to: number,
    work: () => Promise<T>,
  ): AsyncGenerator<Compared, T | null> {
    try {
      return await work();
    } catch (error) {
      const sqlstate = retryableState(error);
      if (sqlstate === null) throw error;
      this.sizer.failed(to - from);
      const { failures } = this.sizer;
      const failure = { from, blocks: to - from, sqlstate, failures, ms: 0 };
      yield this.waits(await lockedReason(this.connection, this.job, failure));
      await wait(retryWaitMs(failures), this.options.signal);
      return null;
    }
  }

  private waits(reason: Reason): Compared {
    this.found.waiting = reason;
    return { ...this.found };
  }

  /** One statement, under the limits of a chunk, reading its blocks and no others. */
  private async inTransaction(mode: 'READ ONLY' | 'READ WRITE', sql: string) {
    const { connection, job } = this;
    const { chunkTargetMs } = await this.options.settings();
    const limits = timeouts(chunkTargetMs, this.sizer.failures);
    const local = {
      lock_timeout: limits.lockMs,
      statement_timeout: limits.statementMs,
      row_security: 'off',
      jit: 'off',
      enable_tidscan: 'on',
      enable_seqscan: 'off',
      enable_bitmapscan: 'off',
      enable_indexscan: 'off',
      enable_indexonlyscan: 'off',
      ...(job.silenceTriggers ? { session_replication_role: 'replica' } : {}),
    };
    const set = Object.entries(local).map(([name, value]) => `SET LOCAL ${name} = ${value};`);
    try {
      await connection.query(`BEGIN ISOLATION LEVEL READ COMMITTED ${mode}; ${set.join(' ')}`);
      const result = await connection.query(sql);
      await connection.query('COMMIT');
      return result;
    } catch (error) {
      await connection.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }
}

/** SQL that names a row for people: its primary key, or where it lies. */
async function keySql(connection: Connection, oid: number): Promise<string> {
  const { rows } = await connection.query(
    `SELECT a.attname AS name FROM pg_catalog.pg_index i
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
     WHERE i.indrelid = $1 AND i.indisprimary
     ORDER BY array_position(i.indkey::int2[], a.attnum)`,
    [oid],
  );
  const parts = rows.map(
    ({ name }) => `${quoteLiteral(`${name} `)} || ${quoteIdentifier(name)}::pg_catalog.text`,
  );
  const key = parts.length > 0 ? parts.join(` || ', ' || `) : `'ctid ' || ctid::pg_catalog.text`;
  return `pg_catalog.left(${key}, 200)`;
}
