import { json } from 'node:stream/consumers';
import { getHeapSnapshot } from 'node:v8';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { RuleSet } from '../../sql/rules.js';
import { readGolden } from '../sql/golden.js';
import { bench, RawClient, until } from './harness.js';
import { type Ruled, ruled } from './ruled.js';
import { B, C, copyFail, D, E, P, Q, S } from './wire.js';

const HEADER = `
-- table: public.users, guard: repair
-- column: id integer
-- column: a text
-- column: b text
-- column: id_new bigint, hidden
-- pair: id_new = (@id)::bigint
`;

/**
 * What leaks.test.ts runs, in a process without a test runner, which would keep something of every promise.
 * Prints how many bytes of the heap each time keeps.
 */

interface Snapshot {
  snapshot: { meta: { node_fields: string[]; node_types: [string[], ...unknown[]] } };
  nodes: number[];
}

/** Of the engine itself: it compiles more and more of what runs often. */
const ENGINES = ['code', 'hidden', 'object shape'];

/** Bytes of the objects that can be reached, as a heap snapshot tells them: no garbage, and no code. */
async function reachedBytes(): Promise<number> {
  const { snapshot, nodes } = (await json(getHeapSnapshot())) as Snapshot;
  const { node_fields: fields, node_types } = snapshot.meta;
  const [type, size] = [fields.indexOf('type'), fields.indexOf('self_size')];
  let sum = 0;
  for (let i = 0; i < nodes.length; i += fields.length) {
    if (!ENGINES.includes(node_types[0][nodes[i + type]!]!)) sum += nodes[i + size]!;
  }
  return sum;
}

const endings: (() => unknown)[] = [];
// The harness keeps what the server logs.
const quiet = { settings: { log_min_messages: 'log' } };
const t = { teardown: (fn: () => unknown) => void endings.push(fn) };

const WORK: Record<string, () => Promise<() => Promise<void>>> = {
  async connections() {
    const { port, proxy } = await bench(t, quiet);
    return async () => {
      const client = await RawClient.login(port);
      client.send(Q('SELECT 1'));
      await client.ready();
      client.destroy();
      await until('it is gone', () => proxy.stats().connections === 0);
    };
  },

  async session() {
    const b = await ruled(t, 18, quiet);
    await b.rule('/* ours */');
    const client = await RawClient.login(b.port);
    let id = 0;
    const insert = `INSERT INTO users (id, a) VALUES ($1, 'x') ON CONFLICT DO NOTHING`;
    const select = 'SELECT a FROM users WHERE id = $1';
    return async () => {
      const [s, p] = [`s_${id}`, `p_${id++}`];
      client.send(P(s, insert), B(p, s, [String(id % 100)]), E(p), C('S', s), S);
      client.send(P('', select), B('', '', ['1']), D('P'), E(), S);
      client.send(Q('BEGIN; SAVEPOINT a; SELECT no_such_function()'), Q('ROLLBACK'));
      client.send(Q(`PREPARE ${s} AS SELECT * FROM users`), Q(`EXECUTE ${s}`));
      client.send(Q(id % 2 ? 'DEALLOCATE ALL' : `DEALLOCATE ${s}`));
      client.send(P('e', 'SELECT 1 / 0'), B('', 'e'), E(), S, C('S', 'e'), S);
      client.send(Q('COPY users (id, a) FROM STDIN'), copyFail('no'));
      client.send(Q(`BEGIN; DECLARE ${p} CURSOR FOR SELECT * FROM users; FETCH ${p}; COMMIT`));
      client.send(
        Q(`CREATE TEMP TABLE ${p} (a int); SET application_name = ${p}; DROP TABLE ${p}`),
      );
      await client.ready(12);
    };
  },

  async rules() {
    const b = await ruled(t, 18, quiet);
    await b.rule('/* ours */');
    const client = await RawClient.login(b.port);
    let id = 0;
    return async () => {
      await b.rule(`/* ${id++} */`);
      client.send(P('', 'SELECT a FROM users WHERE id = $1'), B('', '', ['1']), E(), S);
      await client.ready();
    };
  },

  // Each is new, and counted: far more than are told apart.
  async texts() {
    const { client, proxy } = await migrated();
    let id = 0;
    return async () => {
      id++;
      const told = `RETURNING id AS told_${id}`;
      client.send(Q(`INSERT INTO users (id) VALUES (${id % 100}) ON CONFLICT DO NOTHING ${told}`));
      await client.ready();
      if (id % 100 === 0) proxy.realm(null).takeSightings();
    };
  },

  // Of each it is asked how many columns it has.
  async relations() {
    const { client } = await migrated();
    let id = 0;
    return async () => {
      const name = `x_${id++}`;
      client.send(Q(`CREATE TEMP TABLE ${name} AS SELECT ${id}`));
      client.send(Q(`INSERT INTO users SELECT * FROM ${name}`), Q(`DROP TABLE ${name}`));
      await client.ready(3);
    };
  },
};

/** A session under the real rewriter. */
async function migrated(): Promise<{ client: RawClient; proxy: Ruled['proxy'] }> {
  await loadParser();
  const makeFew = (rules: RuleSet) => makeRewriter(rules, { cacheEntries: 100 });
  const b = await ruled(t, 18, { ...quiet, more: { makeRewriter: makeFew } });
  await b.direct('ALTER TABLE users ADD id_new bigint');
  const { table } = readGolden(HEADER);
  await b.proxy.apply({ epoch: 1, tables: [{ ...table, oid: b.oid, observed: true }] });
  return { client: await RawClient.login(b.port), proxy: b.proxy };
}

const [what, first, count] = process.argv.slice(2);
try {
  const work = await WORK[what!]!();
  // Caches are filled, and code is compiled.
  for (let i = 0; i < Number(first); i++) await work();
  const before = await reachedBytes();
  for (let i = 0; i < Number(count); i++) await work();
  console.log(((await reachedBytes()) - before) / Number(count));
} finally {
  for (const end of endings.reverse()) await end();
}
