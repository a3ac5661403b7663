import type pg from 'pg';
import type { Cluster } from '../../cli/demo/cluster.js';
import { proofName, proofSql } from '../../migration/guard.js';
import type { PhaseName } from '../../migration/phase.js';
import { ARRIVAL_TRIGGER, GUARD_TRIGGER, ownName } from '../../migration/plan.js';
import { requestMove } from '../../migration/request.js';
import { type Moment, type Side, sides } from '../../migration/sides.js';
import { loadMigration, type Migration } from '../../migration/store.js';
import { printExpression, quoteIdentifier as q } from '../../sql/rules.js';
import { startMigration, untilMigration } from '../migration/drive.js';
import { Types } from './client.js';
import { Catalog } from './compare.js';
import { PREAMBLE } from './kinds.js';
import { Front } from './plane.js';
import { dropSql, emptySql, holders, rowsOf, rowsSql, sidesSql, stagedSql } from './rows.js';
import type { View, World } from './world.js';

/** Where the migration stands while statements are compared. */
export type Stage = 'dual-writing' | 'ready' | 'soaking' | 'reverted';

export const STAGES: readonly Stage[] = ['dual-writing', 'ready', 'soaking', 'reverted'];

/** What is seen behind a step. */
export interface Look {
  /** Which rows are not in order; null: none. */
  wrong: string | null;
  /** How often the guard has had to repair. */
  repairs: number;
  /** Where the sequences stand. */
  sequences: number[];
}

export function lookOf([wrong, repairs, ...sequences]: string[]): Look {
  return {
    wrong: wrong ? `rows ${wrong} are not in order` : null,
    repairs: Number(repairs),
    sequences: sequences.map(Number),
  };
}

/** A database that has what every world needs, of each server: worlds begin as copies of it. */
const templates = new WeakMap<Cluster, Promise<void>>();

function makeTemplate(cluster: Cluster): Promise<void> {
  let made = templates.get(cluster);
  if (!made) {
    made = (async () => {
      const admin = await cluster.client();
      await admin.query('CREATE DATABASE worlds');
      await admin.end();
      const first = await cluster.client('worlds');
      await first.query(PREAMBLE);
      await first.end();
    })();
    templates.set(cluster, made);
  }
  return made;
}

/** Two databases of one server: one under migration behind a proxy, one plain. */
export class Pair {
  stage: Stage = 'dual-writing';
  private sides: Side[] = [];
  /** The guards' counters. */
  private repairs: string[] = [];
  /** Of the other table's migration: SQL of what is wrong, and what fills its rows. */
  private besideWrong = '';
  private besideFollow: [name: string, value: string][] = [];
  private sequences: string[] = [];
  private migration: Migration | null = null;
  private acknowledge: () => void = () => undefined;
  private refill = '';
  private refillPlain = '';

  private constructor(
    readonly world: World,
    private readonly cluster: Cluster,
    readonly names: { plain: string; tandem: string },
    readonly front: Front,
    readonly plain: pg.Client,
    public types: { plain: Types; tandem: Types },
    public catalogs: { plain: Catalog; tandem: Catalog },
  ) {}

  /** @throws RefusedError when the planner does not take the world's migration. */
  static async open(cluster: Cluster, world: World, number: number): Promise<Pair> {
    const names = { plain: `plain_${number}`, tandem: `tandem_${number}` };
    await makeTemplate(cluster);
    const admin = await cluster.client();
    for (const name of Object.values(names)) {
      await admin.query(`CREATE DATABASE ${name} TEMPLATE worlds`);
    }
    await admin.end();
    const front = await Front.open(cluster, names.tandem);
    const plain = await cluster.client(names.plain);
    const types = { plain: new Types(plain), tandem: new Types(front.control) };
    const empty = await Catalog.read(plain);
    const pair = new Pair(world, cluster, names, front, plain, types, {
      plain: empty,
      tandem: empty,
    });
    try {
      await pair.begin();
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  get view(): View {
    return this.stage === 'soaking' ? this.world.after : this.world.before;
  }

  get ports(): { plain: number; tandem: number } {
    return { plain: this.cluster.port, tandem: this.front.port };
  }

  private async begin(): Promise<void> {
    const { front, world } = this;
    await front.control.query(`${world.setup}; ${stagedSql(world)}`);
    await front.control.query(`SET session_replication_role = replica; ${rowsSql(world)}
      RESET session_replication_role`);
    await this.makePlain(false);
    if (world.beside !== null) {
      await startMigration(front.control, 'beside', world.beside, {}, world.guard);
      await this.reach('ready', 'beside');
    }
    this.acknowledge = await front.hold(world.table, async () => {
      const { migration, guard } = world;
      this.migration = await startMigration(front.control, 'm', migration, {}, guard);
    });
    await this.enter('dual-writing');
  }

  /** The plain database as it was before the migration, or as a plain ALTER leaves it. */
  private async makePlain(isAltered: boolean): Promise<void> {
    const { plain, world } = this;
    await plain.query(`${dropSql(world)} ${world.setup}; ${stagedSql(world)}`);
    this.types = { ...this.types, plain: new Types(plain) };
    await plain.query(`SET session_replication_role = replica; ${rowsSql(world)}
      ${isAltered ? `${world.plain}; ${world.beside ?? ''}` : ''}; RESET session_replication_role`);
    for (const { kept, only } of holders(world)) {
      await plain.query(
        `DROP TABLE IF EXISTS ${kept}; CREATE TABLE ${kept} AS SELECT * FROM ${only}`,
      );
    }
  }

  /** Takes the migration on to the next stage; both tables hold the rows of the beginning. */
  async advance(stage: Stage): Promise<void> {
    const { front, world } = this;
    await this.reset();
    if (stage === 'ready') {
      this.acknowledge();
      await this.reach('ready');
    } else {
      for (const name of world.beside === null ? ['m'] : ['beside', 'm']) {
        await requestMove(front.control, name, stage === 'soaking' ? 'cutover' : 'revert');
        await this.reach(stage, name);
      }
    }
    // When ready it still is what it was.
    if (stage !== 'ready') await this.makePlain(stage === 'soaking');
    await this.enter(stage);
  }

  private async reach(phase: PhaseName, name = 'm'): Promise<void> {
    const url = this.cluster.url(this.names.tandem);
    const there = await untilMigration(url, name, (migration) => migration.phase.name === phase);
    if (name === 'm') this.migration = there;
  }

  private async enter(stage: Stage): Promise<void> {
    const { plan } = this.migration!;
    this.stage = stage;
    this.sides = sides(plan, stage === 'soaking' ? 'after' : ('before' satisfies Moment));
    const counter = (oid: number) => `pgtandem.${q(ownName('repairs', oid))}`;
    this.repairs = [counter(plan.table.oid)];
    if (this.world.beside !== null) {
      const beside = await loadMigration(this.front.control, 'beside');
      const other = sides(beside.plan, stage === 'soaking' ? 'after' : 'before');
      this.repairs.push(counter(beside.plan.table.oid));
      this.besideWrong = `, (SELECT ' o ' || string_agg(id::text, ', ') FROM public.o
        WHERE NOT (${this.lenientOf(other)}))`;
      this.besideFollow = other.map((side) => [q(side.follow), printExpression(side.forward)]);
    }
    const serial = `SELECT pg_get_serial_sequence('public.${q(this.world.table)}', 'id') AS name`;
    const { rows } = await this.plain.query(serial);
    this.sequences = ['public.ticket', ...(rows[0].name ? [rows[0].name] : [])];
    await this.keep();
    this.refill = await refillSql(this.front.control, this.world);
    this.refillPlain = await refillSql(this.plain, this.world);
    this.catalogs = {
      plain: await Catalog.read(this.plain),
      tandem: await Catalog.read(this.front.control),
    };
  }

  /**
   * Keeps the rows that every case begins with. A row that a cutover has made differs from one that
   * was written together where the change loses something; here all are as if written together.
   */
  private async keep(): Promise<void> {
    const { front, world, stage } = this;
    const rows = stage === 'soaking' ? '' : 'WITH NO DATA';
    const set = this.sides.map((side) => `${q(side.follow)} = ${printExpression(side.forward)}`);
    for (const [i, { kept, only }] of holders(world).entries()) {
      await front.control.query(
        `DROP TABLE IF EXISTS ${kept}; CREATE TABLE ${kept} AS SELECT * FROM ${only} ${rows}`,
      );
      if (stage !== 'soaking') await front.control.query(rowsOf(world, kept, i));
      const generated = world.before.columns.some(({ role }) => role === 'g');
      if (generated) await front.control.query(`ALTER TABLE ${kept} DROP COLUMN g`);
      if (stage !== 'dual-writing') {
        await front.control.query(`UPDATE ${kept} SET ${set.join(', ')}`);
      }
    }
  }

  /** Puts the rows of the beginning into both. While dual writing, they are not filled yet. */
  async reset(): Promise<void> {
    const { front, world } = this;
    const sql = (refill: string, sides: string) =>
      `SET session_replication_role = replica; ${emptySql(world)} ${refill} ${sides}
      RESET session_replication_role;`;
    const tandem = sql(this.refill, sidesSql(world, this.besideFollow));
    await Promise.all([
      this.plain.query(sql(this.refillPlain, sidesSql(world))),
      front.control.query(`${this.guardSql(false)} ${tandem} ${this.guardSql(true)}`),
    ]);
  }

  /** SQL that lets rows in which are not filled, while dual writing, or puts the guard back. */
  private guardSql(isOn: boolean): string {
    const { world, migration, stage } = this;
    if (!migration || stage !== 'dual-writing') return '';
    const alter = `ALTER TABLE ${q(world.table)}`;
    if (world.guard === 'reject') {
      const sql = isOn
        ? this.sides.map((side, i) => proofSql(migration.plan, side, i))
        : this.sides.map((_, i) => `${alter} DROP CONSTRAINT ${q(proofName(i))}`);
      return `${sql.join('; ')};`;
    }
    const arrives = migration.plan.rowTriggers && world.before.alias !== null;
    const ours = [GUARD_TRIGGER, ...(arrives ? [ARRIVAL_TRIGGER] : [])];
    const what = isOn ? 'ENABLE ALWAYS' : 'DISABLE';
    const sql = holders(world).flatMap((table) =>
      ours.map((name) => `ALTER TABLE ${q(table.name)} ${what} TRIGGER ${q(name)};`),
    );
    return world.guard === 'repair' ? sql.join(' ') : '';
  }

  /** SQL: true of a row whose columns were written together. */
  private strictOf(all: readonly Side[]): string {
    return all
      .map((side) => {
        const { source, shadow } = side.change;
        const { type } = (this.stage === 'soaking' && source ? source : shadow).rule;
        const value = `(${printExpression(side.forward)})::${type}`;
        return `ROW(${q(side.follow)})::record OPERATOR(pg_catalog.*=) ROW(${value})::record`;
      })
      .join(' AND ');
  }

  /** SQL: true of a row in order, which it also is when it was filled before the cutover. */
  private lenientOf(all: readonly Side[]): string {
    return all.map((side) => side.holds('')).join(' AND ');
  }

  /** Whether a guard may have to repair what was rewritten: what triggers have made of it. */
  get isMadeByTriggers(): boolean {
    const { world, stage } = this;
    return (
      world.meddles ||
      (stage === 'soaking' && world.after.derived !== null && this.migration!.plan.rowTriggers)
    );
  }

  /** The transaction id from which on rows are written that have to be in order. */
  async now(): Promise<string> {
    if (this.stage !== 'dual-writing') return '0';
    const { rows } = await this.front.control.query('SELECT pg_current_xact_id()::text AS id');
    return rows[0].id;
  }

  /**
   * SQL of a look at the database under migration.
   * @param isFilled whether rows may have been filled before the cutover.
   * @param withRows whether the rows themselves are looked at: those written since transaction $1.
   */
  lookSql(isFilled: boolean, withRows = true): string {
    const late = this.stage === 'dual-writing' ? 'xmin::text::int8 >= $1::int8 AND' : '';
    const relation = isFilled ? this.lenientOf(this.sides) : this.strictOf(this.sides);
    const wrong = `concat((SELECT string_agg(id::text, ', ') FROM public.${q(this.world.table)}
      WHERE ${late} NOT (${relation}))${this.besideWrong})`;
    const repairs = this.repairs.map(
      (name) => `(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ${name})`,
    );
    const all = [
      withRows ? wrong : "''",
      this.world.guard === 'repair' ? repairs.join(' + ') : '0',
      ...this.sequences.map((name) => `(SELECT last_value FROM ${name})`),
    ];
    return `SELECT ${all.join(', ')}`;
  }

  async look(since: string, isFilled: boolean, withRows: boolean): Promise<Look> {
    const name = `look ${this.stage} ${isFilled} ${withRows}`;
    const text = this.lookSql(isFilled, withRows);
    const values = text.includes('$1') ? [since] : [];
    const { rows } = await this.front.control.query({ name, text, values, rowMode: 'array' });
    return lookOf((rows[0] as unknown as unknown[]).map(String));
  }

  /** SQL of all rows that an application sees, as text. */
  get rowsSql(): string {
    const names = this.view.columns.map(({ name }) => q(name)).join(', ');
    const at = this.world.parts.length > 0 ? ', tableoid::regclass' : '';
    const own = this.world.children.flatMap(({ name, front, own }, i) => {
      const columns = ['id', ...[...front, ...own].map((column) => column.name)].join(', ');
      return `UNION ALL SELECT ${5 + i}, ROW(${columns})::text FROM public.${q(name)}`;
    });
    return `SELECT 1 AS part, ROW(${names}${at})::text AS row FROM public.${q(this.world.table)}
      UNION ALL SELECT 2, ROW(id, x, tid)::text FROM public.o UNION ALL SELECT 3, a::text FROM public.audit a
      UNION ALL SELECT 4, z::text FROM other.${q(this.world.table)} z
      ${own.join(' ')} ORDER BY 1, 2`;
  }

  async rows(client: pg.Client, sql: string): Promise<string[]> {
    const { rows } = await client.query({ name: `rows ${this.stage}`, text: sql });
    return rows.map(({ part, row }) => `${part} ${row}`);
  }

  /** After an error sequences may stand apart: how far a statement comes is its own business. */
  async align({ sequences }: Look): Promise<void> {
    const { plain, front } = this;
    const text = `SELECT ${this.sequences.map((name) => `(SELECT last_value FROM ${name})`).join(', ')}`;
    const { rows } = await plain.query({
      name: `sequences ${this.stage}`,
      text,
      rowMode: 'array',
    });
    const there = (rows[0] as unknown[]).map(Number);
    const set = there.flatMap((value, i) => {
      const most = Math.max(value, sequences[i] ?? 0);
      return value === sequences[i] ? [] : [`setval('${this.sequences[i]}', ${most})`];
    });
    if (set.length === 0) return;
    const sql = `SELECT ${set.join(', ')}`;
    await Promise.all([plain.query(sql), front.control.query(sql)]);
  }

  async close(): Promise<void> {
    await this.front.close();
    await this.plain.end();
    const admin = await this.cluster.client();
    for (const name of Object.values(this.names)) {
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    }
    await admin.end();
  }
}

/** SQL that puts the kept rows into the table. */
async function refillSql(client: pg.Client, world: World): Promise<string> {
  let sql = '';
  for (const { name, kept } of holders(world)) sql += await refillOf(client, name, kept);
  return sql;
}

async function refillOf(client: pg.Client, table: string, kept: string): Promise<string> {
  const { rows } = await client.query(
    `SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS names FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
    [q(table)],
  );
  const { names } = rows[0];
  return `INSERT INTO ${q(table)} (${names}) OVERRIDING SYSTEM VALUE SELECT ${names} FROM ${kept};`;
}
