import { readDependentsOf } from '../db/catalog.js';
import type { Connection } from '../db/connect.js';
import { type Member, readTree } from '../db/tree.js';
import { indexOids } from './part-indexes.js';
import { detachedParts, namedParts, rulesNow, strayChild } from './parts.js';
import { hasMembers, ownColumns, type Plan, planOf, relationName } from './plan.js';

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
  const oids = members.map((member) => member.oid);
  await assertDependents(connection, plan, oids, shape);
  for (const { oid, schema, name, columns } of members) {
    const child = plan.children?.find((one) => one.oid === oid);
    const { must, may } = expectedColumns(child ? planOf(plan, child) : plan, shape);
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

/** Partitions and children may come and go, but not in every way. */
async function assertParts(
  connection: Connection,
  plan: Plan,
  members: readonly Member[],
): Promise<void> {
  const stray = strayChild(members, plan);
  if (stray) throw new ShapeError(describeStray(stray, plan));
  const [table, ...parts] = members;
  if (!hasMembers(plan) || !table) return;
  const path = relationName(plan.table);
  const rules = await rulesNow(connection);
  const [gone] = await detachedParts(connection, plan, parts, rules);
  if (gone) {
    throw new ShapeError(
      `${gone.schema}.${gone.name} is no ${plan.children ? 'child' : 'partition'} any more, and ` +
        'keeps a column of the migration. ' +
        `${plan.children ? 'Let it inherit again' : 'Attach it again'}, or drop ` +
        `${ownColumns(plan).join(', ')} of it${plan.children ? ' with CASCADE' : ''}, and say ` +
        'pgtandem resume.',
    );
  }
  if (plan.children) return;
  const named = new Set(namedParts(members).map(({ oid }) => oid));
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

/** What is told of a child that came since the plan was made. Pure. */
export const describeStray = (stray: Member, plan: Plan): string =>
  `${stray.schema}.${stray.name} has become a child of ${plan.table.schema}.${plan.table.name} since ` +
  `the migration was planned, and has no guard. ALTER TABLE ${relationName(stray)} NO INHERIT its ` +
  'parent (drop what it has of the migration), and say pgtandem resume; or abort and start anew.';

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
  const names = plan.indexes.map((index) => index.name);
  const known = await indexOids(connection, plan, names);
  for (const { source, shadow } of plan.changes) {
    if (source === null) continue;
    const lead = shape === 'after' ? shadow.after : source.before;
    const news = (await readDependentsOf(connection, oids, lead)).find(
      ({ catalog, description, kind, oid }) =>
        !['own', 'n', 'S'].includes(kind) &&
        !/pgtandem/.test(description) &&
        !(catalog === 'pg_class' && known.has(oid)),
    );
    if (!news) continue;
    throw new ShapeError(
      `${news.description} was made since the migration was planned, and depends on ${lead}. ` +
        'Drop it and make it anew when the migration is complete; or abort and start again.',
    );
  }
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
