import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { describeProgress, describeShares, type Told } from '../../backfill/words.js';
import type { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { type Connection, connect } from '../../db/connect.js';
import { ENDED } from '../../migration/phase.js';
import type { Settings } from '../../migration/plan.js';
import { requestMove } from '../../migration/request.js';
import { loadMigration } from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration } from '../../test/migration/drive.js';
import { family, residentOf } from '../relay/process.js';
import type { Application } from './application.js';
import { type Contender, type Filled, TABLE } from './contenders.js';
import { etaErrorOf, type Sample } from './eta.js';
import type { Place } from './load.js';
import { type Turn, take } from './turns.js';
import { windowsOf } from './windows.js';

/** The progress is saved twice a second; to look more often would be part of what the machine has to do. */
const EVERY_MS = 250;
/** Under load nothing is looked at that is not looked at before the fill: this is part of what the application sees. */
const RARELY_MS = 5_000;

/** It fills for so many turns on end: it is what a fill does once it has found its pace that counts most. */
const FILLING_TURNS = 2;

/** The default of `pgtandem start`. */
const LEARN_MS = 10_000;

/** How pgtandem is run. */
export interface Manner {
  /** Of the backfill, where they are not the default ones. */
  set: Partial<Settings>;
  /** Under load, seconds of filling: what it has filled by then is enough to know its pace. */
  atMost: number;
  /** Seconds for which the load runs alone, before and after. */
  seconds: number;
  /** Under load, seconds for which the fill is held and goes on by turns. */
  turn: number;
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
    async open(cluster, database, aloneDatabase) {
      const url = cluster.url(database);
      await loadParser();
      const { proxy, place } = await openProxy(cluster, database);
      const other = aloneDatabase ? await openProxy(cluster, aloneDatabase) : null;
      const alone = other?.place;
      return {
        place,
        alone,
        async fill(application) {
          const control = await connect({ url, role: 'bench' });
          const watch = new Watch(proxy.pid, manner.trace);
          const settings = { fillWorkers: workers, ...manner.set };
          try {
            if (!application || !alone) {
              await startMigration(control, 'bench', SQL, settings);
              return await untilFilled(control, watch);
            }
            // As the command has it by default: the application's p99 is learned first.
            const held = { ...HELD, learnMs: LEARN_MS, ...settings };
            await startMigration(control, 'bench', SQL, held);
            const beside: Beside = { control, watch, manner, application, place, alone };
            return await fillByTurns(beside, proxy.pid);
          } finally {
            await control.end();
          }
        },
        close: async () => {
          await other?.proxy.end();
          await proxy.end();
        },
      };
    },
  };
}

const SQL = `ALTER TABLE ${TABLE} ALTER COLUMN abalance TYPE bigint`;

async function openProxy(cluster: Cluster, database: string) {
  const proxy = await ProxyProcess.start(cluster.url(database));
  const [host, port] = proxy.address.split(':');
  const place: Place = { server: { host: host!, port: Number(port) }, database };
  return { proxy, place };
}

/** From the first pass's beginning on, so that neither the plan, the learning nor the proof counts. */
async function untilFilled(control: Connection, watch: Watch): Promise<Filled> {
  for (;;) {
    const { fromMs, toMs } = await readTimes(control);
    const told = await look(control, watch);
    if (told && fromMs !== null && toMs !== null) {
      const all = { fromMs, toMs, resident: watch.resident, shares: sharesOf(told) };
      return { ...all, eta: etaErrorOf(watch.samples) };
    }
    await sleep(EVERY_MS);
  }
}

/**
 * A limit that no standby keeps holds the fill; whatever else it has learned it keeps meanwhile. It is of what
 * is looked at anyway: nothing is asked that the default settings do not ask.
 */
const HELD = { maxLagBytes: -1 };

/** A fill that an application is beside. */
interface Beside {
  control: Connection;
  watch: Watch;
  manner: Manner;
  application: Application;
  place: Place;
  alone: Place;
}

/**
 * Fills and holds the fill by turns, and has the application elsewhere by turns, where nothing is filled,
 * so that each can be compared with what it would be then.
 */
async function fillByTurns(beside: Beside, pid: number): Promise<Filled> {
  const { control, watch, manner } = beside;
  const phase = async () => (await loadMigration(control, 'bench')).phase;
  while ((await phase()).name !== 'backfilling') await sleep(EVERY_MS);
  const learningMs = Date.now();
  let told = await look(control, watch);
  for (; !told; told = await look(control, watch)) {
    await sleep(manner.trace ? EVERY_MS : RARELY_MS / 5);
  }
  const windows = windowsOf('dual', learningMs, Date.now(), manner.turn);
  const everyMs = manner.trace ? EVERY_MS : RARELY_MS;
  const own = async (maxLagBytes: number) => {
    await control.query(
      `UPDATE pgtandem.migration SET settings = settings || jsonb_build_object('maxLagBytes', $1::int)`,
      [maxLagBytes],
    );
  };
  const turn = async (state: 'held' | 'filling') => {
    const taken = await take(
      {
        state,
        begin: () => own((state === 'held' ? HELD : DEFAULT_THROTTLE).maxLagBytes),
        look: async () => {
          told = (await look(control, watch)) ?? told;
          return (await readTimes(control)).toMs;
        },
        end: () => own(HELD.maxLagBytes),
      },
      manner.turn * (state === 'filling' ? FILLING_TURNS : 1),
      everyMs,
    );
    windows.push(...taken.windows);
    return taken;
  };
  const fromMs = Date.now();
  let seconds = 0;
  const paces: number[] = [];
  for (let isOver = false, round = 0; !isOver && seconds < manner.atMost; round++) {
    windows.push(...(await take(elsewhere(beside, pid), manner.turn, everyMs)).windows);
    // In either order, since the application has just connected anew.
    if (round % 2 === 0) await turn('held');
    const before = told.rowsFilled;
    const filled = await turn('filling');
    if (round % 2 === 1) await turn('held');
    seconds += filled.seconds;
    paces.push((told.rowsFilled - before) / filled.seconds);
    isOver = filled.isOver;
  }
  const toMs = Date.now();
  const { rows } = await control.query('SELECT rows_filled::float8 AS n FROM pgtandem.backfill');
  await requestMove(control, 'bench', 'abort');
  while (!ENDED.has((await phase()).name)) await sleep(EVERY_MS);
  const alone = Date.now();
  await sleep(manner.seconds * 1_000);
  windows.push(...windowsOf('after', alone, Date.now(), manner.turn));
  const of = { resident: watch.resident, shares: sharesOf(told) };
  return { fromMs, toMs, rows: rows[0].n, seconds, windows, paces, ...of };
}

/**
 * The application on the other table, and nothing of the migration: its processes stand still (SIGSTOP),
 * as soon as none of their transactions is open.
 */
function elsewhere({ application, control, place, alone }: Beside, pid: number): Turn {
  // The keeper first, so that it does not see its worker stand still.
  const pids = family(pid);
  return {
    state: 'alone',
    async begin() {
      await application.moveTo(alone);
      while (await isAtWork(control)) await sleep(10);
      for (const each of pids) process.kill(each, 'SIGSTOP');
    },
    look: async () => null,
    async end() {
      for (const each of pids.toReversed()) process.kill(each, 'SIGCONT');
      await application.moveTo(place);
    },
  };
}

async function isAtWork(control: Connection): Promise<boolean> {
  const { rows } = await control.query(`SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND xact_start IS NOT NULL
      AND application_name LIKE 'pgtandem%' AND pid <> pg_backend_pid()`);
  return rows.length > 0;
}

async function readTimes(
  control: Connection,
): Promise<{ fromMs: number | null; toMs: number | null }> {
  const { rows } = await control.query(`SELECT
      (SELECT extract(epoch FROM started_at)::float8 * 1000 FROM pgtandem.backfill) AS "fromMs",
      (SELECT extract(epoch FROM max(at))::float8 * 1000 FROM pgtandem.history
        WHERE from_phase = 'backfilling') AS "toMs"`);
  return rows[0];
}

/** @throws Error when the migration has paused. */
async function look(control: Connection, watch: Watch): Promise<Saved | undefined> {
  const { progress, paused } = await loadMigration(control, 'bench');
  if (paused !== null) throw new Error(`paused: ${paused}`);
  const told = progress.backfill as Saved | undefined;
  if (told) watch.see(told);
  return told;
}

type Saved = Told & Sample & { rowsFilled: number; chunkMs: number; restFactor: number };

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
