import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { type Bench, front, RawClient } from './harness.js';

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

/** A proxy before that server, and a table. */
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
