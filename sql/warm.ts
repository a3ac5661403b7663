import { makeRewriter } from './rewriter.js';
import type { ColumnRule, RuleSet } from './rules.js';

const column = (name: string, type: string): ColumnRule => ({
  name,
  type,
  baseType: type,
  notNull: false,
  identity: null,
  generated: false,
  default: null,
  defaultVolatile: false,
});

/** A rule set of no real table. */
const SAMPLE: RuleSet = {
  epoch: 1,
  tables: [
    {
      oid: 1,
      schema: 'public',
      name: 'sample',
      version: 1,
      held: false,
      guard: 'repair',
      columns: [column('id', 'bigint'), column('a', 'integer'), column('b', 'bigint')],
      visible: ['id', 'a'],
      pairs: [
        {
          name: 'sample',
          follow: 'b',
          forward: { texts: ['', ''], columns: ['a'] },
          backward: null,
          everyUpdate: true,
        },
      ],
    },
  ],
};

const STATEMENTS = [
  'INSERT INTO sample (id, a) VALUES ($1, $2), (3, 4) RETURNING *',
  'INSERT INTO sample AS s VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET a = excluded.a + s.a',
  'UPDATE sample SET a = a + 1 WHERE id = $1 RETURNING *',
  'UPDATE sample s SET id = id FROM other o WHERE o.id = s.id',
  'SELECT s.*, o.x FROM sample s JOIN other o ON o.id = s.id WHERE s.a > 3 ORDER BY 1',
  'DELETE FROM sample WHERE id = 7 RETURNING *',
];

const ROUNDS = 60;

/**
 * Runs the rewriter until the engine has compiled it (some tenths of a second, once): the first
 * statements of an application must not wait for that when a migration begins. The parser must
 * have been loaded.
 */
export function warmUp(): void {
  const rewriter = makeRewriter(SAMPLE);
  const resolution = new Map([['sample', 1]]);
  for (let round = 0; round < ROUNDS; round++) {
    for (const sql of STATEMENTS) {
      // Another text each time, as it would be answered from the cache otherwise.
      rewriter.rewrite(Buffer.from(`${sql} -- ${round}`), resolution, true);
    }
  }
}
