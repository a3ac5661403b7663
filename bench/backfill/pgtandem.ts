import { describeShares, type Told } from '../../backfill/words.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { connect } from '../../db/connect.js';
import type { Settings } from '../../migration/plan.js';
import { loadMigration } from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration } from '../../test/migration/drive.js';
import { residentOf } from '../relay/process.js';
import { type Contender, type Filled, TABLE } from './contenders.js';
import { etaErrorOf, type Sample } from './eta.js';

/** The progress is saved twice a second. */
const EVERY_MS = 100;

/** As `pgtandem start` has it by default: the application's p99 is learned first where there is one. */
const LEARN_MS = 10_000;

/**
 * A migration from its start until it is filled, as users run it: a `pgtandem proxy` in a process of
 * its own, to which the application connects.
 */
export function pgtandem(workers: number, settings: Partial<Settings>): Contender {
  return {
    name: workers === 1 ? 'pgtandem' : `pgtandem, ${workers} workers`,
    async open(cluster, database) {
      const url = cluster.url(database);
      await loadParser();
      const proxy = await ProxyProcess.start(url);
      const [host, port] = proxy.address.split(':');
      return {
        server: { host: host!, port: Number(port) },
        fill: (isLoaded) =>
          fill(url, proxy.pid, {
            fillWorkers: workers,
            learnMs: isLoaded ? LEARN_MS : 0,
            ...settings,
          }),
        close: () => proxy.end(),
      };
    },
  };
}

async function fill(url: string, pid: number, settings: Partial<Settings>): Promise<Filled> {
  const control = await connect({ url, role: 'bench' });
  try {
    await startMigration(
      control,
      'bench',
      `ALTER TABLE ${TABLE} ALTER COLUMN abalance TYPE bigint`,
      {
        ...settings,
      },
    );
    return await untilFilled(control, pid);
  } finally {
    await control.end();
  }
}

/** From the first pass's beginning on, so that neither the plan, the learning nor the proof counts. */
async function untilFilled(control: Awaited<ReturnType<typeof connect>>, pid: number) {
  const times = `SELECT
      (SELECT extract(epoch FROM started_at)::float8 * 1000 FROM pgtandem.backfill) AS "fromMs",
      (SELECT extract(epoch FROM max(at))::float8 * 1000 FROM pgtandem.history
        WHERE from_phase = 'backfilling') AS "toMs"`;
  const samples: Sample[] = [];
  const resident = { early: Number.NaN, late: Number.NaN };
  for (let fromMs: number | null = null; ; ) {
    const { rows } = await control.query(times);
    fromMs ??= rows[0].fromMs;
    const { progress, paused } = await loadMigration(control, 'bench');
    if (paused !== null) throw new Error(`paused: ${paused}`);
    const now = progress.backfill as Sample | undefined;
    if (now && now.ratio !== samples.at(-1)?.ratio) samples.push(now);
    if (now && now.ratio >= 0.1) {
      resident.late = residentOf([pid]);
      if (Number.isNaN(resident.early)) resident.early = resident.late;
    }
    if (rows[0].toMs !== null && fromMs !== null) {
      const shares = sharesOf(progress.backfill as Told);
      return { fromMs, toMs: rows[0].toMs as number, eta: etaErrorOf(samples), resident, shares };
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** With what soft signals made longer, which is part of filling. */
function sharesOf(told: Told): string {
  const slowed = Object.entries(told.spent?.slowedSeconds ?? {});
  const longer = slowed.map(([name, seconds]) => `; slowed by ${name} for ${seconds.toFixed(1)} s`);
  return `${describeShares(told)}${longer.join('')}`;
}
