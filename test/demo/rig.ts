import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { Cluster } from '../../cli/demo/cluster.js';
import { Load, type LoadOptions } from '../../cli/demo/load.js';
import { createTable } from '../../cli/demo/orders.js';

export const ROWS = 2_000;
export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

let databases = 0;

/** A fresh database with the application's table, its connection string, and SQL on it. */
export async function fresh(t: Test, cluster: Cluster, rows = ROWS) {
  const name = `load${databases++}`;
  const admin = await cluster.client();
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const url = cluster.url(name);
  await createTable(url, { rows });
  const client = await cluster.client(name);
  client.on('error', (error) => t.comment(error.message));
  t.teardown(() => client.end());
  return { url, name, sql: (text: string) => client.query(text) };
}

/** As many statements as go. */
export function flatOut(t: Test, url: string, options: Partial<LoadOptions> = {}): Load {
  const load = new Load({ url, rows: ROWS, workers: 4, seed: SEED, ratePerSecond: 0, ...options });
  t.teardown(() => load.stop());
  return load;
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited too long until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until this many more statements were answered. */
export async function more(load: Load, statements: number): Promise<void> {
  const goal = load.summary().statements + statements;
  await until(`${goal} statements`, () => load.summary().statements >= goal);
}

/** A relay between a load and its server that can lose connections in the worst moments. */
export class BadNetwork {
  private readonly pairs = new Set<{ client: Socket; server: Socket }>();
  /** Both ends of what was once a pair, to be closed at the end. */
  private readonly doomed: Socket[] = [];

  private constructor(
    private readonly listener: Server,
    readonly url: string,
  ) {}

  static async to(t: Test, target: string): Promise<BadNetwork> {
    const url = new URL(target);
    const port = Number(url.port);
    let network: BadNetwork | undefined;
    const listener = createServer((client) => network?.relay(client, connect(port, '127.0.0.1')));
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const address = listener.address();
    if (typeof address !== 'object' || !address) throw new Error('no address');
    url.port = String(address.port);
    network = new BadNetwork(listener, url.href);
    t.teardown(() => network?.close());
    return network;
  }

  private relay(client: Socket, server: Socket): void {
    const pair = { client, server };
    this.pairs.add(pair);
    client.on('error', () => server.destroy()).pipe(server);
    server.on('error', () => client.destroy()).pipe(client);
    client.once('close', () => this.pairs.delete(pair));
  }

  /** Nothing passes any more, and nobody is told. */
  freeze(): void {
    for (const { client, server } of this.pairs) {
      client.unpipe().pause();
      server.unpipe().pause();
    }
  }

  /** The next request of every connection is answered, and the answer lost. */
  loseAnswers(): void {
    for (const { client, server } of this.doom()) {
      const lose = () => {
        client.destroy();
        server.destroy();
      };
      server.unpipe().once('data', lose).resume();
    }
  }

  /** The next request of every connection reaches a server that is not told that nobody waits. */
  loseClients(): void {
    for (const { client, server } of this.doom()) {
      const lose = (chunk: Buffer) => {
        server.unpipe().resume().write(chunk);
        client.destroy();
      };
      client.unpipe().once('data', lose).resume();
    }
  }

  /** The connections that there are; each is lost once. */
  private doom(): { client: Socket; server: Socket }[] {
    const pairs = [...this.pairs];
    this.pairs.clear();
    for (const { client, server } of pairs) this.doomed.push(client, server);
    return pairs;
  }

  private close(): void {
    this.listener.close();
    for (const socket of this.doomed) socket.destroy();
    for (const { client, server } of this.pairs) {
      client.destroy();
      server.destroy();
    }
  }
}
