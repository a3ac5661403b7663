import { quoteIdentifier as q } from '../../sql/rules.js';
import { KINDS } from './kinds.js';
import type { World } from './world.js';

/** SQL that takes away what `setup` and `plain` have made. */
export const dropSql = ({ table }: World) => `
  DROP SCHEMA IF EXISTS other CASCADE;
  DROP TABLE IF EXISTS ${q(table)}, items, staged, o, audit, marked CASCADE;
  DROP FUNCTION IF EXISTS touch(int), audits(), bumps(), meddles(), twice(), make0(), make1(), make2(), make3();`;

/** The tables that have rows of their own, and where these are kept. */
export function holders({
  table,
  children,
}: World): { name: string; kept: string; only: string }[] {
  return [table, ...children.map(({ name }) => name)].map((name, i) => ({
    name,
    kept: `kept_${i}`,
    // A partitioned table has none without its partitions.
    only: children.length > 0 ? `ONLY ${q(name)}` : q(name),
  }));
}

const ROWS = 12;

/**
 * SQL that puts the rows of the beginning into a table like the one under migration, or like its child.
 * @param nth which of the tables that have rows.
 */
export function rowsOf(world: World, table: string, nth: number): string {
  const view = world.before;
  const child = world.children[nth - 1];
  const all = [...view.columns, ...(child?.front ?? []), ...(child?.own ?? [])];
  const columns = all.filter(({ role }) => role !== 'g');
  const solid = KINDS[view.kind].values.filter((value) => value !== 'NULL');
  const share = 1 + world.children.length;
  const numbers = Array.from({ length: ROWS }, (_, i) => i).filter((i) => i % share === nth);
  const rows = numbers.map((i) =>
    columns.map(({ role }) => {
      if (role === 'id') return i + 1;
      if (role === 'lead') return i === 5 && !world.notNull ? 'NULL' : solid[i % solid.length];
      if (role === 'own') return `'o${i}'`;
      if (role === 'note') return i === 3 ? 'NULL' : `'r${i}'`;
      return role === 'n' ? i % 7 : i * 10;
    }),
  );
  const names = columns.map(({ name }) => q(name)).join(', ');
  return `INSERT INTO ${q(table)} (${names}) OVERRIDING SYSTEM VALUE
    VALUES ${rows.map((row) => `(${row.join(', ')})`).join(', ')};`;
}

/**
 * The rows of the other tables, and where sequences stand.
 * @param follow columns of `o` that are made from others, with their expressions.
 */
export function sidesSql(
  world: World,
  follow: readonly [name: string, value: string][] = [],
): string {
  const names = follow.map(([name]) => `, ${name}`).join('');
  const values = follow.map(([, value]) => `, ${value}`).join('');
  const serial = `pg_get_serial_sequence('${q(world.table)}', 'id')`;
  return `
    INSERT INTO items SELECT i, 'l' || i, i::text FROM generate_series(1, 4) i
      WHERE NOT EXISTS (SELECT FROM items);
    INSERT INTO o (id, x, tid${names}) SELECT id, x, tid${values}
      FROM (SELECT i AS id, i * 10 AS x, i AS tid FROM generate_series(1, 6) i) s;
    SELECT setval('ticket', 500); ${world.identity === 'none' ? '' : `SELECT setval(${serial}, 100);`}`;
}

export const rowsSql = (world: World) =>
  `${holders(world)
    .map(({ name }, i) => rowsOf(world, name, i))
    .join(' ')} ${sidesSql(world)}`;

/** Rows that are to be moved into the table, from one that was made like it; nobody writes them. */
export const stagedSql = (world: World) =>
  `${rowsOf(world, 'staged', 0)} UPDATE staged SET id = id + 800; DELETE FROM staged WHERE id > 803;`;

/** Nobody writes items: made anew, they might lie in another order, in which they are read. */
export const emptySql = (world: World) =>
  [q(world.table), 'o', 'audit', `other.${q(world.table)}`]
    .map((table) => `DELETE FROM ${table};`)
    .join(' ');
