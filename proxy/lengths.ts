import { BACKEND, FRONTEND } from './messages.js';

/** The longest message but Query, Parse, Bind, CopyData and FunctionCall, as the server has it. */
export const SMALL_MESSAGE = 10_000;
const LARGE_MESSAGE = 0x3ffffffe;

/** Whether the server would take a message of this type with this length in its header. */
export function isClientLength(type: number, length: number): boolean {
  if (length < 4 || length > LARGE_MESSAGE) return false;
  const small = type === FRONTEND.describe || type === FRONTEND.close || type === FRONTEND.execute;
  return !small || length <= SMALL_MESSAGE;
}

/** Longest message of the types that are never long; the server's own client library does the same. */
const SHORT_MESSAGE = 30_000;
const LONG_TYPES = tableOf([
  BACKEND.rowDescription,
  BACKEND.dataRow,
  BACKEND.copyData,
  BACKEND.functionResult,
  BACKEND.error,
  BACKEND.notice,
  BACKEND.notification,
  // Beyond the client library's list: 65,535 parameters, and tokens of GSSAPI.
  BACKEND.parameterDescription,
  BACKEND.authentication,
]);
const LONGEST = 0x3fffffff;

/** A 1 at each of these bytes: asked for each message, it is faster than a set. */
function tableOf(types: readonly number[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const type of types) table[type] = 1;
  return table;
}

/** Whether a client library would take it from the server. */
export function isServerLength(type: number, length: number): boolean {
  return length >= 4 && length <= (LONG_TYPES[type] === 1 ? LONGEST : SHORT_MESSAGE);
}

const ANSWERED_TYPES: ReadonlySet<number> = new Set([
  FRONTEND.query,
  FRONTEND.parse,
  FRONTEND.bind,
  FRONTEND.describe,
  FRONTEND.execute,
  FRONTEND.close,
  FRONTEND.functionCall,
]);

/** Whether the server answers a message of this type, or throws it away behind a failure. */
export function isAnswered(type: number): boolean {
  return ANSWERED_TYPES.has(type);
}
