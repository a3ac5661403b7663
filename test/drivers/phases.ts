import { Rig } from '../e2e/rig.js';

/** What a driver's program is told of a phase. */
export interface Phase {
  /** For people; without blanks. */
  name: string;
  /** The name by which the application knows the text column. */
  column: string;
  /** What `SELECT * FROM orders` has to show, in this order. */
  star: readonly string[];
  /** `amount` takes values beyond 32 bits. */
  wide: boolean;
}

/** A table that is taken through the phases. */
export interface Ground {
  table: string;
  /** An int column, which becomes a bigint. */
  number: string;
  /** A column that is renamed when that is over, and its other name. */
  before: string;
  after: string;
  columns: readonly string[];
}

const ORDERS: Ground = {
  table: 'orders',
  number: 'amount',
  before: 'note',
  after: 'title',
  columns: ['id', 'amount', 'note', 'payload'],
};

/** Rows that are there before; enough for a cursor to have to come back for more. */
export const SEEDED = 2_000;

/**
 * One server and one proxy, taken through a change of type and then a rename of the same table,
 * with the ways back. Yields where an application has to see no difference; the migration does
 * not move meanwhile.
 */
export async function* walk(rig: Rig, ground = ORDERS): AsyncGenerator<Phase> {
  const { table, number, before, after, columns } = ground;
  const renamed = columns.map((column) => (column === before ? after : column));
  const at = (name: string, wide: boolean): Phase => {
    return { name, column: before, star: columns, wide };
  };
  const prove = async (wrong: string) => {
    const count = await rig.one(`SELECT count(*)::int FROM ${table} WHERE ${wrong}`);
    if (count !== 0) throw new Error(`${count} rows where ${wrong}`);
  };
  yield at('none', false);
  await hold(rig, 'type', `ALTER TABLE ${table} ALTER COLUMN ${number} TYPE bigint`);
  yield at('type:backfilling', false);
  await release(rig, 'type');
  yield at('type:ready', false);
  await rig.ask('type', 'cutover', 'soaking');
  yield at('type:soaking', true);
  await rig.ask('type', 'revert', 'reverted');
  yield at('type:reverted', false);
  await rig.ask('type', 'cutover', 'soaking');
  yield at('type:soaking-again', true);
  await prove(`${number} IS DISTINCT FROM _pgtandem_old_${number}`);
  await rig.ask('type', 'complete', 'completed');
  yield at('type:completed', true);

  await hold(rig, 'rename', `ALTER TABLE ${table} RENAME COLUMN ${before} TO ${after}`);
  yield at('rename:backfilling', true);
  await release(rig, 'rename');
  yield at('rename:ready', true);
  await rig.ask('rename', 'cutover', 'soaking');
  // The application still uses the old name; only `*` says the new one.
  yield { ...at('rename:soaking', true), star: renamed };
  await rig.ask('rename', 'revert', 'reverted');
  yield at('rename:reverted', true);
  await rig.ask('rename', 'cutover', 'soaking');
  yield { name: 'rename:soaking-again', column: after, star: renamed, wide: true };
  await prove(`${before} IS DISTINCT FROM ${after}`);
  await rig.ask('rename', 'complete', 'completed');
  yield { name: 'rename:completed', column: after, star: renamed, wide: true };
}

/** Opens the rig with the table that every program uses. */
export async function openRig(major = 18): Promise<Rig> {
  const rig = await Rig.open(major);
  await rig.query(`CREATE TABLE orders
      (id serial PRIMARY KEY, amount int, note text NOT NULL, payload text);
    INSERT INTO orders (amount, note) SELECT i, 'seed' FROM generate_series(1, ${SEEDED}) i`);
  return rig;
}

/** Starts a migration, whose backfill waits for a standby that is not there. */
async function hold(rig: Rig, name: string, sql: string): Promise<void> {
  await rig.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  await rig.start(name, sql);
  await rig.when(name, ({ progress }) => JSON.stringify(progress).includes('standby-lost'));
}

async function release(rig: Rig, name: string): Promise<void> {
  await rig.query('DELETE FROM pgtandem.standby');
  await rig.reach(name, 'ready');
}
