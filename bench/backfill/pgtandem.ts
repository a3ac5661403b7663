import { describeProgress, describeShares, type Told } from '../../backfill/words.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { type Connection, connect } from '../../db/connect.js';
import type { Settings } from '../../migration/plan.js';
import { loadMigration } from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration } from '../../test/migration/drive.js';
import { family, residentOf } from '../relay/process.js';
import { type Contender, type Filled, TABLE } from './contenders.js';
import { etaErrorOf, type Sample } from './eta.js';

/** The progress is saved twice a second. */
const EVERY_MS = 100;

/** The default of `pgtandem start`. */
const LEARN_MS = 10_000;

/** How pgtandem is run. */
export interface Manner {
  /** Of the backfill, where they are not the default ones. */
  set: Partial<Settings>;
  /** Under load, seconds: what it has filled by then is enough to know its pace. */
  atMost: number;
  /** Each progress is printed. */
  trace: boolean;
}

/**
 * A migration from its start until it is filled, as users run it: a `pgtandem proxy` in a process of
 * its own, to which the application connects.
 */
export function pgtandem(workers: number, manner: Manner): Contender {
  return {
    name: workers === 1 ? 'pgtandem' : `pgtandem, ${workers} workers`,
    async open(cluster, database) {
      const url = cluster.url(database);
      await loadParser();
      const proxy = await ProxyProcess.start(url);
      const [host, port] = proxy.address.split(':');
      return {
        server: { host: host!, port: Number(port) },
        fill: (isLoaded) => fill(url, proxy.pid, workers, isLoaded, manner),
        close: () => proxy.end(),
      };
    },
  };
}

async function fill(
  url: string,
  pid: number,
  fillWorkers: number,
  isLoaded: boolean,
  manner: Manner,
): Promise<Filled> {
  const control = await connect({ url, role: 'bench' });
  try {
    const sql = `ALTER TABLE ${TABLE} ALTER COLUMN abalance TYPE bigint`;
    // As the command has it by default: the application's p99 is learned first.
    const learnMs = isLoaded ? LEARN_MS : 0;
    await startMigration(control, 'bench', sql, { fillWorkers, learnMs, ...manner.set });
    const watch = new Watch(pid, manner.trace);
    return await untilFilled(control, watch, isLoaded ? manner.atMost : Number.POSITIVE_INFINITY);
  } finally {
    await control.end();
  }
}

/** From the first pass's beginning on, so that neither the plan, the learning nor the proof counts. */
async function untilFilled(
  control: Connection,
  watch: Watch,
  atMostSeconds: number,
): Promise<Filled> {
  const times = `SELECT
      (SELECT extract(epoch FROM started_at)::float8 * 1000 FROM pgtandem.backfill) AS "fromMs",
      (SELECT extract(epoch FROM max(at))::float8 * 1000 FROM pgtandem.history
        WHERE from_phase = 'backfilling') AS "toMs"`;
  for (let fromMs: number | null = null; ; ) {
    const { rows } = await control.query(times);
    fromMs ??= rows[0].fromMs;
    const { progress, paused } = await loadMigration(control, 'bench');
    if (paused !== null) throw new Error(`paused: ${paused}`);
    const told = progress.backfill as Saved | undefined;
    if (told) watch.see(told);
    const isOver = fromMs !== null && Date.now() >= fromMs + atMostSeconds * 1000;
    if (told && fromMs !== null && (isOver || rows[0].toMs !== null)) {
      const toMs: number = rows[0].toMs ?? Date.now();
      const all = { fromMs, toMs, resident: watch.resident, shares: sharesOf(told) };
      if (rows[0].toMs === null) return { ...all, rows: told.rowsFilled ?? 0 };
      return { ...all, eta: etaErrorOf(watch.samples) };
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

type Saved = Told & Sample & { chunkMs: number; restFactor: number };

/** What the saved progress and the processes have shown so far. */
class Watch {
  readonly samples: Sample[] = [];
  readonly resident = { early: Number.NaN, late: Number.NaN };
  private readonly startMs = performance.now();

  constructor(
    private readonly pid: number,
    private readonly trace: boolean,
  ) {}

  see(told: Saved): void {
    if (told.ratio === this.samples.at(-1)?.ratio) return;
    this.samples.push(told);
    if (told.ratio >= 0.1) {
      this.resident.late = residentOf(family(this.pid));
      if (Number.isNaN(this.resident.early)) this.resident.early = this.resident.late;
    }
    if (!this.trace) return;
    const seconds = ((performance.now() - this.startMs) / 1000).toFixed(1);
    const pace = `chunk ${told.chunkMs.toFixed(0)} ms, rest times ${told.restFactor.toFixed(1)}`;
    console.log(`${seconds} s: ${pace}; ${describeProgress(told).join('; ')}`);
  }
}

/** With what soft signals made longer, which is part of filling. */
function sharesOf(told: Told): string {
  const slowed = Object.entries(told.spent?.slowedSeconds ?? {});
  const longer = slowed.map(([name, seconds]) => `; slowed by ${name} for ${seconds.toFixed(1)} s`);
  return `${describeShares(told)}${longer.join('')}`;
}
