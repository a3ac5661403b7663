import { difference, type RawRow } from './orders.js';
import type { Statement } from './statements.js';

/** An answer, as the driver gives it. */
export interface Reply {
  /** First word of the command tag. */
  command: string;
  /** The number in the command tag. */
  count: number | null;
  columns: { name: string; type: number }[];
  rows: RawRow[];
}

/** `pg_type.oid` of `bigint` and `integer`: what the migrated column may be. */
const WHOLE_NUMBERS = [20, 23];

/** What is wrong with an answer; `undefined` when it is what the application must get. */
export function complaint(statement: Statement, reply: Reply): string | undefined {
  const { expects } = statement;
  if (reply.command !== expects.command) {
    return `the command tag is ${reply.command}, not ${expects.command}`;
  }
  const names = reply.columns.map((column) => column.name).join(', ');
  const wanted = expects.columns.join(', ');
  if (names !== wanted) return `the columns are (${names}), not (${wanted})`;
  const amount = reply.columns.find((column) => column.name === 'amount');
  if (amount && !WHOLE_NUMBERS.includes(amount.type)) {
    return `amount is of type ${amount.type}, neither integer nor bigint`;
  }
  if (expects.count !== null && reply.count !== expects.count) {
    return `the command tag says ${reply.count} rows, not ${expects.count}`;
  }
  const expectedRows = expects.columns.length === 0 ? 0 : expects.count;
  if (expectedRows !== null && reply.rows.length !== expectedRows) {
    return `there are ${reply.rows.length} rows, not ${expectedRows}`;
  }
  return expects.inspect ? expects.inspect(reply.rows) : wrongRow(statement, reply.rows);
}

function wrongRow({ expects }: Statement, rows: RawRow[]): string | undefined {
  for (const [i, [id, order]] of expects.rows.entries()) {
    const row = rows[i]!;
    const wrong = difference(id ?? Number(row.id), order, row);
    if (wrong) return `row ${id ?? row.id}: ${wrong}`;
  }
  return undefined;
}
