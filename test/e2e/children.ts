import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import postgres from 'postgres';
import { Random } from '../sql/random.js';

/** A table of the tree: its columns as they lie, and the tables above it, itself among them. */
export interface Kin {
  name: string;
  columns: string[];
  above: string[];
}

const PEOPLE = ['id', 'name', 'amount', 'note'];
const STAFF = [...PEOPLE, 'dept', 'salary'];

export const KIN: Kin[] = [
  { name: 'people', columns: PEOPLE, above: ['people'] },
  { name: 'staff', columns: STAFF, above: ['people', 'staff'] },
  {
    name: 'chiefs',
    columns: [...STAFF, 'changed', 'car'],
    above: ['people', 'staff', 'chiefs'],
  },
  {
    name: '"Guest list"',
    columns: ['note', 'extra', 'amount', 'id', 'name'],
    above: ['people', '"Guest list"'],
  },
];

/** Rows of before have negative ids. */
export const SETUP = `
  CREATE TABLE people (id int NOT NULL, name text, amount int NOT NULL DEFAULT 7, note text);
  CREATE TABLE audited (changed date DEFAULT '2024-01-01');
  CREATE TABLE staff (dept text DEFAULT 'd', salary int) INHERITS (people);
  CREATE TABLE chiefs (amount int NOT NULL DEFAULT 7, car text) INHERITS (staff, audited);
  CREATE TABLE "Guest list" (note text, extra int DEFAULT 3, gone int, amount int NOT NULL DEFAULT 7,
    id int NOT NULL, name text);
  ALTER TABLE "Guest list" DROP COLUMN gone;
  ALTER TABLE "Guest list" INHERIT people;
  CREATE INDEX ON people (id); CREATE INDEX ON staff (id);
  CREATE INDEX ON chiefs (id); CREATE INDEX ON "Guest list" (id);
  CREATE INDEX ON people (amount);
  INSERT INTO people SELECT -i, 'old', i, NULL FROM generate_series(1, 5000) i;
  INSERT INTO staff SELECT -5000 - i, 'old', i, NULL, 'd', i FROM generate_series(1, 5000) i;
  INSERT INTO chiefs SELECT -10000 - i, 'old', i, NULL, 'd', i FROM generate_series(1, 5000) i;
  INSERT INTO "Guest list" (id, amount) SELECT -15000 - i, i FROM generate_series(1, 5000) i`;

const OLD_ROWS = 20_000;

/** A statement's answer without what a change of type changes: values as text. */
const asText = { getTypeParser: () => (value: string | Buffer) => String(value) };

/** One of the two databases: the one behind the proxy, or the plain one. */
class Place {
  private constructor(
    readonly client: pg.Client,
    readonly copier: postgres.Sql,
  ) {}

  static async open(url: string): Promise<Place> {
    const client = new pg.Client({ connectionString: url, types: asText });
    await client.connect();
    return new Place(client, postgres(url, { max: 1, fetch_types: false }));
  }

  async answer(query: pg.QueryConfig): Promise<object> {
    try {
      const { rows, fields, command, rowCount } = await this.client.query(query);
      return { rows, names: fields.map(({ name }) => name), command, rowCount };
    } catch (error) {
      const { code, message } = error as pg.DatabaseError;
      return { code, message: message.replace('type bigint', 'type integer') };
    }
  }

  async copy(into: string, line: string): Promise<void> {
    const writable = await this.copier.unsafe(`COPY ${into} FROM STDIN`).writable();
    await pipeline(Readable.from([line]), writable);
  }

  async end(): Promise<void> {
    await this.client.end();
    await this.copier.end();
  }
}

const KINDS = [
  'insert',
  'update',
  'own',
  'only',
  'merge',
  'delete',
  'copy',
  'read',
  'old',
  'wrong',
] as const;

/** An application whose statements go to both databases, and have to be answered in the same way. */
export class Application {
  /** How often each kind of statement was made. */
  readonly made = new Map<string, number>();
  readonly kin = [...KIN];
  rounds = 0;
  failure: unknown = null;
  private readonly names = new Map<string, string>();
  private readonly rows = new Map<number, Kin>();
  private next: number;
  private running = true;
  private done: Promise<void> = Promise.resolve();

  private constructor(
    private readonly proxied: Place,
    private readonly plain: Place,
    private readonly random: Random,
    /** Of how many, which one: of the old rows each has its own. */
    private readonly share: [number, number],
  ) {
    this.next = (share[0] + 1) * 1_000_000;
  }

  static async open(
    proxied: string,
    plain: string,
    seed: number,
    share: [number, number],
  ): Promise<Application> {
    const places = await Promise.all([Place.open(proxied), Place.open(plain)]);
    return new Application(...places, new Random(seed), share);
  }

  start(): void {
    this.done = (async () => {
      while (this.running) {
        await this.round();
        this.rounds++;
      }
    })();
    this.done.catch((error) => {
      this.failure = error;
    });
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    this.running = false;
    try {
      await this.done;
    } finally {
      await Promise.all([this.proxied.end(), this.plain.end()]);
    }
  }

  private async round(): Promise<void> {
    const kind = this.rows.size < 20 ? 'insert' : this.random.pick(KINDS);
    await this[kind]();
    this.made.set(kind, (this.made.get(kind) ?? 0) + 1);
  }

  private values(kin: Kin): string[] {
    const { random } = this;
    const id = this.next++;
    this.rows.set(id, kin);
    const value: Record<string, string> = {
      id: String(id),
      name: random.pick(['x', 'a longer name']),
      amount: String(random.below(1_000_000)),
      dept: 'sales',
      changed: '2025-05-05',
    };
    return kin.columns.map((column) => value[column] ?? String(random.below(100)));
  }

  private pick(): { id: number; kin: Kin; name: string } {
    const [id, kin] = this.random.pick([...this.rows]);
    return { id, kin, name: this.random.pick(kin.above) };
  }

  private async insert(): Promise<void> {
    const kin = this.random.pick(this.kin);
    const values = this.values(kin);
    const places = values.map((_, i) => `$${i + 1}`);
    const shape = this.random.below(4);
    const all = `INSERT INTO ${kin.name} VALUES (${places}) RETURNING *`;
    if (shape === 0) await this.both({ text: all, values });
    else if (shape === 1) await this.both(this.named(all, values));
    else if (shape === 2) {
      const list = kin.columns.toReversed();
      const text = `INSERT INTO ${kin.name} (${list}) VALUES (${places.toReversed()}) RETURNING id, amount`;
      await this.both({ text, values });
    } else {
      const [id, again] = [values[kin.columns.indexOf('id')], this.next++];
      this.rows.set(again, kin);
      await this.both(
        `INSERT INTO ${kin.name} (name, id) SELECT 'made', v FROM (VALUES (${id}), (${again})) v (v) ` +
          'RETURNING *',
      );
    }
  }

  private async update(): Promise<void> {
    const { id, name } = this.pick();
    const star = this.random.chance(0.3) ? ' *' : '';
    const set = this.random.pick([
      'amount = $1',
      'amount = $1 + 1, name = name',
      '(note, amount) = (NULL, $1)',
      'note = $1::int::text',
      'amount = DEFAULT, name = $1::int::text',
    ]);
    const text = `UPDATE ${name}${star} x SET ${set} WHERE id = $2 RETURNING *`;
    const values = [this.random.below(1_000_000), id];
    await this.both(this.random.chance(0.5) ? this.named(text, values) : { text, values });
  }

  /** A column of the child's own. */
  private async own(): Promise<void> {
    const { id, kin } = this.pick();
    const column = kin.columns.at(-1);
    await this.both(
      `UPDATE ${kin.name} SET ${column} = 99, amount = amount * 2 % 1000 WHERE id = ${id} RETURNING *`,
    );
  }

  private async only(): Promise<void> {
    const { id, name } = this.pick();
    await this.both(`UPDATE ONLY ${name} SET amount = 5 WHERE id = ${id} RETURNING *`);
    await this.both(`SELECT * FROM ONLY ${name} WHERE id = ${id}`);
    await this.both(`DELETE FROM ONLY people WHERE id = ${id - 1} AND amount % 3 = 0 RETURNING *`);
  }

  private async merge(): Promise<void> {
    const { id, name } = this.pick();
    await this.both(`MERGE INTO ${name} x USING (VALUES (${id}, ${id % 999})) v (id, a) ON x.id = v.id
      WHEN MATCHED THEN UPDATE SET amount = v.a WHEN NOT MATCHED THEN DO NOTHING`);
    const fresh = this.next++;
    const kin = this.random.pick(this.kin);
    this.rows.set(fresh, kin);
    await this.both(`MERGE INTO ${kin.name} x USING (VALUES (${fresh})) v (id) ON x.id = v.id
      WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (v.id, v.id % 77)`);
  }

  private async delete(): Promise<void> {
    const { id, name } = this.pick();
    await this.both(`DELETE FROM ${name} WHERE id = ${id} RETURNING *`);
    this.rows.delete(id);
  }

  private async copy(): Promise<void> {
    const kin = this.random.pick(this.kin);
    const values = this.values(kin);
    const list = this.random.chance(0.5) ? '' : ` (${kin.columns})`;
    const line = `${values.join('\t')}\n`;
    await this.plain.copy(`${kin.name}${list}`, line);
    await this.proxied.copy(`${kin.name}${list}`, line);
    await this.both(`SELECT * FROM people WHERE id = ${values[kin.columns.indexOf('id')]}`);
  }

  private async read(): Promise<void> {
    const { id, kin, name } = this.pick();
    const text = `SELECT *, tableoid::regclass::text FROM ${name} WHERE id = $1`;
    await this.both(this.named(text, [id]));
    await this.both(
      `SELECT * FROM ${kin.name} a JOIN people b USING (id) WHERE id IN (${id}, ${id + 1}) ORDER BY id`,
    );
    await this.both(`SELECT c.* FROM ${kin.name} c WHERE id = ${id}`);
  }

  /** Rows that may never have been filled. */
  private async old(): Promise<void> {
    const [mine, shares] = this.share;
    const id = -1 - (this.random.below(OLD_ROWS / shares) * shares + mine);
    const kin = KIN[Math.floor((-id - 1) / 5_000)]!;
    const name = this.random.pick(kin.above);
    const set = this.random.pick(['note = id::text', 'amount = amount + 1', "name = 'new'"]);
    await this.both(`UPDATE ${name} SET ${set} WHERE id = ${id} RETURNING *`);
  }

  private async wrong(): Promise<void> {
    const { id, kin, name } = this.pick();
    await this.both(`UPDATE ${name} SET amount = NULL WHERE id = ${id}`);
    await this.both(`INSERT INTO ${kin.name} (id, amount) VALUES (${id}, 'many')`);
    await this.both(`INSERT INTO ${kin.name} VALUES (${Array(kin.columns.length + 1).fill(1)})`);
    await this.both(`SELECT nothing FROM ${name}`);
  }

  /** A statement that is prepared once and used again in every stage. */
  private named(text: string, values: unknown[]): pg.QueryConfig {
    const name = this.names.get(text) ?? `statement ${this.names.size}`;
    this.names.set(text, name);
    return { name, text, values };
  }

  private async both(query: pg.QueryConfig | string): Promise<void> {
    const config = typeof query === 'string' ? { text: query } : query;
    const wanted = await this.plain.answer(config);
    const found = await this.proxied.answer(config);
    if (isDeepStrictEqual(found, wanted)) return;
    const told = JSON.stringify({ found, wanted }, null, 1);
    throw new Error(`${config.text} ${JSON.stringify(config.values ?? [])}: ${told}`);
  }
}
