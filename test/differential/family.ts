import { quoteIdentifier as q } from '../../sql/rules.js';
import type { Random } from '../sql/random.js';
import type { Column } from './column.js';

/** A table that inherits from the one under migration, or from another child of it. */
export interface Child {
  name: string;
  /** Columns of its own, and of a child between, which lie behind the table's. */
  own: Column[];
  /** Columns of a parent that is not migrated, which lie in front of the table's. */
  front: Column[];
  /** Whether that parent has the column `note` as well, which then lies there. */
  hasNoteInFront: boolean;
  ddl: string;
}

/** A parent that is not migrated, named before the one that is. */
export const OUTSIDER = 'marked';

/**
 * A child, perhaps one more, and perhaps one of the first; with columns of their own or without.
 * @param outsider what columns another parent of the first one has; null: there is none.
 */
export function makeFamily(
  random: Random,
  table: string,
  outsider: 'mark' | 'mark and note' | null,
): Child[] {
  const child = (name: string, parents: string[], above: Omit<Child, 'name' | 'ddl'>): Child => {
    const fresh: Column[] = random.chance(0.6)
      ? [{ name: `e${above.own.length}`, type: 'text', role: 'own' }]
      : [];
    const columns = fresh.map((column) => `${column.name} ${column.type} DEFAULT 'e', `).join('');
    // Keys are not inherited.
    const ddl = `CREATE TABLE ${q(name)} (${columns}PRIMARY KEY (id)) INHERITS (${parents.map(q).join(', ')})`;
    return { ...above, name, own: [...above.own, ...fresh], ddl };
  };
  const alone = { own: [], front: [], hasNoteInFront: false };
  const mark: Column = { name: 'mark', type: 'text', role: 'own' };
  const first = outsider
    ? child(`${table} kid`, [OUTSIDER, table], {
        own: [],
        front: [mark],
        hasNoteInFront: outsider !== 'mark',
      })
    : child(`${table} kid`, [table], alone);
  if (outsider) {
    const note = first.hasNoteInFront ? ", note text DEFAULT 'n'" : '';
    first.ddl = `CREATE TABLE ${OUTSIDER} (mark text DEFAULT 'e'${note}); ${first.ddl}`;
  }
  const children = [first];
  if (random.chance(0.5)) children.push(child(`${table} Grand`, [first.name], first));
  if (random.chance(0.5)) children.push(child(`${table} other`, [table], alone));
  return children;
}

/** The columns of a child as an application sees them: what a migration adds lies last. */
export function columnsIn(child: Child | undefined, columns: readonly Column[]): Column[] {
  const isAdded = ({ role }: Column) => role === 'derived';
  const isFront = ({ role }: Column) => role === 'note' && child?.hasNoteInFront === true;
  return [
    ...(child?.front ?? []),
    ...columns.filter(isFront),
    ...columns.filter((column) => !isAdded(column) && !isFront(column)),
    ...(child?.own ?? []),
    ...columns.filter(isAdded),
  ];
}
