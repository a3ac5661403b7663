import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { type Bench, front, RawClient } from './harness.js';

t.setTimeout(300_000);

export interface Prepared extends Bench {
  /** Runs SQL on a direct connection. */
  direct(text: string): Promise<string[][]>;
  client(): Promise<RawClient>;
}

const clusters = new Map<number, Promise<Cluster>>();

/** A server for all tests of one version, emptied for each. */
function clusterOf(major: number): Promise<Cluster> {
  const known = clusters.get(major) ?? Cluster.create({ major });
  clusters.set(major, known);
  return known;
}

t.teardown(async () => {
  for (const cluster of clusters.values()) await (await cluster).destroy();
});

export async function prepared(t: Parameters<typeof front>[0], major: number): Promise<Prepared> {
  const cluster = await clusterOf(major);
  const b = await front(t, cluster);
  const control = await cluster.client();
  t.teardown(() => control.end());
  await control.query(`SET client_min_messages = error; DROP SCHEMA IF EXISTS public, app CASCADE;
    CREATE SCHEMA public; CREATE TABLE users (id int, a text); INSERT INTO users VALUES (1, 'x')`);
  return {
    ...b,
    direct: async (text) => (await control.query({ text, rowMode: 'array' })).rows,
    client: async () => {
      const client = await RawClient.login(b.port);
      t.teardown(() => client.destroy());
      return client;
    },
  };
}

export const STAR = 'SELECT * FROM users';
export const REPREPARED = 'pgtandem_reprepared_total';
export const REPLAYED = 'pgtandem_replayed_total';
export const TOLD = 'pgtandem_result_type_errors_total';

/** The names in a RowDescription. */
export function columns(body: Buffer): string[] {
  const names: string[] = [];
  let pos = 2;
  for (let i = body.readUInt16BE(0); i > 0; i--) {
    const nul = body.indexOf(0, pos);
    names.push(body.toString('utf8', pos, nul));
    pos = nul + 19;
  }
  return names;
}

export const halves = (b: Buffer) => [b.subarray(0, b.length >> 1), b.subarray(b.length >> 1)];

/** Alternately adds and drops a column, or changes a type: each changes the result of STAR. */
export const CHANGES = [
  ['ALTER TABLE users ADD COLUMN b int DEFAULT 7', '1|x|7', 'id a b'],
  ['ALTER TABLE users ALTER COLUMN id TYPE text', '1|x|7', 'id a b'],
  ['ALTER TABLE users DROP COLUMN b', '1|x', 'id a'],
] as const;
