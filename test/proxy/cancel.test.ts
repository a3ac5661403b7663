import { createServer } from 'node:net';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { cancelRequest } from '../../proxy/cancel.js';
import { message } from '../../proxy/messages.js';
import type { ProxyOptions } from '../../proxy/proxy.js';
import { type Bench, front, RawClient, until } from './harness.js';
import { tableRule } from './rewriter.js';
import { brief, PROTOCOL_3_0, PROTOCOL_3_2, Q, startupPacket } from './wire.js';

t.setTimeout(120_000);

interface Keyed {
  client: RawClient;
  key: Buffer;
}

/** Logs in, and keeps the key. */
async function keyed(
  port: number,
  parameters: Record<string, string> = {},
  version = PROTOCOL_3_0,
): Promise<Keyed> {
  const client = await RawClient.open(port);
  client.send(startupPacket({ user: 'postgres', database: 'postgres', ...parameters }, version));
  const key = (await client.ready()).find(({ type }) => type === 'K')!.body;
  return { client, key };
}

/** Runs something long, and waits until the server does. */
async function sleep({ client }: Keyed, cluster: Cluster): Promise<void> {
  const control = await cluster.client();
  client.send(Q('SELECT pg_sleep(60)'));
  const running = `SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'
    AND state = 'active'`;
  await until('it runs', async () => (await control.query(running)).rowCount === 1);
  await control.end();
}

/** Sends a CancelRequest; resolves when the proxy has closed. */
async function cancel(port: number, key: Buffer): Promise<void> {
  const client = await RawClient.open(port);
  client.send(cancelRequest(key));
  t.same(await client.end(), [], 'a cancel is never answered');
}

const CANCELLED = /E:57014 Z:I$/;
const outcome = (b: Bench, name: string) =>
  b.metric('pgtandem_client_connections_total', { outcome: name });

const at = ({ port }: Cluster) => ({ host: '127.0.0.1', port });

const clusters = Promise.all([Cluster.create({ major: 14 }), Cluster.create({ major: 18 })]);
t.teardown(async () => Promise.all((await clusters).map((cluster) => cluster.destroy())));

/** A proxy of both: version 14, and 18 as `beta`. */
async function both(t: Parameters<typeof front>[0], more: Partial<ProxyOptions> = {}) {
  const [one, two] = await clusters;
  const targets = [{ name: 'beta', database: 'postgres', upstream: at(two!) }];
  return front(t, one!, more.limits, { targets, ...more });
}

t.test('a cancel goes to the server that gave the key, whatever its length', async (t) => {
  const [one, two] = await clusters;
  const b = await both(t);
  const cases: [string, Cluster, number, number][] = [
    ['postgres', one!, PROTOCOL_3_0, 8],
    ['postgres', one!, PROTOCOL_3_2, 8],
    ['beta', two!, PROTOCOL_3_0, 8],
    ['beta', two!, PROTOCOL_3_2, 36],
  ];
  for (const [database, cluster, version, length] of cases) {
    const session = await keyed(b.port, { database, '_pq_.unknown': '1' }, version);
    t.equal(session.key.length, length);
    await sleep(session, cluster);
    await cancel(b.port, session.key);
    t.match(brief(await session.client.ready()), CANCELLED);
    session.client.destroy();
  }
  t.equal(await outcome(b, 'cancel'), 4);
  t.equal(await outcome(b, 'cancel-unknown'), 0);
});

t.test('an unknown key is dropped where it may be of several servers, and counted', async (t) => {
  const b = await both(t);
  const session = await keyed(b.port, { database: 'beta' });
  const wrong = Buffer.from(session.key);
  wrong[7]! ^= 1;
  await cancel(b.port, wrong);
  t.equal(await outcome(b, 'cancel-unknown'), 1);
  session.client.destroy();
  await until('it is gone', () => b.proxy.stats().connections === 0);
  await cancel(b.port, session.key);
  t.equal(await outcome(b, 'cancel-unknown'), 2, 'a session that is gone is forgotten');
  t.equal(await outcome(b, 'cancel'), 0);
});

t.test('of one server any key is, also one that another proxy has relayed', async (t) => {
  const [one] = await clusters;
  const [b, other] = [await front(t, one!), await front(t, one!)];
  const listed = await front(t, one!, {}, { doubt: () => undefined });
  for (const { port } of [other, listed]) {
    const session = await keyed(b.port);
    await sleep(session, one!);
    await cancel(port, session.key);
    t.match(brief(await session.client.ready()), CANCELLED);
    session.client.destroy();
  }
});

t.test('of several processes the one whose session it is cancels it', async (t) => {
  const [, two] = await clusters;
  const asked: number[] = [];
  const b: Bench = await both(t);
  const other = await both(t, {
    askOthers: async (key) => {
      asked.push(key.length);
      return b.proxy.cancelHere(key);
    },
  });
  const session = await keyed(b.port, { database: 'beta' }, PROTOCOL_3_2);
  await sleep(session, two!);
  await cancel(other.port, session.key);
  t.match(brief(await session.client.ready()), CANCELLED);
  t.same(asked, [36]);
  t.equal(await outcome(other, 'cancel'), 1);
  const own = await keyed(other.port, { database: 'beta' });
  await sleep(own, two!);
  await cancel(other.port, own.key);
  t.match(brief(await own.client.ready()), CANCELLED);
  t.equal(asked.length, 1, "one's own is not asked for");
  await cancel(other.port, Buffer.alloc(8));
  t.equal(await outcome(other, 'cancel-unknown'), 1, 'nobody knows it');
  own.client.destroy();
  session.client.destroy();
});

t.test('others that fail, or do not answer, hold nobody up', async (t) => {
  const [, two] = await clusters;
  const failing = await both(t, { askOthers: () => Promise.reject(new Error('gone')) });
  await cancel(failing.port, Buffer.alloc(8));
  t.equal(await outcome(failing, 'cancel-unknown'), 1);

  const never = new Promise<boolean>(() => undefined);
  const limits = { cancelsAtOnce: 2, cancelTimeoutMs: 1_500 };
  const b = await both(t, { askOthers: () => never, limits });
  const session = await keyed(b.port, { database: 'beta' });
  await sleep(session, two!);
  const stuck = cancel(b.port, Buffer.alloc(8, 1));
  await until('it is asked for', () => b.proxy.stats().connections === 1);
  await cancel(b.port, session.key);
  t.match(brief(await session.client.ready()), CANCELLED, 'not behind the one that waits');
  const second = cancel(b.port, Buffer.alloc(8, 2));
  await until('one is too many', async () => {
    await cancel(b.port, Buffer.alloc(8, 3));
    return (await outcome(b, 'refused')) > 0;
  });
  await Promise.all([stuck, second]);
  t.equal(await outcome(b, 'cancel-unknown'), 2, 'after their time');
  session.client.destroy();
});

t.test('a replication session, whose messages are not read, has a key too', async (t) => {
  const [, two] = await clusters;
  const b = await both(t);
  const session = await keyed(b.port, { database: 'beta', replication: 'database' });
  await sleep(session, two!);
  await cancel(b.port, session.key);
  t.match(brief(await session.client.ready()), CANCELLED);
  session.client.destroy();
});

t.test('a server may give no key at all', async (t) => {
  let received = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      const ok = message(0x52, Buffer.alloc(4));
      if (received++ === 0) socket.write(Buffer.concat([ok, message(0x5a, Buffer.from('I'))]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const b = await front(t, { port } as Cluster);
  const client = await RawClient.login(b.port, {}, PROTOCOL_3_2);
  client.send(Q('SELECT 1'));
  await until('it is in flight', () => received === 2);
  const applied = b.proxy.apply({ epoch: 1, tables: [tableRule(1, 'users', 'id')] });
  b.proxy.closeTouching('the lease is lost');
  t.equal(brief(await client.end()), 'E:57P01', 'what runs cannot be cancelled, but it ends');
  client.destroy();
  await applied;
  await until('it is gone', () => b.proxy.stats().connections === 0);
  t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
});
