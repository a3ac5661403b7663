import type pg from 'pg';
import { TABLE } from './orders.js';

/** What is watched during a demo: the table's size (its indexes apart) and the standby's lag, at their highest. */
export class Watcher {
  bytesBefore = 0;
  bytesHighest = 0;
  lagHighestMs: number | null = null;
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> = Promise.resolve();
  private failure: unknown;

  /** @param control a connection of its own, in no one's transaction. */
  constructor(private readonly control: pg.Client) {}

  async start(): Promise<void> {
    this.bytesBefore = await this.tableBytes();
    this.bytesHighest = this.bytesBefore;
    this.timer = setInterval(() => {
      this.looking = this.looking.then(() => this.look());
    }, 500);
  }

  /** @throws what a look has failed with: a highest that has gaps is none. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.looking;
    if (this.failure !== undefined) throw this.failure;
  }

  private async look(): Promise<void> {
    try {
      this.bytesHighest = Math.max(this.bytesHighest, await this.tableBytes());
    } catch (error) {
      this.failure ??= error;
    }
  }

  seen(lagSeconds: number | null): void {
    if (lagSeconds === null) return;
    this.lagHighestMs = Math.max(this.lagHighestMs ?? 0, lagSeconds * 1_000);
  }

  private async tableBytes(): Promise<number> {
    const { rows } = await this.control.query('SELECT pg_table_size($1)::float8 AS bytes', [TABLE]);
    return rows[0].bytes;
  }
}

/** Rows on which the old and the new column disagree, while both are there: asked of the database. */
export async function countUnequal(
  control: pg.Client,
  oldColumn: string,
  newColumn: string,
): Promise<{ rowsChecked: number; unequal: number }> {
  const { rows } = await control.query(
    `SELECT count(*)::float8 AS "rowsChecked",
            (count(*) FILTER (WHERE "${oldColumn}" IS DISTINCT FROM "${newColumn}"))::float8 AS unequal
     FROM ${TABLE}`,
  );
  return rows[0];
}

/** Names of whatever of ours is left on the table or beside the state in our schema. */
export async function leftBehind(control: pg.Client): Promise<string[]> {
  const { rows } = await control.query(
    `SELECT 'column ' || attname AS name FROM pg_attribute
       WHERE attrelid = $1::regclass AND NOT attisdropped AND attname LIKE '%pgtandem%'
     UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger
       WHERE tgrelid = $1::regclass AND tgname LIKE '%pgtandem%'
     UNION ALL SELECT 'constraint ' || conname FROM pg_constraint
       WHERE conrelid = $1::regclass AND conname LIKE '%pgtandem%'
     UNION ALL SELECT 'index ' || indexrelid::regclass FROM pg_index
       WHERE indrelid = $1::regclass AND indexrelid::regclass::text LIKE '%pgtandem%'
     UNION ALL SELECT 'function ' || proname FROM pg_proc
       WHERE pronamespace = 'pgtandem'::regnamespace
     UNION ALL SELECT 'sequence ' || relname FROM pg_class
       WHERE relnamespace = 'pgtandem'::regnamespace AND relkind = 'S' AND relname ~ '_[0-9]+$'`,
    [TABLE],
  );
  return rows.map((row) => row.name);
}
