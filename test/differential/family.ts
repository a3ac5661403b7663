import { quoteIdentifier as q } from '../../sql/rules.js';
import type { Random } from '../sql/random.js';
import type { Column } from './column.js';

/** A table that inherits from the one under migration, or from another child of it. */
export interface Child {
  name: string;
  /** Columns of its own, and of a child between, which lie behind the table's. */
  own: Column[];
  ddl: string;
}

/** A child, perhaps one more, and perhaps one of the first; with columns of their own or without. */
export function makeFamily(random: Random, table: string): Child[] {
  const child = (name: string, parent: string, above: Column[]): Child => {
    const fresh: Column[] = random.chance(0.6)
      ? [{ name: `e${above.length}`, type: 'text', role: 'own' }]
      : [];
    const columns = fresh.map((column) => `${column.name} ${column.type} DEFAULT 'e', `).join('');
    // Keys are not inherited.
    const ddl = `CREATE TABLE ${q(name)} (${columns}PRIMARY KEY (id)) INHERITS (${q(parent)})`;
    return { name, own: [...above, ...fresh], ddl };
  };
  const first = child(`${table} kid`, table, []);
  const children = [first];
  if (random.chance(0.5)) children.push(child(`${table} Grand`, first.name, first.own));
  if (random.chance(0.5)) children.push(child(`${table} other`, table, []));
  return children;
}

/** The columns of a child as an application sees them: what a migration adds lies last. */
export function columnsIn(child: Child | undefined, columns: readonly Column[]): Column[] {
  const isAdded = ({ role }: Column) => role === 'derived';
  return [
    ...columns.filter((column) => !isAdded(column)),
    ...(child?.own ?? []),
    ...columns.filter(isAdded),
  ];
}
