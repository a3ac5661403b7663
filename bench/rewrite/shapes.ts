import { performance } from 'node:perf_hooks';
import { parse } from '../../sql/parser.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Expression, RuleSet } from '../../sql/rules.js';
import { median } from '../median.js';

/** What one statement costs, microseconds. */
export interface ShapeCost {
  shape: string;
  bytes: number;
  outcome: string;
  /** Parsing it with PostgreSQL's grammar, alone. */
  parse: number;
  /** Rewriting it when it is seen for the first time. */
  first: number;
  /** Rewriting it when one like it, with other constants, was seen before. */
  template: number;
  /** Rewriting it again. */
  cached: number;
}

const column = (name: string, type: string): ColumnRule => ({
  ...{ name, type, baseType: type, notNull: false, identity: null, generated: false },
  ...{ default: null, defaultVolatile: false },
});
const plain = (name: string): Expression => ({ texts: ['', ''], columns: [name] });

/** `orders.amount` becomes a bigint: the plainest change there is. */
const RULES: RuleSet = {
  epoch: 1,
  tables: [
    {
      ...{ oid: 16_384, schema: 'public', name: 'orders', version: 1, held: false },
      guard: 'repair',
      columns: [
        ...[column('id', 'bigint'), column('customer', 'text'), column('amount', 'integer')],
        ...[column('note', 'text'), column('_pgtandem_new_amount', 'bigint')],
      ],
      visible: ['id', 'customer', 'amount', 'note'],
      pairs: [
        {
          ...{ name: 'orders_amount', follow: '_pgtandem_new_amount' },
          forward: plain('amount'),
          backward: { lead: 'amount', value: plain('_pgtandem_new_amount') },
          everyUpdate: true,
        },
      ],
    },
  ],
};

const rows = (count: number) =>
  Array.from({ length: count }, (_, i) => `(${i}, 'customer ${i}', ${i * 7}, NULL)`).join(', ');
const filters = Array.from({ length: 120 }, (_, i) => `(o.id + ${i} > c.id AND o.note <> 'x${i}')`);

const SHAPES: Readonly<Record<string, string>> = {
  'another table': "UPDATE customers SET name = 'x' WHERE id = 7",
  'INSERT of one row': 'INSERT INTO orders (customer, amount) VALUES ($1, $2)',
  'INSERT ... RETURNING *': 'INSERT INTO orders (customer, amount) VALUES ($1, $2) RETURNING *',
  'UPDATE of the column': 'UPDATE orders SET amount = amount + $1 WHERE id = $2',
  'UPDATE of another': 'UPDATE orders SET note = $1 WHERE id = $2',
  upsert:
    'INSERT INTO orders (id, amount) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount',
  'INSERT of 100 rows': `INSERT INTO orders (id, customer, amount, note) VALUES ${rows(100)}`,
  'INSERT, once': "INSERT INTO orders (amount, customer) VALUES (nextval('s'), 'x')",
  'SELECT *': 'SELECT * FROM orders WHERE id = $1',
  'SELECT of 5 KB': `SELECT o.id, c.name FROM orders o, customers c WHERE ${filters.join(' OR ')}`,
};

/** How long one measurement goes on, milliseconds. */
const ROUND_MS = 60;
const ROUNDS = 7;

/** Medians of several rounds, all shapes in turn. */
export async function measureShapes(): Promise<ShapeCost[]> {
  await loadParser();
  const names = Object.keys(SHAPES);
  const texts = names.map((name) => Buffer.from(SHAPES[name]!));
  const found = names.map(
    () => ({ parse: [], first: [], template: [], cached: [] }) as Record<Cost, number[]>,
  );
  const warm = makeRewriter(RULES);
  const resolution = new Map(warm.names.map((name) => [name, 16_384]));
  for (let round = 0; round <= ROUNDS; round++) {
    texts.forEach((text, i) => {
      const bytes = text.toString('latin1');
      const cost = found[i]!;
      // White space of its own makes a text new, and a comment one that only looks new.
      const cold = makeRewriter(RULES, { cacheEntries: 1 });
      let n = 0;
      const blank = () =>
        (n++)
          .toString(2)
          .padStart(24, '0')
          .replace(/./g, (bit) => ' \t'[+bit]!);
      // What is filled is put together when it is asked for.
      const again = (tail: string) =>
        cold.rewrite(Buffer.from(bytes + tail), resolution, true).text;
      const figures = {
        parse: timed(() => parse(bytes)),
        first: timed(() => cold.mayTouch(text) && again(blank())),
        template: timed(() => cold.mayTouch(text) && again(` --${n++}`)),
        cached: timed(() => warm.mayTouch(text) && warm.rewrite(text, resolution, true)),
      };
      // The first round warms the code up.
      if (round > 0) for (const key of COSTS) cost[key].push(figures[key]);
    });
  }
  return names.map((shape, i) => ({
    shape,
    bytes: texts[i]!.length,
    outcome: warm.rewrite(texts[i]!, resolution, true).outcome,
    parse: median(found[i]!.parse),
    first: median(found[i]!.first),
    template: median(found[i]!.template),
    cached: median(found[i]!.cached),
  }));
}

const COSTS = ['parse', 'first', 'template', 'cached'] as const;
type Cost = (typeof COSTS)[number];

/** CPU time of one call, microseconds. */
function timed(work: () => unknown): number {
  const deadline = performance.now() + ROUND_MS;
  const before = process.cpuUsage();
  let calls = 0;
  do {
    for (let i = 0; i < 20; i++) work();
    calls += 20;
  } while (performance.now() < deadline);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}
