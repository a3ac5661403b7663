import type { Model, Version } from './model.js';
import { COLUMNS, difference, type Order, type RawRow, TABLE } from './orders.js';
import type { Random } from './random.js';

export type Value = number | string | null;

/** What a shape may look at when it makes its next statement. */
export interface Context {
  model: Model;
  random: Random;
  /** Milliseconds since 1970. */
  now(): number;
}

/** One statement of the application, with everything that its answer must be. */
export interface Statement {
  /** Name of the shape, and of the prepared statement; one text for each shape. */
  shape: string;
  /** SQL with `$1` ... for the values. */
  text: string;
  values: Value[];
  /** What rows become when it succeeds, by key. */
  writes: [id: number, version: Version][];
  /** Rows it makes whose key the server chooses, in the order of the answer's rows. */
  inserts: Order[];
  expects: Expectation;
}

export interface Expectation {
  /** First word of the command tag, and its number of rows (`null`: not known beforehand). */
  command: 'SELECT' | 'INSERT' | 'UPDATE' | 'DELETE';
  count: number | null;
  /** Names of the answer's columns, in order; empty when it has no rows. */
  columns: readonly string[];
  /** What the rows are, in order, by key; the key is `null` where the server chose it. */
  rows: [id: number | null, order: Order][];
  /** In place of `rows`: what is wrong with the answer's rows, if anything. */
  inspect?: (rows: RawRow[]) => string | undefined;
}

/** Makes the next statement of its kind out of what the worker's rows are now. */
export type Shape = (context: Context) => Statement;

const AWKWARD = [
  '',
  '',
  '',
  " isn't plain",
  ' größer €5',
  ' \\ back',
  ' -- no comment',
  ' $1; "q"',
];

/** A note that no other row has ever had. */
function freshNote({ random, now, model }: Context): string {
  const unique = `${now().toString(36)}${random.integer(0, 2 ** 31).toString(36)}`;
  return `w${model.worker} ${unique}${AWKWARD[random.integer(0, AWKWARD.length - 1)]}`;
}

function freshOrder(context: Context): Order {
  const { random } = context;
  return {
    customer: random.integer(1, 10_000),
    amount: BigInt(random.integer(0, 2_000_000)),
    note: random.chance(0.1) ? null : freshNote(context),
    updatedAt: context.now(),
  };
}

function values(id: number, order: Order): Value[] {
  return [id, order.customer, Number(order.amount), order.note, iso(order.updatedAt!)];
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** A row of this worker that is there; a shape that finds none inserts one instead. */
function withRow(make: (context: Context, id: number, order: Order) => Statement): Shape {
  return (context) => {
    const id = context.model.pick(context.random);
    const order = id === undefined ? null : context.model.get(id);
    return id === undefined || order === null ? insertOne(context) : make(context, id, order);
  };
}

/** A write of rows whose keys are known, with no RETURNING. */
function silent(
  shape: string,
  command: Expectation['command'],
  text: string,
  parameters: Value[],
  writes: Statement['writes'],
): Statement {
  const expects: Expectation = { command, count: writes.length, columns: [], rows: [] };
  return { shape, text, values: parameters, writes, inserts: [], expects };
}

/** A read, or a write with RETURNING, of rows whose keys are known. */
function answered(
  statement: Omit<Statement, 'inserts' | 'expects'>,
  command: Expectation['command'],
  columns: readonly string[],
  rows: [id: number, order: Order][],
): Statement {
  return { ...statement, inserts: [], expects: { command, count: rows.length, columns, rows } };
}

const ALL = `${TABLE} (id, customer, amount, note, updated_at)`;

export const insertOne: Shape = (context) => {
  const id = context.model.freshKey();
  const order = freshOrder(context);
  const text = `INSERT INTO ${ALL} VALUES ($1, $2, $3, $4, $5)`;
  return silent('insert_one', 'INSERT', text, values(id, order), [[id, order]]);
};

export const insertMany: Shape = (context) => {
  const rows = [1, 2, 3].map((): [number, Order] => [
    context.model.freshKey(),
    freshOrder(context),
  ]);
  const text =
    `INSERT INTO ${ALL} VALUES ($1, $2, $3, $4, $5),\n` +
    '  ($6, $7, $8, $9, $10), ($11, $12, $13, $14, $15)';
  const parameters = rows.flatMap(([id, order]) => values(id, order));
  return silent('insert_many', 'INSERT', text, parameters, rows);
};

/** No column list: the application relies on the order of its columns. */
export const insertAllColumns: Shape = (context) => {
  const id = context.model.freshKey();
  const order = freshOrder(context);
  const text = `INSERT INTO ${TABLE} VALUES ($1, $2, $3, $4, $5) RETURNING *`;
  return answered(
    { shape: 'insert_all_columns', text, values: values(id, order), writes: [[id, order]] },
    'INSERT',
    COLUMNS,
    [[id, order]],
  );
};

/** The migrated column takes its default, the key is the server's, and so is the time. */
export const insertDefault: Shape = (context) => {
  const order: Order = { ...freshOrder(context), amount: 0n, updatedAt: null };
  order.note ??= freshNote(context);
  return {
    shape: 'insert_default',
    text: `INSERT INTO ${TABLE} (customer, note) VALUES ($1, $2) RETURNING id, amount`,
    values: [order.customer, order.note],
    writes: [],
    inserts: [order],
    expects: { command: 'INSERT', count: 1, columns: ['id', 'amount'], rows: [[null, order]] },
  };
};

export const insertReturning: Shape = (context) => {
  const order: Order = { ...freshOrder(context), updatedAt: null };
  order.note ??= freshNote(context);
  return {
    shape: 'insert_returning',
    text: `INSERT INTO ${TABLE} (customer, amount, note) VALUES ($1, $2, $3) RETURNING *`,
    values: [order.customer, Number(order.amount), order.note],
    writes: [],
    inserts: [order],
    expects: { command: 'INSERT', count: 1, columns: COLUMNS, rows: [[null, order]] },
  };
};

/** The new value of the migrated column on conflict: the one that was given. */
export const upsertExcluded: Shape = (context) => {
  const { model, random } = context;
  const id = (random.chance(0.6) ? model.pick(random) : undefined) ?? model.freshKey();
  const there = model.get(id);
  const given = freshOrder(context);
  const after = there === null ? given : { ...there, amount: given.amount };
  const text =
    `INSERT INTO ${ALL} VALUES ($1, $2, $3, $4, $5)\n` +
    '  ON CONFLICT (id) DO UPDATE SET amount = excluded.amount';
  return silent('upsert_excluded', 'INSERT', text, values(id, given), [[id, after]]);
};

/** The new value of the migrated column on conflict: one made from the one that was there. */
export const upsertIncrement: Shape = (context) => {
  const { model, random } = context;
  const id = (random.chance(0.6) ? model.pick(random) : undefined) ?? model.freshKey();
  const there = model.get(id);
  const given = freshOrder(context);
  const after =
    there === null ? given : { ...there, amount: there.amount + 1n, updatedAt: given.updatedAt };
  const text =
    `INSERT INTO ${ALL} VALUES ($1, $2, $3, $4, $5)\n  ON CONFLICT (id) DO UPDATE\n` +
    `  SET amount = ${TABLE}.amount + 1, updated_at = excluded.updated_at RETURNING id, amount`;
  return answered(
    { shape: 'upsert_increment', text, values: values(id, given), writes: [[id, after]] },
    'INSERT',
    ['id', 'amount'],
    [[id, after]],
  );
};

export const updateAmount: Shape = withRow(({ random }, id, order) => {
  const delta = random.integer(-500, 500);
  const after = { ...order, amount: order.amount + BigInt(delta) };
  const text = `UPDATE ${TABLE} SET amount = amount + $1 WHERE id = $2`;
  return silent('update_amount', 'UPDATE', text, [delta, id], [[id, after]]);
});

/** A write that does not name the migrated column. */
export const updateOther: Shape = withRow((context, id, order) => {
  const after = { ...order, note: freshNote(context), updatedAt: null };
  const text = `UPDATE ${TABLE} SET note = $1, updated_at = now() WHERE id = $2`;
  return silent('update_other', 'UPDATE', text, [after.note, id], [[id, after]]);
});

export const updateReturning: Shape = withRow((context, id, order) => {
  const amount = context.random.integer(0, 2_000_000);
  const after = { ...order, amount: BigInt(amount), updatedAt: context.now() };
  const text = `UPDATE ${TABLE} AS o SET amount = $2, updated_at = $3\n  WHERE o.id = $1 RETURNING o.*`;
  return answered(
    {
      shape: 'update_returning',
      text,
      values: [id, amount, iso(after.updatedAt)],
      writes: [[id, after]],
    },
    'UPDATE',
    COLUMNS,
    [[id, after]],
  );
});

export const deleteRow: Shape = withRow((_, id) => {
  const text = `DELETE FROM ${TABLE} WHERE id = $1`;
  return silent('delete_row', 'DELETE', text, [id], [[id, null]]);
});

export const deleteReturning: Shape = withRow((_, id, order) => {
  const text = `DELETE FROM ${TABLE} WHERE id = $1 RETURNING *`;
  return answered(
    { shape: 'delete_returning', text, values: [id], writes: [[id, null]] },
    'DELETE',
    COLUMNS,
    [[id, order]],
  );
});

export const selectAmount: Shape = withRow((_, id, order) => {
  const text = `SELECT amount, note FROM ${TABLE} WHERE id = $1`;
  const columns = ['amount', 'note'];
  const statement = { shape: 'select_amount', text, values: [id], writes: [] };
  return answered(statement, 'SELECT', columns, [[id, order]]);
});

/** All columns of one row, whatever it is: also the way in which a doubt is ended. */
export function selectRow(id: number, order: Version): Statement {
  const text = `SELECT * FROM ${TABLE} WHERE id = $1`;
  const statement = { shape: 'select_row', text, values: [id], writes: [] };
  return answered(statement, 'SELECT', COLUMNS, order === null ? [] : [[id, order]]);
}

export const selectStar: Shape = withRow((_, id, order) => selectRow(id, order));

/** A read by the index on the migrated column: other workers' rows are in it, ours are checked. */
export const selectByAmount: Shape = withRow(({ model, random }, _id, order) => {
  const low = Number(order.amount) - random.integer(0, 20);
  const inspect = (rows: RawRow[]): string | undefined => {
    for (const row of rows) {
      const id = Number(row.id);
      const amount = Number(row.amount);
      if (amount < low || amount > low + 20) return `amount ${amount} is out of the range`;
      if (!model.knows(id)) continue;
      const known = model.get(id);
      const wrong = known === null ? 'it was deleted' : difference(id, known, row);
      if (wrong) return `row ${id}: ${wrong}`;
    }
    return undefined;
  };
  return {
    shape: 'select_by_amount',
    text:
      `SELECT id, amount FROM ${TABLE} WHERE amount BETWEEN $1 AND $2\n` +
      '  ORDER BY amount, id LIMIT 50',
    values: [low, low + 20],
    writes: [],
    inserts: [],
    expects: { command: 'SELECT', count: null, columns: ['id', 'amount'], rows: [], inspect },
  };
});

/** A small aggregate over the last rows that this worker gave a key to. */
export const sumOwn: Shape = ({ model }) => {
  const [first, end] = model.chosenKeys();
  const from = Math.max(first, end - 50);
  let count = 0;
  let sum = 0n;
  for (let id = from; id < end; id++) {
    const order = model.get(id);
    if (order === null) continue;
    count++;
    sum += order.amount;
  }
  const inspect = ([row]: RawRow[]): string | undefined => {
    const found = `${row?.count} rows, ${row?.total}`;
    const wanted = `${count} rows, ${count === 0 ? null : sum}`;
    return found === wanted ? undefined : `the sum is ${found}, not ${wanted}`;
  };
  return {
    shape: 'sum_own',
    text:
      `SELECT count(*) AS count, sum(amount) AS total FROM ${TABLE}\n` +
      '  WHERE id >= $1 AND id < $2',
    values: [from, end],
    writes: [],
    inserts: [],
    expects: { command: 'SELECT', count: 1, columns: ['count', 'total'], rows: [], inspect },
  };
};
