import pg from 'pg';
import { type Model, mismatch, type Version } from './model.js';
import { CHOSEN_KEYS, COLUMNS, type RawRow, TABLE } from './orders.js';

export interface VerifyOptions {
  /**
   * Whether the table must have the application's columns and no other (before a migration, and
   * when it is completed or reverted). Otherwise hidden ones may be there.
   */
  exactColumns?: boolean;
}

export interface Verification {
  rowsChecked: number;
  /** Rows that must be there and are not. */
  lost: number;
  /** Rows that are not what they must be, that were deleted, or that nobody has made. */
  wrong: number;
  /** Rows whose last write had an unknown outcome; either outcome was accepted. */
  doubtful: number;
  /** What is lost or wrong, in words; the first ones. */
  samples: string[];
}

const BATCH = 10_000;
const SAMPLES = 20;

/**
 * Compares the whole table with what the workers know of it, row by row, in one snapshot. The
 * workers must have stopped.
 */
export async function verifyTable(
  url: string,
  models: readonly Model[],
  options: VerifyOptions = {},
): Promise<Verification> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const comparison = new Comparison(models);
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    if (options.exactColumns) {
      const { fields } = await client.query(`SELECT * FROM ${TABLE} LIMIT 0`);
      comparison.columns(fields.map((field) => field.name));
    }
    const text = `SELECT ${COLUMNS.join(', ')} FROM ${TABLE} WHERE id > $1 ORDER BY id LIMIT ${BATCH}`;
    for (let last = '-9223372036854775808'; ; ) {
      const { rows } = await client.query<RawRow>(text, [last]);
      for (const row of rows) comparison.row(row);
      if (rows.length < BATCH) break;
      last = String(rows[rows.length - 1]!.id);
    }
    await client.query('COMMIT');
    return comparison.end();
  } finally {
    await client.end();
  }
}

/** Takes the rows of the table in the order of their keys. Pure. */
export class Comparison {
  private readonly found: Verification;
  private readonly seeded: number;
  /** Notes of inserts of unknown outcome whose key is not known. */
  private readonly lostInserts = new Map<string, Version>();
  /** Keys beyond the seeded ones that were seen and that a worker knows. */
  private readonly seen = new Set<number>();
  private lastSeeded = 0;

  constructor(private readonly models: readonly Model[]) {
    const doubtful = models.reduce((sum, model) => sum + model.doubtful, 0);
    this.found = { rowsChecked: 0, lost: 0, wrong: 0, doubtful, samples: [] };
    this.seeded = models[0]?.seeded ?? 0;
    for (const { lostInserts } of models) {
      for (const order of lostInserts) this.lostInserts.set(order.note ?? '', order);
    }
  }

  columns(names: string[]): void {
    if (names.join() === COLUMNS.join()) return;
    this.report('wrong', `the columns are (${names.join(', ')}), not (${COLUMNS.join(', ')})`);
  }

  row(raw: RawRow): void {
    const id = Number(raw.id);
    this.found.rowsChecked++;
    if (id >= 1 && id <= this.seeded) this.seededUpTo(id);
    else this.seen.add(id);
    const model = this.owner(id);
    if (!model) {
      this.unknown(id, raw);
      return;
    }
    const wrongs = model.candidates(id).map((version) => mismatch(id, version, raw));
    if (wrongs.every((wrong) => wrong !== undefined)) {
      this.report('wrong', `row ${id}: ${wrongs.at(-1)}`);
    }
  }

  end(): Verification {
    this.seededUpTo(this.seeded + 1);
    for (const model of this.models) {
      for (const id of model.written()) {
        if ((id < 1 || id > this.seeded) && !this.seen.has(id)) this.absent(model, id);
      }
    }
    return this.found;
  }

  /** Keys that were passed over belong to seeded rows that are not there. */
  private seededUpTo(id: number): void {
    for (let gone = this.lastSeeded + 1; gone < id; gone++) this.absent(this.owner(gone)!, gone);
    this.lastSeeded = id;
  }

  private absent(model: Model, id: number): void {
    if (!model.candidates(id).includes(null)) this.report('lost', `row ${id} is not there`);
  }

  private unknown(id: number, raw: RawRow): void {
    const note = String(raw.note);
    const made = this.lostInserts.get(note);
    const wrong = made ? mismatch(id, made, raw) : 'nobody has made it';
    this.lostInserts.delete(note);
    if (wrong) this.report('wrong', `row ${id}: ${wrong}`);
  }

  private owner(id: number): Model | undefined {
    if (id >= 1 && id <= this.seeded) return this.models[id % this.models.length];
    const chosen = this.models[Math.floor(id / CHOSEN_KEYS) - 1];
    return chosen?.knows(id) ? chosen : this.models.find((model) => model.knows(id));
  }

  private report(kind: 'lost' | 'wrong', what: string): void {
    this.found[kind]++;
    if (this.found.samples.length < SAMPLES) this.found.samples.push(`${kind}: ${what}`);
  }
}
