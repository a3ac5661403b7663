import type { Metrics } from '../metrics/registry.js';
import type { Cancels } from './cancel.js';
import type { Upstream } from './dial.js';
import type { Control } from './gate.js';
import type { Limits } from './limits.js';
import type { Outbox } from './outbox.js';

/** What a session has of its proxy. */
export interface SessionContext<Session> {
  readonly upstream: Upstream;
  readonly control: Control;
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly cancels: Cancels;
  /** What `in_hot_standby` of the server has to be; null: either. */
  readonly standby: boolean | null;
  /** The login is over; `keyData` is known, if there is any. */
  loggedIn(session: Session): void;
  /** The server was a standby where a primary is wanted, or the reverse; the client is told. */
  misplaced(session: Session): void;
  readonly out: Outbox;
  /** A ReadyForQuery has come. */
  progressed(session: Session): void;
  /** Its server connection is closed: nothing of it can happen any more. */
  gone(session: Session): void;
  held(ms: number): void;
  /** @param from the client. */
  failed(kind: string, detail: string, from: string): void;
}
