import { quoteIdentifier as q } from '../../sql/rules.js';
import type { Random } from '../sql/random.js';

/** How the table is divided. */
export interface Parts {
  /** The column by which rows find their partition. */
  key: 'id' | 'n';
  /** `PARTITION BY ...`. */
  by: string;
  /** Makes the partitions. */
  ddl: string[];
  /** Names of the partitions, at both levels. */
  names: string[];
}

/** Partitions by range, list or hash, one of them divided once more; a row has always a place. */
export function makeParts(random: Random, table: string): Parts {
  const [one, two, rest] = ['one', 'Part 2', 'rest'].map((name) => `${table} ${name}`) as [
    string,
    string,
    string,
  ];
  const names = [one, two, rest, `${two}a`, `${two}b`];
  const part = (name: string, bounds: string, by = '') =>
    `CREATE TABLE ${q(name)} PARTITION OF ${q(table)} ${bounds}${by}`;
  const sub = (i: number, bounds: string) =>
    `CREATE TABLE ${q(names[3 + i]!)} PARTITION OF ${q(two)} ${bounds}`;
  const hashes = (n: number, i: number) => `FOR VALUES WITH (MODULUS ${n}, REMAINDER ${i})`;
  const key = random.pick(['id', 'id', 'n'] as const);
  const byHash = [sub(0, hashes(2, 0)), sub(1, hashes(2, 1))];
  const inner = random.pick([
    { by: ' PARTITION BY HASH (id)', ddl: byHash },
    {
      by: ' PARTITION BY RANGE (id)',
      ddl: [sub(0, 'FOR VALUES FROM (MINVALUE) TO (10)'), sub(1, 'DEFAULT')],
    },
    {
      by: ' PARTITION BY LIST (id)',
      ddl: [sub(0, 'FOR VALUES IN (5, 8, 9, 21)'), sub(1, 'DEFAULT')],
    },
  ]);
  const outer = random.pick([
    {
      by: `PARTITION BY RANGE (${key})`,
      ddl: [
        part(one, `FOR VALUES FROM (MINVALUE) TO (${key === 'n' ? 2 : 5})`),
        part(
          two,
          `FOR VALUES FROM (${key === 'n' ? 2 : 5}) TO (${key === 'n' ? 5 : 120})`,
          inner.by,
        ),
        part(rest, 'DEFAULT'),
      ],
    },
    {
      by: `PARTITION BY LIST (${key})`,
      ddl: [
        part(one, 'FOR VALUES IN (0, 1, 2)'),
        part(two, 'FOR VALUES IN (3, 4, 5, 6, 7, 8)', inner.by),
        part(rest, 'DEFAULT'),
      ],
    },
    {
      by: `PARTITION BY HASH (${key})`,
      ddl: [part(one, hashes(3, 0)), part(two, hashes(3, 1), inner.by), part(rest, hashes(3, 2))],
    },
  ]);
  return { key, by: outer.by, ddl: [...outer.ddl, ...inner.ddl], names };
}
