import type { Replication, WalSender } from '../db/replication.js';
import type { LagHistory } from './history.js';
import type { ThrottleSettings } from './job.js';
import type { StandbyLag } from './progress.js';
import type { Signal } from './throttle.js';

/**
 * What a look at `pg_stat_replication` means. Pure.
 *
 * A *standby* is a physical walsender that reports what it has replayed; it is known from then on,
 * and held to both limits. A logical subscriber (replication slot of type logical) is held to the
 * limit in bytes only, by what it has confirmed: many confirm every few seconds by design, so that
 * time says nothing; they come and go, so they are not remembered. A base backup (state backup) and
 * a receiver that writes WAL without replaying it (pg_receivewal) answer no queries: not counted.
 */

/** Names under which a walsender may be known; the first is the one it is known by. */
export function namesOf(sender: WalSender, all: readonly WalSender[]): string[] {
  const plain = sender.applicationName;
  const full = `${plain}@${sender.clientAddress ?? 'local'}`;
  // A slot's name is unique and survives a change of address. `walreceiver` is what every standby
  // without a name of its own is called.
  const shared =
    plain === '' ||
    plain === 'walreceiver' ||
    all.some((other) => other !== sender && isStandby(other) && other.applicationName === plain);
  const names = shared ? [full, plain] : [plain, full];
  return sender.slot ? [sender.slot.name, ...names] : names;
}

function isStandby(sender: WalSender): boolean {
  return sender.slot?.type !== 'logical' && sender.replayed !== null && isStreaming(sender);
}

function isStreaming(sender: WalSender): boolean {
  return sender.state === 'streaming' || sender.state === 'catchup';
}

/** Standbys that stream now, by the name each is to be remembered by. */
export function streamingStandbys(walSenders: readonly WalSender[]): Map<string, WalSender> {
  const standbys = walSenders.filter(isStandby);
  return new Map(standbys.map((sender) => [namesOf(sender, standbys)[0]!, sender]));
}

/** Known standbys that do not stream now. */
export function lostStandbys({ walSenders, known }: Replication): string[] {
  const standbys = walSenders.filter(isStandby);
  const there = new Set(standbys.flatMap((sender) => namesOf(sender, standbys)));
  return known.filter((name) => !there.has(name));
}

/** How far each is, at the time of the look. */
export function lagOf(look: Replication, atMs: number, history: LagHistory): StandbyLag[] {
  const lags: StandbyLag[] = [];
  for (const [standby, { replayed }] of streamingStandbys(look.walSenders)) {
    const ms = history.lagMs(atMs, replayed!);
    lags.push({
      standby,
      kind: 'physical',
      streaming: true,
      seconds: ms === null ? null : ms / 1000,
      bytes: Math.max(0, look.inserted - replayed!),
    });
  }
  for (const { slot, replayed } of look.walSenders) {
    const confirmed = replayed ?? slot?.confirmed ?? null;
    if (slot?.type !== 'logical' || confirmed === null) continue;
    const bytes = Math.max(0, look.inserted - confirmed);
    lags.push({ standby: slot.name, kind: 'logical', streaming: true, seconds: null, bytes });
  }
  for (const standby of lostStandbys(look)) {
    lags.push({ standby, kind: 'physical', streaming: false, seconds: null, bytes: null });
  }
  return lags.sort((a, b) => (a.standby < b.standby ? -1 : 1));
}

/** The signals of one look; never empty, so that a look that is old is noticed without standbys. */
export function signalsOf(
  look: Replication,
  lags: readonly StandbyLag[],
  settings: ThrottleSettings,
  ageMs: number,
): Signal[] {
  const lost = lags.filter((lag) => !lag.streaming).map((lag) => lag.standby);
  const signals: Signal[] = [
    {
      name: 'standby-lost',
      subject: lost.join(', '),
      observed: lost.length,
      threshold: 0,
      ageMs,
    },
    {
      // Every column of a walsender but its pid and name is NULL to a role without the privilege.
      name: 'privilege',
      subject: look.role,
      observed: look.walSenders.filter((sender) => sender.state === null).length,
      threshold: 0,
      ageMs,
    },
  ];
  for (const { standby, kind, streaming, seconds, bytes } of lags) {
    if (!streaming) continue;
    const common = { subject: standby, ageMs };
    if (kind === 'physical') {
      const observed = seconds === null ? null : seconds * 1000;
      signals.push({ name: 'replica-lag', ...common, observed, threshold: settings.maxLagMs });
    }
    signals.push({
      name: 'replica-bytes',
      ...common,
      observed: bytes,
      threshold: settings.maxLagBytes,
    });
  }
  for (const subject of silentReceivers(look.walSenders)) {
    const threshold = settings.maxLagBytes;
    signals.push({ name: 'replica-bytes', subject, observed: null, threshold, ageMs });
  }
  return signals;
}

/** Physical walsenders that have reported nothing yet: a standby perhaps, so they are waited for. */
function silentReceivers(walSenders: readonly WalSender[]): string[] {
  return walSenders
    .filter((sender) => sender.slot?.type !== 'logical' && isStreaming(sender))
    .filter((sender) => sender.written === null && sender.replayed === null)
    .map((sender) => namesOf(sender, walSenders)[0]!);
}
