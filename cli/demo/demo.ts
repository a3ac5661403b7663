import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Spent } from '../../backfill/account.js';
import { readCheckpoint } from '../../backfill/checkpoint.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import type { Told } from '../../backfill/words.js';
import { connect } from '../../db/connect.js';
import { type Definition, parseDefinition } from '../../migration/definition.js';
import type { PhaseName, Request } from '../../migration/phase.js';
import { makePlan } from '../../migration/planner.js';
import { requestMove } from '../../migration/request.js';
import {
  changeSettings,
  insertMigration,
  loadMigration,
  type Migration,
} from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { Progress } from '../progress.js';
import { snapshot } from '../watch.js';
import { Cluster } from './cluster.js';
import { Load } from './load.js';
import { countUnequal, leftBehind, Watcher } from './measure.js';
import { createTable } from './orders.js';
import { ProxyProcess } from './proxy-process.js';
import { type DemoReport, printReport, promisesKept } from './report.js';

export interface DemoSettings {
  rows: number;
  /** How long the application runs before the migration, and after each step, seconds. */
  seconds: number;
  rate: number;
  seed?: number;
  keep: boolean;
  json?: boolean;
}

const SQL = 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint';
const NAME = 'orders_amount';
/** How long the backfill is seen to stand still for a standby whose replay is paused, milliseconds. */
const FORCED_LAG_MS = 3_000;
/** After so long replay goes on in any case, milliseconds. */
const LONGEST_PAUSE_MS = 30_000;
/**
 * A table of fewer rows is filled before a standby can be a second behind. There, until it has been
 * seen to stop, replay is paused after the first chunk, chunks are as small as can be, and so little
 * WAL may wait that it stops soon.
 */
const FEW_ROWS = 500_000;
const FEW = { bytesPerRow: 16, chunkTargetMs: 1 };

/** Runs the demo and prints its report. @returns whether every promise was kept. */
export async function runDemo(settings: DemoSettings): Promise<boolean> {
  const undo: (() => Promise<unknown>)[] = [];
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => resolve('interrupted'));
    }
  });
  try {
    const result = await Promise.race([new Demo(settings, undo).run(interrupted), interrupted]);
    return result === true;
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

class Demo {
  private readonly view: Progress;
  private control!: pg.Client;
  private watcher!: Watcher;
  private throttled: Record<string, number> = {};

  constructor(
    private readonly settings: DemoSettings,
    private readonly undo: (() => Promise<unknown>)[],
  ) {
    this.view = new Progress(settings.json ? process.stderr : process.stdout);
  }

  async run(interrupted: Promise<unknown>): Promise<boolean> {
    const { rows, rate, seed } = this.settings;
    this.say('PostgreSQL 18: a primary and a streaming standby');
    const primary = await this.cluster(Cluster.create());
    const standby = await this.cluster(primary.standby('standby1'));
    this.say(`A table of ${rows.toLocaleString('en-US')} rows`);
    await createTable(primary.url(), { rows });
    const proxy = await ProxyProcess.start(primary.url());
    this.undo.push(() => proxy.end());
    this.say(`pgtandem proxy on ${proxy.address}, metrics on ${proxy.metricsUrl}/metrics`);
    this.control = await connect({ url: primary.url(), role: 'demo' });
    this.undo.push(() => this.control.end());
    const observer = await connect({ url: primary.url(), role: 'demo' });
    this.undo.push(() => observer.end());
    this.watcher = new Watcher(observer);
    await this.caughtUp();
    const load = new Load({
      url: proxy.url(),
      rows,
      ratePerSecond: rate,
      ...(seed === undefined ? {} : { seed }),
    });
    // What this process compiles and plans now does not disturb what it measures later.
    await loadParser();
    const definition = parseDefinition(SQL, 'demo.sql');
    await makePlan(this.control, definition, 'repair');
    this.say(`An application through the proxy: ${rate} statements/s, each answer checked`);
    await load.start();
    let stopped = false;
    const stop = async () => {
      if (!stopped) await load.stop();
      stopped = true;
    };
    this.undo.push(stop);
    await this.rest();
    await this.watcher.start();
    load.mark('during');
    const bySql = await this.migrate(standby, definition);
    load.mark('after');
    await this.rest();
    await stop();
    await this.watcher.stop();
    const report = await this.report(load, primary, proxy, bySql);
    if (this.settings.keep) await this.keep(primary, proxy, interrupted);
    return promisesKept(report);
  }

  private async cluster(starting: Promise<Cluster>): Promise<Cluster> {
    const cluster = await starting;
    this.undo.push(() => cluster.destroy());
    return cluster;
  }

  private say(line: string): void {
    this.view.say(line);
  }

  private rest(): Promise<void> {
    return delay(this.settings.seconds * 1_000);
  }

  /** Before the load begins, the standby has replayed what filled the table. */
  private async caughtUp(): Promise<void> {
    for (;;) {
      const { rows } = await this.control.query(
        `SELECT coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) AS yes
         FROM pg_stat_replication`,
      );
      if (rows[0].yes) return;
      await delay(100);
    }
  }

  /** All of it: start, forced lag, cutover, soak, revert, cutover again, complete. */
  private async migrate(
    standby: Cluster,
    definition: Definition,
  ): Promise<{ rowsChecked: number; unequal: number }> {
    this.say(`$ pgtandem start -e '${SQL}'`);
    const { rows } = this.settings;
    const few = rows < FEW_ROWS;
    const plan = await makePlan(this.control, definition, 'repair');
    await insertMigration(this.control, NAME, definition, plan, {
      cutover: 'manual',
      columnOrder: 'keep',
      soakMs: 0,
      maxLagMs: DEFAULT_THROTTLE.maxLagMs,
      maxLagBytes: few ? rows * FEW.bytesPerRow : DEFAULT_THROTTLE.maxLagBytes,
      chunkTargetMs: few ? FEW.chunkTargetMs : DEFAULT_THROTTLE.chunkTargetMs,
    });
    const forcing = this.forceLag(standby);
    await this.until('ready');
    await forcing;
    await this.ask('cutover', 'soaking');
    const { source, shadow } = plan.changes[0]!;
    const bySql = await countUnequal(this.control, source!.after, shadow.after);
    await this.rest();
    await this.ask('revert', 'reverted');
    await this.rest();
    await this.ask('cutover', 'soaking');
    await this.rest();
    await this.ask('complete', 'completed');
    return bySql;
  }

  private async ask(request: Request, until: PhaseName): Promise<void> {
    this.say(`$ pgtandem ${request} ${NAME}`);
    await requestMove(this.control, NAME, request);
    await this.until(until);
  }

  /** Shows the progress until a phase is reached. */
  private async until(phase: PhaseName): Promise<void> {
    for (;;) {
      const migration = await loadMigration(this.control, NAME);
      this.view.update(snapshot(migration));
      this.note(migration);
      if (migration.phase.name === phase) return;
      if (migration.paused !== null) throw new Error(`The migration stopped: ${migration.paused}`);
      await delay(100);
    }
  }

  private note(migration: Migration): void {
    const backfill = migration.progress.backfill as Record<string, unknown> | undefined;
    const lags = (backfill?.lag ?? []) as { seconds: number | null }[];
    for (const { seconds } of lags) this.watcher.seen(seconds);
    const spent = backfill?.spent as Spent | undefined;
    const reasons = spent?.throttledSeconds ?? {};
    if (Object.keys(reasons).length > 0) this.throttled = reasons;
  }

  /** Pauses replay on the standby when some of the table is filled, and lets it go on. */
  private async forceLag(standby: Cluster): Promise<void> {
    const client = await standby.client();
    try {
      const atRatio = this.settings.rows < FEW_ROWS ? 0 : 0.3;
      await this.seen(({ phase, ratio }) => phase === 'backfilling' && ratio > atRatio);
      this.say('Replay on the standby is paused: watch the backfill stop');
      await client.query('SELECT pg_wal_replay_pause()');
      await this.seen(({ isStill }) => isStill, LONGEST_PAUSE_MS);
      await delay(FORCED_LAG_MS);
      await client.query('SELECT pg_wal_replay_resume()');
      this.say('Replay goes on');
      const { chunkTargetMs, maxLagBytes } = DEFAULT_THROTTLE;
      const { id } = await loadMigration(this.control, NAME);
      await changeSettings(this.control, id, { chunkTargetMs, maxLagBytes });
    } finally {
      await client.end();
    }
  }

  /** Waits until the migration is so, or is ready, or so long. */
  private async seen(
    isSo: (now: { phase: PhaseName; ratio: number; isStill: boolean }) => boolean,
    limitMs = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      const { id, phase, progress } = await loadMigration(this.control, NAME);
      const { throttled = null } = (progress.backfill ?? {}) as Told;
      // What is saved for people is up to half a second old.
      const { nextBlock = 0, endBlock = 1 } = (await readCheckpoint(this.control, id)) ?? {};
      const ratio = nextBlock / Math.max(1, endBlock);
      if (isSo({ phase: phase.name, ratio, isStill: throttled !== null })) return;
      if (phase.name === 'ready' || performance.now() - startedMs > limitMs) return;
      await delay(20);
    }
  }

  private async report(
    load: Load,
    primary: Cluster,
    proxy: ProxyProcess,
    bySql: { rowsChecked: number; unequal: number },
  ): Promise<DemoReport> {
    this.view.stop();
    const summary = load.summary();
    const health = await proxy.health();
    const { watcher } = this;
    const report: DemoReport = {
      seed: summary.seed,
      migration: SQL,
      statements: summary.statements,
      errors: summary.errorCount,
      errorSamples: summary.errors.map((error) => `${error.message}: ${error.sample}`),
      wrongReplies: summary.wrongCount,
      wrongSamples: summary.wrong.map(
        (wrong) => `${wrong.phase} ${wrong.shape}: ${wrong.complaint}`,
      ),
      byLog: await load.verify(primary.url()),
      bySql,
      latency: {
        before: summary.latency.before ?? null,
        during: summary.latency.during ?? null,
        after: summary.latency.after ?? null,
      },
      longestHoldMs: health.longestHoldMs,
      lag: { highestMs: watcher.lagHighestMs, forced: true },
      tableBytes: { before: watcher.bytesBefore, highest: watcher.bytesHighest },
      throttledSeconds: this.throttled,
      leftBehind: await leftBehind(this.control),
    };
    const text = this.settings.json ? JSON.stringify(report) : printReport(report);
    process.stdout.write(`${text}\n`);
    return report;
  }

  private async keep(
    primary: Cluster,
    proxy: ProxyProcess,
    interrupted: Promise<unknown>,
  ): Promise<void> {
    process.stdout.write(
      `\nIt is all still up, until you press Ctrl-C:\n  application: ${proxy.url()}\n` +
        `  server:      ${primary.url()}  (PGTANDEM_DATABASE)\n` +
        `  metrics:     ${proxy.metricsUrl}/metrics\n`,
    );
    await interrupted;
  }
}
