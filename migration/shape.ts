import { readDependentsOf } from '../db/catalog.js';
import type { Connection } from '../db/connect.js';
import { type Member, readTree } from '../db/tree.js';
import { detachedParts, namedParts, rulesNow } from './parts.js';
import { ownColumns, type Plan, relationName } from './plan.js';

/** Somebody has altered the table meanwhile: the plan is not true any more. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

/**
 * Makes sure that the table has the columns that the plan knows: as they were (`original`, where
 * ours may be there already after a crash), with ours before cutover, or with ours after it.
 * @throws ShapeError that names the column.
 */
export async function assertShape(
  connection: Connection,
  plan: Plan,
  shape: 'original' | 'before' | 'after',
): Promise<void> {
  const members = await readTree(connection, plan.table.oid);
  await assertParts(connection, plan, members);
  const { must, may } = expectedColumns(plan, shape);
  const oids = members.map((member) => member.oid);
  await assertDependents(connection, plan, oids, shape);
  for (const { schema, name, columns } of members) {
    const missing = must.find((column) => !columns.includes(column));
    const added = columns.find((column) => !must.includes(column) && !may.includes(column));
    if (missing === undefined && added === undefined) continue;
    const what = missing === undefined ? `has a new column ${added}` : `has lost column ${missing}`;
    throw new ShapeError(
      `${schema}.${name} ${what} since the migration was planned. ` +
        'Undo that, or abort the migration and start it anew.',
    );
  }
}

/** Partitions may come and go, but not in every way. */
async function assertParts(
  connection: Connection,
  plan: Plan,
  [table, ...parts]: readonly Member[],
): Promise<void> {
  if (!plan.parts || !table) return;
  const path = relationName(plan.table);
  const rules = await rulesNow(connection);
  const [gone] = await detachedParts(connection, plan, parts, rules);
  if (gone) {
    throw new ShapeError(
      `${gone.schema}.${gone.name} is no partition any more, and keeps a column of the migration. ` +
        `Attach it again, or drop ${ownColumns(plan).join(', ')} of it, and say pgtandem resume.`,
    );
  }
  const named = new Set(namedParts([table, ...parts]).map(({ oid }) => oid));
  for (const { oid, schema, name, kind, detaching } of parts) {
    const what =
      kind === 'f'
        ? 'is a foreign table, which cannot be filled'
        : detaching
          ? 'is being detached'
          : named.has(oid)
            ? null
            : 'has its columns in another order than the table';
    if (what === null) continue;
    throw new ShapeError(
      `Partition ${schema}.${name} ${what}: ALTER TABLE ${path} DETACH PARTITION it ` +
        '(FINALIZE, if that was begun), and say pgtandem resume.',
    );
  }
}

/**
 * Makes sure that the plan's table is there: a database that was restored from a dump has the same
 * tables with other oids, and the migration's state is bound to them.
 * @throws ShapeError with the remedy.
 */
export async function assertTable(connection: Connection, { table }: Plan): Promise<void> {
  const { rows } = await connection.query('SELECT FROM pg_class WHERE oid = $1', [table.oid]);
  if (rows.length > 0) return;
  throw new ShapeError(
    `${table.schema}.${table.name} is not the table that the migration was planned for (oid ` +
      `${table.oid}): it was made anew, or the database was restored from a dump. Abort the ` +
      'migration and start it anew.',
  );
}

/**
 * What was hung on a column meanwhile (an index, a constraint, a view) would stay on the old one,
 * and be dropped with it.
 */
async function assertDependents(
  connection: Connection,
  plan: Plan,
  oids: readonly number[],
  shape: 'original' | 'before' | 'after',
): Promise<void> {
  const known = plan.indexes.map((index) => index.name);
  for (const { source, shadow } of plan.changes) {
    if (source === null) continue;
    const lead = shape === 'after' ? shadow.after : source.before;
    const news = (await readDependentsOf(connection, oids, lead)).find(
      ({ description, kind }) =>
        !['own', 'n', 'S'].includes(kind) &&
        !/pgtandem/.test(description) &&
        !isIndex(description, known),
    );
    if (!news) continue;
    throw new ShapeError(
      `${news.description} was made since the migration was planned, and depends on ${lead}. ` +
        'Drop it and make it anew when the migration is complete; or abort and start again.',
    );
  }
}

/** Whether `pg_describe_object` speaks of one of these indexes; it leaves the schema out if it can. */
function isIndex(description: string, names: string[]): boolean {
  const name = /^index (?:.*\.)?"?([^"]+)"?$/.exec(description)?.[1];
  return name !== undefined && names.includes(name);
}

/** Pure. */
export function expectedColumns(plan: Plan, shape: 'original' | 'before' | 'after') {
  const shadows = plan.changes.map(({ shadow }) => shadow[shape === 'after' ? 'after' : 'before']);
  const sourceNames = new Map(
    plan.changes.flatMap(({ source }) =>
      source ? [[source.before, shape === 'after' ? source.after : source.before] as const] : [],
    ),
  );
  const kept = plan.columns.map((column) => sourceNames.get(column.name) ?? column.name);
  return shape === 'original'
    ? { must: kept, may: shadows }
    : { must: [...kept, ...shadows], may: [] as string[] };
}
