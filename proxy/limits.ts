/** What a proxy holds or waits for at most. Every queue and buffer of the relay has a line here. */
export interface Limits {
  /** Sessions at once; one more is refused with 53300, as the server would. */
  connections: number;
  /** Size of a start-up packet, bytes (the server's own: 10,000 behind the word of its length). */
  startupPacketBytes: number;
  /** From the accepted connection to the first ReadyForQuery, milliseconds. */
  loginTimeoutMs: number;
  /** For the connection to the server, milliseconds. */
  connectTimeoutMs: number;
  /** A session that is idle for so long, outside a transaction, ends with 57P05; 0: never. */
  idleTimeoutMs: number;
  /** Silence on a TCP connection after which the kernel asks whether anybody is there; 0: never. */
  keepAliveMs: number;
  /** CancelRequests under way at once; one more is dropped (a cancel is never answered anyway). */
  cancelsAtOnce: number;
  /** For a CancelRequest, from its packet to the server's closing, milliseconds. */
  cancelTimeoutMs: number;
  /** A Query or Parse that is longer is streamed, and under rules it is left to the guard. */
  parseBytes: number;
  /** How far into a Bind its two names are looked for, bytes. */
  bindPrefixBytes: number;
  /** Texts of one session's prepared statements, bytes; the text of one more is not kept. */
  statementBytes: number;
  /** A batch in flight, kept so that it can be sent again, bytes; a larger one is not. */
  replayBytes: number;
  /** What a client may send ahead while its statement waits in the proxy, bytes. */
  backlogBytes: number;
  /** Unsent bytes on a socket from which the other side is not read, bytes. */
  bufferBytes: number;
  /** Messages of one session that the server has not answered, before the client has to wait. */
  unanswered: number;
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  connections: 10_000,
  startupPacketBytes: 10_004,
  loginTimeoutMs: 60_000,
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 0,
  keepAliveMs: 60_000,
  cancelsAtOnce: 100,
  cancelTimeoutMs: 10_000,
  parseBytes: 4 * 1024 * 1024,
  bindPrefixBytes: 16 * 1024,
  statementBytes: 32 * 1024 * 1024,
  replayBytes: 64 * 1024,
  backlogBytes: 256 * 1024,
  bufferBytes: 256 * 1024,
  unanswered: 128 * 1024,
};
