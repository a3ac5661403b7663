import type { Outbox } from './outbox.js';

/** Who is told what happens on a wire. */
export interface WireListener {
  /** @param chunk belongs to the listener only until it returns. */
  data(chunk: Buffer): void;
  /** The other end has no more to say. */
  ended(): void;
  /** More may be sent, after `send` has said no. */
  drained(): void;
  /** It is over, for whatever reason. Called once, and last. */
  closed(): void;
}

/** One socket of a session: bytes both ways, half-close, backpressure. Begins paused. */
export interface Wire {
  /** Sends and empties what is in `out`; false when no more should be sent until `drained`. */
  send(out: Outbox): boolean;
  /** False while what was sent waits for the other end. */
  readonly flowing: boolean;
  /** Nothing more can be sent. */
  readonly over: boolean;
  pause(): void;
  resume(): void;
  /** Sends what waits, then the end; reading goes on. */
  end(): void;
  destroy(): void;
}
