import type { Limits } from '../../proxy/limits.js';
import type { Seat } from '../../proxy/seat.js';
import type { TargetSettings } from '../target.js';
import type { TlsOptions } from '../tls.js';

/** All that a worker is told when it starts. As JSON: keeper and worker may be of two versions. */
export interface WorkerSettings {
  /** The databases behind the proxy. */
  targets: readonly TargetSettings[];
  tls: TlsOptions;
  /** Where clients reach this proxy, for people who wait for it. */
  address: string;
  logLevel: string;
  warmUp: boolean;
  limits: Partial<Limits>;
}

/** A question of either side; the other answers with the same id. */
export interface Ask {
  kind: 'ask';
  id: number;
  topic: string;
  payload: unknown;
}

/** `value` null: not known here. */
export interface Answer {
  kind: 'answer';
  id: number;
  value: unknown;
}

export type ToWorker =
  | { kind: 'start'; settings: WorkerSettings }
  /** With the client's socket; without one if the client has gone meanwhile. */
  | { kind: 'client'; id: number; seat: Seat }
  | { kind: 'reload' }
  /** No more clients come; `gently`: as `Proxy.close` says. */
  | { kind: 'drain'; graceMs: number; gently: boolean }
  | Ask
  | Answer;

export type ToKeeper =
  | { kind: 'ready' }
  /** It cannot start. `code`: what the program should end with because of it. */
  | { kind: 'failed'; message: string; code: number }
  /** The client is here, and nothing has been read of it: the keeper lets go of its copy. */
  | { kind: 'took'; id: number }
  /** So many of the clients that it was given are gone. */
  | { kind: 'left'; count: number }
  /** Its last numbers; it exits after this. */
  | { kind: 'ended'; numbers: unknown }
  | Ask
  | Answer;
