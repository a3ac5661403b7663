import type pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, TableRule } from '../../sql/rules.js';
import { RawClient } from '../proxy/harness.js';
import { brief, copyData, copyDone, Q } from '../proxy/wire.js';

/*
 * Where COPY gives a field twice, the servers are asked whether that is right: for any two types of
 * which the rewriter says so, a text that the source takes has to give the other column what the
 * cast gives, or to fail as the cast does. Seen to fail for each of these when it was said to be
 * the same: varchar(3) and text, numeric(6,2) and numeric(8,4), integer and double precision,
 * integer and text, real and double precision, char(4) and text, date and timestamp, oid and bigint.
 */

const TYPES = [
  ...['smallint', 'integer', 'bigint', 'oid', 'numeric', 'numeric(6,2)', 'numeric(8,4)'],
  ...['real', 'double precision', 'money', 'boolean', 'text', 'character varying'],
  ...['character varying(3)', 'character(4)', 'name', 'json', 'jsonb', 'date'],
  ...['timestamp without time zone', 'timestamp(0) without time zone', 'time without time zone'],
  ...['interval', 'uuid', 'inet', 'cidr', 'bytea', 'bit(4)', 'integer[]', 'bigint[]', 'int4range'],
];

const TEXTS = [
  ...['0', '-0', '+5', ' 7 ', '007', '32767', '32768', '-32768', '2147483648', '-2147483649'],
  ...['0x1F', '0o17', '0b11', '1_000', '1.5', '1.50', '-1.005', '1e3', '99999.994', '12345.6789'],
  ...['NaN', 'Infinity', '-inf', '', ' ', 'abc', 'abc  ', 'abcd', 'ab ', 't', 'true', 'off', 'é'],
  ...['{}', '{"a": 1, "a": 2}', '[1,  2]', '"\\\\u0000"', 'null', '{1,2}', '{1,NULL}', '[1,5)'],
  ...['2020-02-29', '2020-02-29 10:11:12.6', 'infinity', 'epoch', 'today', '10:11:12.5', '1 day'],
  ...[
    '10.1.2.3',
    '10.0.0.0/8',
    '\\\\x4142',
    '1010',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    '$1.25',
  ],
];

const OF: Omit<TableRule, 'columns' | 'pairs'> = {
  oid: 4711,
  schema: 'public',
  name: 'orders',
  version: 1,
  held: false,
  guard: 'none',
  visible: ['s'],
};

function column(name: string, type: string): ColumnRule {
  const baseType = type.replace(/\(\d+(,\d+)?\)/, '').replace(/^character$/, 'bpchar');
  const rest = { notNull: false, identity: null, generated: false, default: null };
  return { name, type, baseType, ...rest, defaultVolatile: false };
}

/** Whether COPY of a column of type `from` is rewritten, when another is its cast to `to`. */
function isRewritten(from: string, to: string): boolean {
  const expression = { texts: ['', `::${to}`], columns: ['s'] };
  const pair = { name: 'p', follow: 'f', forward: expression, backward: null, everyUpdate: true };
  const columns = [column('s', from), column('f', to)];
  const rewriter = makeRewriter({ epoch: 1, tables: [{ ...OF, columns, pairs: [pair] }] });
  const text = Buffer.from('COPY orders FROM STDIN');
  const rewrite = rewriter.rewrite(text, new Map([['orders', 4711]]), true);
  return rewrite.outcome === 'rewritten' && rewrite.copies !== undefined;
}

async function copied(client: RawClient, text: string, data: string): Promise<string> {
  client.send(Q(text), copyData(data), copyDone);
  return brief(await client.ready()).split(' ')[1] ?? '';
}

/** Texts that a column of the type takes. */
async function taken(raw: RawClient, db: pg.Client, type: string): Promise<string[]> {
  const texts: string[] = [];
  await db.query(`DROP TABLE IF EXISTS orders; CREATE TABLE orders (s ${type})`);
  for (const text of TEXTS) {
    if ((await copied(raw, 'COPY orders FROM STDIN', `${text}\n`)) === 'C:COPY') texts.push(text);
  }
  return texts;
}

/** What is wrong with a text that is read by both columns; null: nothing. */
async function wrongWith(raw: RawClient, db: pg.Client, to: string, text: string) {
  const both = await copied(raw, 'COPY orders FROM STDIN', `${text}\t${text}\n`);
  if (both !== 'C:COPY') await copied(raw, 'COPY orders (s) FROM STDIN', `${text}\n`);
  // The row as it is, and as the cast makes it, byte for byte; a cast that fails says so.
  const same = await db
    .query(`WITH gone AS (DELETE FROM orders RETURNING s, f)
      SELECT ROW(f)::text = ROW(s::${to})::text AS same FROM gone`)
    .then(({ rows }) => rows[0].same === true)
    .catch(() => null);
  if (same === null) await db.query('TRUNCATE orders');
  if (both !== 'C:COPY') return same === null ? null : `${text}: ${both}`;
  return same ? null : `${text}: ${same === null ? 'the cast fails' : 'another value'}`;
}

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: a text that is given twice is one value`, async (t) => {
    await loadParser();
    const cluster = await Cluster.create({ major });
    t.teardown(() => cluster.destroy());
    const db = await cluster.client();
    t.teardown(() => db.end());
    const raw = await RawClient.login(cluster.port);
    t.teardown(() => raw.destroy());
    let seen = 0;
    for (const from of TYPES) {
      // One type reads a text the same way twice.
      const others = TYPES.filter((to) => from !== to && isRewritten(from, to));
      const texts = others.length > 0 ? await taken(raw, db, from) : [];
      for (const to of others) {
        await db.query(`DROP TABLE IF EXISTS orders; CREATE TABLE orders (s ${from}, f ${to})`);
        for (const text of texts) {
          const wrong = await wrongWith(raw, db, to, text);
          if (wrong) t.fail(`${from} to ${to}: ${wrong}`);
          seen++;
        }
      }
    }
    t.ok(seen > 200, `${seen} texts`);
  });
}
