/** What a lease is worth; see migration/follower.ts. */
export type LeaseState = 'held' | 'doubt' | 'lost';

/** What a worker says of itself. */
export interface WorkerHealth {
  lease: LeaseState;
  /** Sessions open now, those of them that are held, and the longest hold since its start. */
  connections: number;
  held: number;
  longestHoldMs: number;
  /** Of each database, where there are several. */
  databases?: readonly { database: string; lease: LeaseState }[];
}

export interface FleetHealth extends WorkerHealth {
  /** Workers that have answered, and how many there should be. */
  workers: number;
  wanted: number;
}

const WORST: readonly LeaseState[] = ['lost', 'doubt', 'held'];

export function worstLease(leases: readonly LeaseState[]): LeaseState {
  return WORST.find((state) => leases.includes(state)) ?? 'held';
}

/** All workers as one: the worst lease, the sum of the sessions. Without any the lease is lost. */
export function combine(healths: readonly WorkerHealth[], wanted: number): FleetHealth {
  const sum = (of: (health: WorkerHealth) => number) =>
    healths.reduce((total, health) => total + of(health), 0);
  return {
    lease: healths.length > 0 ? worstLease(healths.map(({ lease }) => lease)) : 'lost',
    connections: sum((health) => health.connections),
    held: sum((health) => health.held),
    longestHoldMs: Math.max(0, ...healths.map((health) => health.longestHoldMs)),
    ...databasesOf(healths),
    workers: healths.length,
    wanted,
  };
}

/** Of each database the worst lease. */
function databasesOf(healths: readonly WorkerHealth[]): Pick<FleetHealth, 'databases'> {
  const leases = new Map<string, LeaseState[]>();
  for (const { database, lease } of healths.flatMap(({ databases }) => databases ?? [])) {
    leases.set(database, [...(leases.get(database) ?? []), lease]);
  }
  if (leases.size === 0) return {};
  return {
    databases: [...leases].map(([database, all]) => ({ database, lease: worstLease(all) })),
  };
}
