import { type Guard, quoteIdentifier as q } from '../../sql/rules.js';
import type { Random } from '../sql/random.js';
import type { Column } from './column.js';
import { type Child, columnsIn, makeFamily } from './family.js';
import { CHANGES, type Change, DERIVED, KINDS, type KindName } from './kinds.js';
import { makeParts, type Parts } from './parts.js';
import { makeSchema } from './schema.js';

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
  guard: Guard;
  table: string;
  /** Names of its partitions, or of its children. */
  parts: string[];
  /** Tables that inherit from it. */
  children: Child[];
  /**
   * Whether a session may go on through all stages. Not after a rename, when the old name is another
   * column's or none in the plain database; nor where a user's trigger reads or sets a column whose type
   * changes: in a session that has run it already it fails, or casts to the old type, here as there (but
   * the plain database's is made anew).
   */
  goesOn: boolean;
  /** Its key's columns, as ON CONFLICT names them. */
  key: string;
  /** Another table's migration, which goes on in the same time. */
  beside: string | null;
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

/** One action of a migration: on the file's line, on the plain database, and what it makes of the view. */
interface Action {
  what: string;
  migration: string;
  plain: string;
  view: (view: View) => View;
  derived?: { column: Column; up: string };
}

export function makeWorld(random: Random, major: number): World {
  const table = random.pick(TABLES);
  const parts = random.chance(0.25) ? makeParts(random, table) : null;
  const hasChildren = !parts && random.chance(0.25);
  const guards = parts || hasChildren ? REPAIRING : GUARDS;
  const guard = random.pick(guards);
  const lead = random.pick(LEADS);
  const share = random.next();
  const change = random.pick(CHANGES);
  const derived = random.pick(DERIVED);
  const kind = share < 0.6 ? change.from : share < 0.8 ? random.pick(allKinds()) : derived.from;
  const first =
    share < 0.6
      ? retyped(table, lead, change)
      : share < 0.8
        ? renamed(table, lead, NEW_NAMES[LEADS.indexOf(lead)]!, kind)
        : made(table, 'made', derived, lead);
  const others = random.chance(0.4) ? [] : SECOND.filter(({ from }) => isFree(from, first, parts));
  const chosen = random.chance(0.45) && others.length > 0 ? random.pick(others) : null;
  const actions = chosen ? [first, chosen.action(table)] : [first];
  const second = chosen?.changed ?? null;
  const migration = actions.map((action) => action.migration).join(';\n');
  // What is written by the name of another parent is the guard's to repair.
  const hasOutsider = hasChildren && guard === 'repair' && random.chance(0.5);
  const isNoteFree = second !== 'note' && random.chance(0.5);
  const outsider = hasOutsider ? (isNoteFree ? 'mark and note' : 'mark') : null;
  const children = hasChildren ? makeFamily(random, table, outsider) : [];
  const ofN = /\bn\b/.test(migration);
  const options = { guard, table, lead, kind, share, second, ofN, parts, children, major };
  const schema = makeSchema(random, options);
  const view: View = { columns: schema.columns, lead, kind, alias: null, derived: null };
  const after = actions.reduce((so, action) => action.view(so), view);
  const isRetyped = first.view(view).kind !== kind;
  return {
    ...schema,
    major,
    guard,
    table,
    parts: parts?.names ?? children.map(({ name }) => name),
    children,
    goesOn: first.view(view).alias === null && second === null && !(schema.meddles && isRetyped),
    key: parts?.key === 'n' ? 'id, n' : 'id',
    what: actions.map(({ what }) => what).join(', '),
    migration,
    plain: `${actions.map(({ plain }) => plain).join('; ')}; ${makeSql(table, children, after, actions)}`,
    beside: random.chance(0.3) ? random.pick(BESIDE) : null,
    before: { ...view, alias: first.view(view).alias === null ? null : after.lead },
    after,
  };
}

const GUARDS = ['none', 'none', 'none', 'repair', 'repair', 'reject'] as const;
/** A partitioned table, or one with children, has a guard. */
const REPAIRING = ['repair', 'repair', 'reject'] as const;

/** What is changed of another table in the same time, by a migration of its own. */
const BESIDE = [
  'ALTER TABLE o ALTER COLUMN x TYPE bigint',
  'ALTER TABLE o ALTER COLUMN x TYPE numeric',
];

const allKinds = () => Object.keys(KINDS) as KindName[];
const alter = (table: string) => `ALTER TABLE ${q(table)}`;

function withType(role: Column['role'], type: string): Action['view'] {
  return (view) => ({
    ...view,
    columns: view.columns.map((c) => (c.role === role ? { ...c, type } : c)),
  });
}

function retyped(table: string, lead: string, change: Change): Action {
  const text = (sql: string) => sql.replaceAll('@', q(lead));
  const { type } = KINDS[change.to];
  const using = change.using ? ` USING ${text(change.using)}` : '';
  const action = `${alter(table)} ALTER COLUMN ${q(lead)} TYPE ${type}${using}`;
  return {
    what: `${change.from} to ${change.to}${using}`,
    migration: action + (change.down ? `; -- pgtandem: down(${text(change.down)})\n` : ''),
    plain: action,
    view: (view) => ({ ...withType('lead', type)(view), kind: change.to }),
  };
}

function renamed(table: string, from: string, to: string, kind: KindName): Action {
  const action = `${alter(table)} RENAME COLUMN ${q(from)} TO ${q(to)}`;
  return {
    what: `rename of ${kind}`,
    migration: action,
    plain: action,
    view: (view) => ({
      ...view,
      columns: view.columns.map((c) => (c.role === 'lead' ? { ...c, name: to } : c)),
      lead: to,
      alias: from,
    }),
  };
}

function made(
  table: string,
  name: string,
  { type, up, notNull = false }: Pick<(typeof DERIVED)[number], 'type' | 'up' | 'notNull'>,
  lead: string,
): Action {
  const column: Column = { name, type, role: 'derived' };
  const value = up.replaceAll('@', q(lead));
  const add = `${alter(table)} ADD COLUMN ${name} ${type}`;
  return {
    what: `${type} by ${up}`,
    migration: `${add}${notNull ? ' NOT NULL' : ''}; -- pgtandem: up(${value})\n`,
    plain: `${add}; UPDATE ${q(table)} SET ${name} = ${value};
      ${notNull ? `${alter(table)} ALTER COLUMN ${name} SET NOT NULL;` : ''}`,
    view: (view) => ({ ...view, columns: [...view.columns, column], derived: name }),
    derived: { column, up: value },
  };
}

/** What is changed of the same table by the same migration; `from`: the columns it is made from. */
const SECOND: {
  from: 'n' | 'note';
  changed: 'n' | 'note' | null;
  action: (table: string) => Action;
}[] = [
  ...(['bigint', 'numeric'] as const).map((type) => ({
    from: 'n' as const,
    changed: 'n' as const,
    action: (table: string) => plainly(table, 'n', type),
  })),
  ...(['varchar(60)', 'citext'] as const).map((type) => ({
    from: 'note' as const,
    changed: 'note' as const,
    action: (table: string) => plainly(table, 'note', type),
  })),
  {
    from: 'note',
    changed: null,
    action: (table) => made(table, 'second', { type: 'text', up: 'upper(note)' }, ''),
  },
  {
    from: 'n',
    changed: null,
    action: (table) =>
      made(table, 'second', { type: 'bigint', up: 'coalesce(n, 0) + 7', notNull: true }, ''),
  },
];

function plainly(table: string, name: 'n' | 'note', type: string): Action {
  const action = `${alter(table)} ALTER COLUMN ${name} TYPE ${type}`;
  const view = withType(name, type);
  return { what: `${name} to ${type}`, migration: action, plain: action, view };
}

/** No expression may read a column that changes as well, and none that divides the table changes. */
function isFree(name: 'n' | 'note', first: Action, parts: Parts | null): boolean {
  return !new RegExp(`\\b${name}\\b`).test(first.migration) && parts?.key !== name;
}

/** Keeps columns that are made from others as the migration does, on the plain database. */
function makeSql(
  table: string,
  children: readonly Child[],
  after: View,
  actions: readonly Action[],
): string {
  const derived = actions.flatMap((action) => action.derived ?? []);
  if (derived.length === 0) return '';
  const value = (c: Column) => {
    const up = derived.find(({ column }) => column.name === c.name)?.up;
    return up === undefined ? q(c.name) : `(${up})::${c.type}`;
  };
  const made = [
    { name: table, child: undefined },
    ...children.map((child) => ({ name: child.name, child })),
  ];
  return made
    .map(({ name, child }, i) => {
      const values = columnsIn(child, after.columns).map(value).join(', ');
      return `CREATE FUNCTION make${i}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
          SELECT x.* INTO NEW FROM (SELECT ${values} FROM (SELECT (NEW).*) y) x;
          RETURN NEW; END$$;
        CREATE TRIGGER "~make" BEFORE INSERT OR UPDATE ON ${q(name)} FOR EACH ROW
          EXECUTE FUNCTION make${i}()`;
    })
    .join('; ');
}
