/** What a message is, as far as its answers go. */
export type Kind = number;
export const STARTUP = 1;
export const PARSE = 2;
export const BIND = 3;
export const DESCRIBE_STATEMENT = 4;
export const DESCRIBE_PORTAL = 5;
export const EXECUTE = 6;
export const CLOSE = 7;
export const QUERY = 8;
export const FUNCTION_CALL = 9;
export const SYNC = 10;
export const COPY_END = 11;
/** A Sync or CopyDone that a COPY has consumed: no answer comes. */
export const CONSUMED = 12;

/** The rest of an entry's byte is what else is known of it. */
export const KIND_MASK = 0x0f;
/** The answer is to a message of ours. */
export const SWALLOW_BIT = 0x10;
/** Bind or Execute of a named portal. */
export const NAMED_BIT = 0x20;

export const isExtended = (kind: Kind) => kind >= PARSE && kind <= CLOSE;

export const isDescribe = (kind: Kind) => kind === DESCRIBE_STATEMENT || kind === DESCRIBE_PORTAL;

export interface LedgerListener<Side> {
  /** The message succeeded; for Query, FunctionCall and Sync: its ReadyForQuery came. */
  answered(kind: Kind, side: Side): void;
  /** The error response is about this message. */
  failed(kind: Kind, side: Side): void;
  /** The server threw the message away, because one before it had failed. */
  dropped(kind: Kind, side: Side): void;
}
