import type { RuleSet, TableRule } from '../../sql/rules.js';
import { type Bench, bench, type RawClient } from './harness.js';
import { tableRule } from './rewriter.js';

/** A bench with a table `users` that rules are made for. */
export interface Ruled extends Bench {
  oid: number;
  /** Runs SQL on a direct connection. */
  direct(text: string): Promise<string[][]>;
  /** Applies rules with the next epoch as version; `insertion` is what the marker becomes. */
  rule(insertion: string, more?: Partial<TableRule>): Promise<void>;
}

export async function ruled(
  t: Parameters<typeof bench>[0],
  major: number,
  options: Parameters<typeof bench>[1] = {},
): Promise<Ruled> {
  const b = await bench(t, { ...options, major });
  const control = await b.cluster.client();
  t.teardown(() => control.end());
  await control.query('CREATE TABLE users (id int PRIMARY KEY, a text, b text)');
  const { rows } = await control.query("SELECT 'users'::regclass::oid::int AS oid");
  const { oid } = rows[0];
  let epoch = 0;
  return {
    ...b,
    oid,
    direct: async (text) => (await control.query({ text, rowMode: 'array' })).rows,
    rule: (insertion, more = {}) => {
      epoch++;
      const tables = [tableRule(oid, 'users', insertion, { version: epoch, ...more })];
      return b.proxy.apply({ epoch, tables } satisfies RuleSet);
    },
  };
}

/** The process of the session that began last. */
export async function backendPid(b: Ruled, client: RawClient): Promise<number> {
  await client.wait(() => client.messages.some((m) => m.type === 'Z'));
  const rows = await b.direct(
    `SELECT pid::int FROM pg_stat_activity WHERE backend_type = 'client backend'
     AND pid <> pg_backend_pid() ORDER BY backend_start DESC LIMIT 1`,
  );
  return Number(rows[0]![0]);
}

/** Cancels what a process does as soon as it waits for a lock. */
export async function cancelWhenWaiting(b: Ruled, pid: number): Promise<void> {
  // Not by pg_stat_activity: its view would need the catalogs that are locked.
  for (;;) {
    const rows = await b.direct(
      `SELECT 1 FROM pg_locks WHERE pid = ${pid} AND NOT granted AND pg_cancel_backend(pid)`,
    );
    if (rows.length > 0) return;
  }
}
