import type { Connection } from '../db/connect.js';
import { CHANNEL } from '../db/schema.js';
import type { Failing } from '../migration/failures.js';
import { ENDED, type PhaseName } from '../migration/phase.js';
import { loadMigration, type Migration } from '../migration/store.js';
import { Wake } from '../migration/wake.js';
import { Progress, type ProgressSnapshot } from './progress.js';

export const WAIT_PHASES = ['ready', 'soaking', 'completed'] as const;
export type WaitPhase = (typeof WAIT_PHASES)[number];

/** Phases that come after the one waited for on the way to the end: it got there, and went on. */
const REACHED: Record<WaitPhase, PhaseName[]> = {
  ready: ['ready', 'cutting-over', 'soaking', 'completing', 'completed'],
  soaking: ['soaking', 'completing', 'completed'],
  completed: ['completed'],
};

/** From which a migration does not go on by itself to the phase waited for. Pure. */
export function verdict(migration: Migration, wanted: WaitPhase): 'reached' | 'never' | 'not yet' {
  const { name } = migration.phase;
  if (REACHED[wanted].includes(name)) return 'reached';
  const stuck = ENDED.has(name) || ['aborting', 'reverted', 'reverting'].includes(name);
  const manual = migration.settings.cutover === 'manual';
  if (stuck || migration.paused !== null) return 'never';
  if (manual && migration.phase.name === 'ready' && !migration.phase.asked) return 'never';
  if (manual && name === 'soaking') return 'never';
  return 'not yet';
}

/** Shows the progress until the migration has reached a phase. @returns whether it did. */
export async function waitFor(
  connection: Connection,
  name: string,
  wanted: WaitPhase,
  json: boolean,
): Promise<boolean> {
  let result = false;
  await watch(connection, name, json, (migration) => {
    const now = verdict(migration, wanted);
    result = now === 'reached';
    if (now === 'never' && !json) process.stderr.write(`${whyNever(migration)}\n`);
    return now !== 'not yet';
  });
  return result;
}

function whyNever(migration: Migration): string {
  if (migration.paused !== null) return `It is paused: ${migration.paused}`;
  return `It is ${migration.phase.name}, and waits to be told what comes next.`;
}

/** Shows the progress (or prints a JSON line at each change) until `done` says so. */
export async function watch(
  connection: Connection,
  name: string,
  json: boolean,
  done: (migration: Migration) => boolean,
): Promise<void> {
  const wake = new Wake();
  wake.listenTo(connection);
  await connection.query(`LISTEN ${CHANNEL}`);
  const view = json ? null : new Progress(process.stdout);
  let printed = '';
  const never = new AbortController().signal;
  try {
    for (;;) {
      const migration = await loadMigration(connection, name);
      view?.update(snapshot(migration));
      const line = JSON.stringify({
        name,
        phase: migration.phase,
        paused: migration.paused,
        progress: migration.progress,
      });
      if (json && line !== printed) process.stdout.write(`${line}\n`);
      printed = line;
      if (done(migration)) return;
      await wake.wait(500, never);
    }
  } finally {
    view?.stop();
  }
}

/** What the progress view shows of a migration. Pure. */
export function snapshot(migration: Migration): ProgressSnapshot {
  const backfill = (migration.progress.backfill ?? {}) as Record<string, unknown>;
  const active = migration.phase.name === 'backfilling';
  const standbys = (backfill.lag ?? []) as { standby: string; seconds: number | null }[];
  const throttled = backfill.throttled as { text: string } | null | undefined;
  const [waitingFor] = (migration.progress.waitingFor as string[] | undefined) ?? [];
  const failing = migration.progress.failing as Failing | null | undefined;
  const waiting = failing ? `fails: ${failing.reason}` : (waitingFor ?? null);
  return {
    phase: migration.phase.name + (migration.paused === null ? '' : ' (paused)'),
    ratio: active ? Number(backfill.ratio ?? 0) : null,
    rowsFilled: active ? Number(backfill.rowsFilled ?? 0) : 0,
    rowsPerSecond: active ? ((backfill.rowsPerSecond as number | undefined) ?? null) : null,
    etaSeconds: active ? ((backfill.etaSeconds as number | null | undefined) ?? null) : null,
    throttled: active && throttled ? throttled.text : waiting,
    lag: active
      ? standbys.map(({ standby, seconds }) => ({
          standby,
          ms: seconds === null ? null : seconds * 1_000,
        }))
      : [],
  };
}
