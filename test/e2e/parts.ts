import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import postgres from 'postgres';
import { Random } from '../sql/random.js';

/** A partition by whose name the application writes, the days that it holds, and its columns' order. */
export interface Part {
  name: string;
  /** Days of 2024, from and to (not included), as offsets from January 1st. */
  days: [number, number];
  region?: string;
}

export const PARTS: Part[] = [
  { name: 'events_a', days: [0, 100], region: 'eu' },
  { name: 'events_a_eu', days: [0, 100], region: 'eu' },
  { name: '"Events A rest"', days: [0, 100], region: 'us' },
  { name: 'events_b', days: [100, 200] },
  { name: 'events_rest', days: [200, 300] },
];

export const SETUP = `
  CREATE TABLE events (id int NOT NULL, day int NOT NULL, region text NOT NULL,
    amount int NOT NULL DEFAULT 7, note text) PARTITION BY RANGE (day);
  CREATE TABLE events_a PARTITION OF events FOR VALUES FROM (0) TO (100) PARTITION BY LIST (region);
  CREATE TABLE events_a_eu PARTITION OF events_a FOR VALUES IN ('eu') PARTITION BY HASH (id);
  CREATE TABLE events_a_eu_0 PARTITION OF events_a_eu FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE TABLE events_a_eu_1 PARTITION OF events_a_eu FOR VALUES WITH (MODULUS 2, REMAINDER 1);
  CREATE TABLE "Events A rest" PARTITION OF events_a DEFAULT;
  CREATE TABLE events_b (gone int, id int NOT NULL, day int NOT NULL, gone2 int,
    region text NOT NULL, amount int NOT NULL DEFAULT 7, note text);
  ALTER TABLE events_b DROP COLUMN gone, DROP COLUMN gone2;
  ALTER TABLE events ATTACH PARTITION events_b FOR VALUES FROM (100) TO (200);
  CREATE TABLE events_rest PARTITION OF events DEFAULT;
  CREATE INDEX ON events (id);
  INSERT INTO events SELECT -i, i % 300, CASE i % 3 WHEN 0 THEN 'us' ELSE 'eu' END, i, 'old'
  FROM generate_series(1, 20000) i`;

interface Row {
  id: number;
  day: number;
  region: string;
  amount: number;
  note: string | null;
}

const COLUMNS = ['id', 'day', 'region', 'amount', 'note'];

/** An application that writes by the table's name and by those of partitions, and checks answers. */
export class Application {
  readonly rows = new Map<number, Row>();
  /** How often each kind of write was made. */
  readonly made = new Map<string, number>();
  rounds = 0;
  private next: number;
  private running = true;
  private done: Promise<void> = Promise.resolve();

  private constructor(
    private readonly client: pg.Client,
    private readonly copier: postgres.Sql,
    private readonly random: Random,
    readonly parts: Part[],
    first: number,
  ) {
    this.next = first;
  }

  static async open(url: string, seed: number, first: number): Promise<Application> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const copier = postgres(url, { max: 1, fetch_types: false });
    return new Application(client, copier, new Random(seed), [...PARTS], first);
  }

  start(): void {
    this.done = (async () => {
      while (this.running) {
        await this.round();
        this.rounds++;
      }
    })();
    // It is told of when the application is stopped.
    this.done.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.running = false;
    await this.done;
    await this.client.end();
    await this.copier.end();
  }

  /** Rows as they are to be, by id. */
  expected(): Row[] {
    return [...this.rows.values()].sort((a, b) => a.id - b.id);
  }

  private async round(): Promise<void> {
    const kinds = [
      'insert',
      'insert',
      'update',
      'move',
      'other',
      'delete',
      'copy',
      'read',
    ] as const;
    const kind = this.rows.size < 20 ? 'insert' : this.random.pick(kinds);
    await this[kind]();
    this.made.set(kind, (this.made.get(kind) ?? 0) + 1);
  }

  /** A row for a partition, and the name by which it is written. */
  private fresh(): { row: Row; into: string } {
    const part = this.random.pick(this.parts);
    const row = {
      id: this.next++,
      day: part.days[0] + this.random.below(part.days[1] - part.days[0]),
      region: part.region ?? this.random.pick(['eu', 'us']),
      amount: this.random.below(1_000_000),
      note: this.random.pick(['x', 'a longer note', null]),
    };
    return { row, into: this.random.chance(0.4) ? 'events' : part.name };
  }

  private pick(): Row {
    return this.random.pick([...this.rows.values()]);
  }

  /** A name under which the row can be found. */
  private nameOf(row: Row): string {
    const fitting = this.parts.filter(
      ({ days, region }) =>
        row.day >= days[0] && row.day < days[1] && (region ?? row.region) === row.region,
    );
    return this.random.pick(['events', ...fitting.map(({ name }) => name)]);
  }

  private async insert(): Promise<void> {
    const { row, into } = this.fresh();
    const values = [row.id, row.day, row.region, row.amount, row.note];
    const shape = this.random.below(3);
    if (shape === 0) {
      await this.check(
        { text: `INSERT INTO ${into} VALUES ($1, $2, $3, $4, $5) RETURNING *`, values },
        row,
      );
    } else if (shape === 1) {
      const text = `INSERT INTO ${into} (note, amount, region, day, id) VALUES ($5, $4, $3, $2, $1) RETURNING *`;
      await this.check({ name: `insert ${into}`, text, values }, row);
    } else {
      row.amount = 7;
      const text = `INSERT INTO ${into} (id, day, region, note) VALUES ($1, $2, $3, $4) RETURNING *`;
      await this.check({ text, values: [row.id, row.day, row.region, row.note] }, row);
    }
    this.rows.set(row.id, row);
  }

  private async update(): Promise<void> {
    const row = { ...this.pick(), amount: this.random.below(1_000_000) };
    const name = this.nameOf(row);
    const text = `UPDATE ${name} SET amount = $1 WHERE id = $2 RETURNING *`;
    await this.check({ name: `update ${name}`, text, values: [row.amount, row.id] }, row);
    this.rows.set(row.id, row);
  }

  /** To another partition: a DELETE and an INSERT, with or without a new amount. */
  private async move(): Promise<void> {
    const old = this.pick();
    const row = { ...old, day: this.random.below(300), region: this.random.pick(['eu', 'us']) };
    if (this.random.chance(0.5)) row.amount = this.random.below(1_000_000);
    const set = row.amount === old.amount ? '' : `, amount = ${row.amount}`;
    const text = `UPDATE events SET day = ${row.day}, region = '${row.region}'${set} WHERE id = ${row.id} RETURNING *`;
    await this.check({ text, values: [] }, row);
    this.rows.set(row.id, row);
  }

  /** Of a row that may never have been filled, too: those of negative ids are nobody's. */
  private async other(): Promise<void> {
    const id = -1 - this.random.below(20_000);
    const day = this.random.below(300);
    await this.client.query('UPDATE events SET day = $1, note = note WHERE id = $2', [day, id]);
    const row = { ...this.pick(), note: 'noted' };
    const text = `UPDATE ${this.nameOf(row)} SET note = 'noted' WHERE id = $1 RETURNING *`;
    await this.check({ text, values: [row.id] }, row);
    this.rows.set(row.id, row);
  }

  private async delete(): Promise<void> {
    const row = this.pick();
    const text = `DELETE FROM ${this.nameOf(row)} WHERE id = $1 RETURNING *`;
    await this.check({ text, values: [row.id] }, row);
    this.rows.delete(row.id);
  }

  private async copy(): Promise<void> {
    const { row, into } = this.fresh();
    const text = `${row.id}\t${row.day}\t${row.region}\t${row.amount}\t${row.note ?? '\\N'}\n`;
    const list = this.random.chance(0.5) ? '' : ` (${COLUMNS.join(', ')})`;
    const writable = await this.copier.unsafe(`COPY ${into}${list} FROM STDIN`).writable();
    await pipeline(Readable.from([text]), writable);
    this.rows.set(row.id, row);
    await this.read(row);
  }

  private async read(row = this.pick()): Promise<void> {
    const name = this.nameOf(row);
    const text = `SELECT * FROM ${name} WHERE id = $1`;
    await this.check({ name: `read ${name}`, text, values: [row.id] }, row);
  }

  private async check(query: pg.QueryConfig, row: Row): Promise<void> {
    const { rows, fields } = await this.client.query(query);
    const names = fields.map(({ name }) => name).join();
    const told = JSON.stringify(rows.map((one) => ({ ...one, amount: Number(one.amount) })));
    if (names !== COLUMNS.join() || told !== JSON.stringify([row])) {
      throw new Error(`${query.text}: ${names} ${told}, not ${JSON.stringify([row])}`);
    }
  }
}
