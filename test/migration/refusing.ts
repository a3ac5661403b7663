import type pg from 'pg';
import type { Test } from 'tap';
import { parseDefinition } from '../../migration/definition.js';
import { makePlan } from '../../migration/planner.js';
import type { Guard } from '../../sql/rules.js';

/** What is done to the tables first, the migration, what is said of it. */
export type Refused = [string, string, RegExp, Guard?];

/** Sees that each is refused; what was done for it is taken back. */
export async function eachRefused(t: Test, control: pg.Client, cases: Refused[]): Promise<void> {
  for (const [setup, sql, message, guard] of cases) {
    await control.query('BEGIN');
    await control.query(setup);
    // The plan's own transaction is within that of the test: what it begins and rolls back is a savepoint.
    const inner = {
      query: (text: string, values?: unknown[]) =>
        control.query(
          text === 'BEGIN' ? 'SAVEPOINT plan' : text === 'ROLLBACK' ? 'ROLLBACK TO plan' : text,
          values,
        ),
    } as unknown as pg.Client;
    const error = await makePlan(inner, parseDefinition(sql, 'm.sql'), guard ?? 'repair').then(
      () => new Error('not refused'),
      (refused) => refused,
    );
    t.match(error.message, message, setup || sql);
    await control.query('ROLLBACK');
  }
}
