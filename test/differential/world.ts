import { quoteIdentifier as q } from '../../sql/rules.js';
import type { Random } from '../sql/random.js';
import { CHANGES, DERIVED, KINDS, type KindName } from './kinds.js';

/** A column of the table under migration, as the application sees it. */
export interface Column {
  name: string;
  /** SQL type, for parameters that are declared. */
  type: string;
  /** What is written into it; the others have their own few values. */
  role: 'id' | 'lead' | 'note' | 'n' | 'u' | 'g' | 'derived';
}

/** What the application sees of the table before the cutover, or after it. */
export interface View {
  columns: Column[];
  lead: string;
  kind: KindName;
  /** Another name by which applications may call the lead column (rename); else null. */
  alias: string | null;
  /** The column that is made from the lead, when it is shown. */
  derived: string | null;
}

/** A schema and a migration of it, made from a seed. */
export interface World {
  major: number;
  guard: 'repair' | 'none';
  table: string;
  what: string;
  /** Makes everything, with no rows. */
  setup: string;
  /** What `pgtandem start` is given. */
  migration: string;
  /** What a plain cutover is: run on the plain database. */
  plain: string;
  before: View;
  after: View;
  /** How `id` is made: whether it takes a value without OVERRIDING. */
  identity: 'serial' | 'by default' | 'always' | 'none';
  /** A trigger of the user's changes the lead column: the guard has to repair. */
  meddles: boolean;
  /** Whether a default of the lead column is not the same twice. */
  volatile: boolean;
  notNull: boolean;
}

const TABLES = ['orders', 'Or ders', 'täble', 'user', 't'];
/** Names of the lead column; in a rename it gets another name that is as long. */
const LEADS = ['v', 'V v', 'größe', 'order', 'from', 'value'];
const NEW_NAMES = ['w', 'W w', 'länge', 'group', 'into', 'worth'];

export function makeWorld(random: Random, major: number): World {
  const guard = random.chance(0.5) ? 'none' : 'repair';
  const table = random.pick(TABLES);
  const lead = random.pick(LEADS);
  const share = random.next();
  const change = random.pick(CHANGES);
  const derived = random.pick(DERIVED);
  const kind = share < 0.6 ? change.from : share < 0.8 ? random.pick(allKinds()) : derived.from;
  const text = (sql: string) => sql.replaceAll('@', q(lead));
  const schema = makeSchema(random, { guard, table, lead, kind, share });
  const before: View = { columns: schema.columns, lead, kind, alias: null, derived: null };
  const base = {
    major,
    guard,
    table,
    identity: schema.identity,
    meddles: schema.meddles,
    volatile: schema.volatile,
    notNull: schema.notNull,
  } as const;
  const alter = `ALTER TABLE ${q(table)}`;
  if (share < 0.6) {
    const using = change.using ? ` USING ${text(change.using)}` : '';
    const action = `${alter} ALTER COLUMN ${q(lead)} TYPE ${KINDS[change.to].type}${using}`;
    const down = change.down ? ` -- pgtandem: down(${text(change.down)})` : '';
    const columns = schema.columns.map((c) =>
      c.role === 'lead' ? { ...c, type: KINDS[change.to].type } : c,
    );
    return {
      ...base,
      what: `${change.from} to ${change.to}${using}`,
      setup: schema.setup,
      migration: action + down,
      plain: action,
      before,
      after: { ...before, columns, kind: change.to },
    };
  }
  if (share < 0.8) {
    const to = NEW_NAMES[LEADS.indexOf(lead)]!;
    const action = `${alter} RENAME COLUMN ${q(lead)} TO ${q(to)}`;
    const columns = schema.columns.map((c) => (c.role === 'lead' ? { ...c, name: to } : c));
    return {
      ...base,
      what: `rename of ${kind}`,
      setup: schema.setup,
      migration: action,
      plain: action,
      before: { ...before, alias: to },
      after: { ...before, columns, lead: to, alias: lead },
    };
  }
  const column: Column = { name: 'made', type: derived.type, role: 'derived' };
  const add = `${alter} ADD COLUMN made ${derived.type}`;
  const up = text(derived.up);
  return {
    ...base,
    what: `${derived.type} from ${kind} by ${derived.up}`,
    setup: schema.setup,
    migration: `${add} -- pgtandem: up(${up})`,
    plain: `${add}; UPDATE ${q(table)} SET made = ${up};
      CREATE FUNCTION make() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        SELECT x.* INTO NEW FROM (SELECT ${[...schema.columns, column]
          .map((c) => (c.role === 'derived' ? `(${up})::${c.type}` : q(c.name)))
          .join(', ')} FROM (SELECT (NEW).*) y) x;
        RETURN NEW; END$$;
      CREATE TRIGGER "~make" BEFORE INSERT OR UPDATE ON ${q(table)} FOR EACH ROW EXECUTE FUNCTION make()`,
    before: { ...before },
    after: { ...before, columns: [...schema.columns, column], derived: 'made' },
  };
}

const allKinds = () => Object.keys(KINDS) as KindName[];

interface SchemaOptions {
  guard: World['guard'];
  table: string;
  lead: string;
  kind: KindName;
  share: number;
}

function makeSchema(random: Random, { guard, table, lead, kind, share }: SchemaOptions) {
  const { type, values, volatile } = KINDS[kind] as (typeof KINDS)['int4'];
  const identity = random.pick(['serial', 'by default', 'always', 'none'] as const);
  const isVolatile = volatile !== undefined && random.chance(0.3);
  const solid = values.filter((value) => value !== 'NULL');
  const fallback = isVolatile
    ? ` DEFAULT ${volatile}`
    : random.chance(0.4)
      ? ` DEFAULT ${random.pick(solid)}`
      : '';
  // A change that makes NULL of something can not be of a NOT NULL column.
  const notNull = share >= 0.6 && random.chance(0.3);
  const id = {
    serial: 'serial',
    'by default': 'int GENERATED BY DEFAULT AS IDENTITY',
    always: 'bigint GENERATED ALWAYS AS IDENTITY',
    none: 'int NOT NULL',
  }[identity];
  const columns: (Column & { ddl: string })[] = [
    {
      name: 'id',
      type: identity === 'always' ? 'bigint' : 'int',
      role: 'id',
      ddl: `${id} PRIMARY KEY`,
    },
    { name: lead, type, role: 'lead', ddl: `${type}${fallback}${notNull ? ' NOT NULL' : ''}` },
    { name: 'note', type: 'text', role: 'note', ddl: "text DEFAULT 'n'" },
    { name: 'n', type: 'int', role: 'n', ddl: `int${random.chance(0.5) ? ' CHECK (n > -5)' : ''}` },
  ];
  if (random.chance(0.5)) columns.push({ name: 'u', type: 'int', role: 'u', ddl: 'int UNIQUE' });
  if (random.chance(0.4)) {
    const ddl = 'int GENERATED ALWAYS AS (coalesce(n, 0) * 2) STORED';
    columns.push({ name: 'g', type: 'int', role: 'g', ddl });
  }
  // The key stays first, so that rows of a VALUES list without column names are told apart by it.
  const [first, ...rest] = columns;
  const order = [first!, ...shuffled(random, rest)];
  const parts = [
    `CREATE TABLE ${q(table)} (${order.map((c) => `${q(c.name)} ${c.ddl}`).join(', ')})`,
    'CREATE TABLE items (n int, label text, v text)',
    `CREATE TABLE o (id int PRIMARY KEY, x int,
       tid ${order[0]!.type} REFERENCES ${q(table)} ON DELETE ${random.pick(['CASCADE', 'SET NULL'])})`,
    `CREATE SCHEMA other;
     CREATE TABLE other.${q(table)} (id int, note text, n int DEFAULT 5)`,
    'CREATE TABLE audit (op text, id bigint, note text, n int)',
    `CREATE VIEW seen AS SELECT id, note, n FROM ${q(table)}`,
    `CREATE FUNCTION touch(k int) RETURNS int LANGUAGE sql
       AS $$UPDATE ${q(table)} SET note = 'touched' WHERE id = k RETURNING 1$$`,
  ];
  if (random.chance(0.3)) parts.push(`CREATE INDEX ON ${q(table)} (n, id)`);
  if (random.chance(0.4))
    parts.push(
      trigger(
        table,
        'audits',
        'AFTER',
        'INSERT INTO audit VALUES (TG_OP, NEW.id, NEW.note, NEW.n);',
      ),
    );
  const free = guard === 'repair';
  if (free && random.chance(0.3)) {
    parts.push(
      trigger(table, 'bumps', 'BEFORE', "IF NEW.note = 'a' THEN NEW.n := NEW.n + 1; END IF;"),
    );
  }
  // After a rename its function would fail, here and there.
  const isRename = share >= 0.6 && share < 0.8;
  const meddles = free && !isRename && random.chance(0.15);
  if (meddles) {
    const value = random.pick(solid);
    parts.push(
      trigger(table, 'meddles', 'BEFORE', `IF NEW.n = 3 THEN NEW.${q(lead)} := ${value}; END IF;`),
    );
  }
  const plain: Column[] = order.map(({ name, type, role }) => ({ name, type, role }));
  return {
    setup: parts.join(';\n'),
    columns: plain,
    identity,
    meddles,
    volatile: isVolatile,
    notNull,
  };
}

function trigger(table: string, name: string, when: string, body: string): string {
  return `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN ${body} RETURN NEW; END$$;
    CREATE TRIGGER ${name} ${when} INSERT OR UPDATE ON ${q(table)} FOR EACH ROW EXECUTE FUNCTION ${name}()`;
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  const result: T[] = [];
  while (left.length > 0) result.push(...left.splice(random.below(left.length), 1));
  return result;
}

/** SQL that takes away what `setup` and `plain` have made. */
export const dropSql = ({ table }: World) => `
  DROP SCHEMA IF EXISTS other CASCADE; DROP TABLE IF EXISTS ${q(table)}, items, o, audit, kept CASCADE;
  DROP FUNCTION IF EXISTS touch(int), audits(), bumps(), meddles(), make();`;

const ROWS = 12;

/** SQL that puts the rows of the beginning into a table like the one under migration. */
export function rowsOf(world: World, table: string): string {
  const view = world.before;
  const columns = view.columns.filter(({ role }) => role !== 'g');
  const solid = KINDS[view.kind].values.filter((value) => value !== 'NULL');
  const rows = Array.from({ length: ROWS }, (_, i) =>
    columns.map(({ role }) => {
      if (role === 'id') return i + 1;
      if (role === 'lead') return i === 5 && !world.notNull ? 'NULL' : solid[i % solid.length];
      if (role === 'note') return i === 3 ? 'NULL' : `'r${i}'`;
      return role === 'n' ? i % 7 : i * 10;
    }),
  );
  const names = columns.map(({ name }) => q(name)).join(', ');
  return `INSERT INTO ${q(table)} (${names}) OVERRIDING SYSTEM VALUE
    VALUES ${rows.map((row) => `(${row.join(', ')})`).join(', ')};`;
}

/** The rows of the other tables, and where sequences stand. */
export function sidesSql(world: World): string {
  const serial = `pg_get_serial_sequence('${q(world.table)}', 'id')`;
  return `
    INSERT INTO items SELECT i, 'l' || i, i::text FROM generate_series(1, 4) i;
    INSERT INTO o SELECT i, i * 10, i FROM generate_series(1, 6) i;
    SELECT setval('ticket', 500); ${world.identity === 'none' ? '' : `SELECT setval(${serial}, 100);`}`;
}

export const rowsSql = (world: World) => `${rowsOf(world, world.table)} ${sidesSql(world)}`;

export const emptySql = (world: World) =>
  [q(world.table), 'items', 'o', 'audit', `other.${q(world.table)}`]
    .map((table) => `DELETE FROM ${table};`)
    .join(' ');
