import type { Random } from './random.js';
import * as shapes from './statements.js';

/**
 * What a worker does at one time.
 * - `single`: one statement.
 * - `script`: several in one simple Query message, one implicit transaction.
 * - `commit`, `rollback`: several between BEGIN and that.
 */
export interface Operation {
  ending: 'single' | 'script' | 'commit' | 'rollback';
  shapes: shapes.Shape[];
}

/** How often each shape is run, about in the proportions of a busy application. */
const SHAPES: readonly (readonly [weight: number, shape: shapes.Shape])[] = [
  [5, shapes.insertOne],
  [2, shapes.insertMany],
  [2, shapes.insertAllColumns],
  [4, shapes.insertDefault],
  [4, shapes.insertReturning],
  [5, shapes.upsertExcluded],
  [4, shapes.upsertIncrement],
  [15, shapes.updateAmount],
  [10, shapes.updateOther],
  [7, shapes.updateReturning],
  [9, shapes.deleteRow],
  [6, shapes.deleteReturning],
  [10, shapes.selectAmount],
  [12, shapes.selectStar],
  [3, shapes.selectByAmount],
  [2, shapes.sumOwn],
];

/** What to do next. */
export function nextOperation(random: Random): Operation {
  const ending = random.weighted<Operation['ending']>([
    [88, 'single'],
    [3, 'script'],
    [7, 'commit'],
    [2, 'rollback'],
  ]);
  const length = ending === 'single' ? 1 : random.integer(2, 4);
  // What a script's answers are compared with is settled before it is sent, and a read of rows
  // by amount is compared with all that the worker knows once the answer is there.
  const from = ending === 'script' ? SHAPES.filter(([, s]) => s !== shapes.selectByAmount) : SHAPES;
  return { ending, shapes: Array.from({ length }, () => random.weighted(from)) };
}

/** How many statements the operation sends, BEGIN and COMMIT or ROLLBACK included. */
export function statementCount(operation: Operation): number {
  const { length } = operation.shapes;
  return operation.ending === 'commit' || operation.ending === 'rollback' ? length + 2 : length;
}

/** A statement with its values written into its text, for the simple protocol. */
export function inline(statement: shapes.Statement): string {
  return statement.text.replace(/\$(\d+)/g, (_, number: string) =>
    literal(statement.values[Number(number) - 1] ?? null),
  );
}

function literal(value: shapes.Value): string {
  if (value === null) return 'NULL';
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}
