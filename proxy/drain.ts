import { IN_TRANSACTION } from './ledger.js';
import type { Progress, Touches } from './touches.js';

/** What a drain looks at of a session. */
export interface DrainView {
  readonly ledger: Progress;
  readonly touches: Touches;
  readonly status: number;
  /** A portal may be alive. */
  readonly livePortals: boolean;
  /** How often a ReadyForQuery has said that no transaction is open. */
  readonly idleCount: number;
}

/** What has to be over before a rule set is in force everywhere. */
export type Demand =
  /** Whatever was sent or bound before. */
  | { over: 'everything' }
  /** Statements in flight on these tables, where no transaction binds the session to go on. */
  | { over: 'touching'; oids: readonly number[] };

/** Whether one session has anything left of what was sent before a moment. */
export class Watch {
  /** A ReadyForQuery for this message or a later one is waited for; 0: none. */
  private target: number;
  /** `idleCount` that is waited for; 0: none. */
  private idleTarget: number;

  constructor(
    view: DrainView,
    private readonly demand: Demand,
  ) {
    const { ledger, status } = view;
    const quiet = ledger.pending === 0 && !ledger.openBatch;
    this.target = quiet ? 0 : ledger.openBatch ? ledger.pushed + 1 : ledger.batchStart;
    const bound = view.livePortals && (status === IN_TRANSACTION || !quiet);
    this.idleTarget = bound ? view.idleCount + 1 : 0;
  }

  over(view: DrainView): boolean {
    const { ledger, touches, status, idleCount } = view;
    if (this.demand.over === 'touching') {
      return !this.demand.oids.some((oid) => touches.inFlight(oid, ledger, status));
    }
    if (ledger.lastReady < this.target) return false;
    if (this.target > 0) {
      // What was in flight may itself have left a portal open.
      if (status === IN_TRANSACTION && view.livePortals) this.idleTarget = idleCount + 1;
      this.target = 0;
    }
    return idleCount >= this.idleTarget;
  }
}

/** The sessions that one rule set waits for; `done` resolves when none is left. */
export class Drain<Session extends { readonly view: DrainView }> {
  readonly done: Promise<void>;
  private finish: () => void = () => undefined;
  private readonly watches = new Map<Session, Watch>();

  constructor(sessions: Iterable<Session>, demand: Demand) {
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
    for (const session of sessions) {
      const watch = new Watch(session.view, demand);
      if (!watch.over(session.view)) this.watches.set(session, watch);
    }
    this.check();
  }

  get left(): number {
    return this.watches.size;
  }

  /** A ReadyForQuery of the session has come. */
  progressed(session: Session): void {
    if (!this.watches.get(session)?.over(session.view)) return;
    this.gone(session);
  }

  /** The server has closed the session. */
  gone(session: Session): void {
    if (this.watches.delete(session)) this.check();
  }

  private check(): void {
    if (this.watches.size === 0) this.finish();
  }
}
