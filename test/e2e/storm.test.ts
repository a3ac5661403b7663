/**
 * Clients that come in great numbers and mean no good, to a real proxy process: start-up packets
 * that never end, and CancelRequests of every kind. Who means well gets in, and is served.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                                    | fails                  |
 * | --------------------------------------------------------- | ---------------------- |
 * | door: a seat that is full is full, whoever has the others | packets that never end |
 * | door: no login timer                                      | all                    |
 * | cancel: the server's end does not end the cancel          | a storm                |
 * | cancel: the client is not closed afterwards               | a storm                |
 */
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { family } from '../../bench/relay/process.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { cancelRequest } from '../../proxy/cancel.js';
import { RawClient } from '../proxy/harness.js';
import { pick, seeded } from '../proxy/random.js';
import { brief, Q, startupPacket } from '../proxy/wire.js';
import { until } from './clients.js';

t.setTimeout(process.env.LONG ? 3_600_000 : 300_000);

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
/** Connections beyond those of sessions that are let in, since they may be cancels. */
const BEYOND = 200;
const CANCELS = process.env.LONG ? 20_000 : 1_500;

let cluster: Cluster;
t.before(async () => {
  cluster = await Cluster.create();
});
t.teardown(() => cluster.destroy());

async function coordinators(): Promise<number[]> {
  const client = await cluster.client();
  const { rows } = await client.query(
    `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgtandem coordinator'`,
  );
  await client.end();
  return rows.map(({ pid }) => pid);
}

async function start(t: Test, ...options: string[]) {
  const before = new Set(await coordinators());
  const proxy = await ProxyProcess.start(cluster.url(), undefined, options);
  t.teardown(() => proxy.end('SIGKILL'));
  // Its files are counted: what its coordinators' thread opens is to be open.
  await until('its coordinator is there', async () => {
    return (await coordinators()).some((pid) => !before.has(pid));
  });
  return { proxy, port: Number(proxy.address.split(':').at(-1)) };
}

const LOGIN = startupPacket({ user: 'postgres', application_name: 'x'.repeat(5_000) });

const filesOf = (proxy: ProxyProcess) =>
  family(proxy.pid).reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0);

async function asks(t: Test, client: RawClient, what: string): Promise<void> {
  client.send(Q('SELECT 42'));
  t.equal(brief(await client.ready()), 'T D:42 C:SELECT 1 Z:I', what);
}

/** What a client that wants to be a session is told in the end. */
async function knock(port: number): Promise<string> {
  const client = await RawClient.open(port);
  client.send(startupPacket({ user: 'postgres' }));
  await client.wait(() => client.ended || client.messages.some(({ type }) => type === 'Z'));
  client.destroy();
  return brief(client.messages.slice(-1));
}

t.test('start-up packets that never end', async (t) => {
  const { proxy, port } = await start(t, '--login-timeout', '3s', '--max-connections', '10');
  const witness = await RawClient.login(port);
  const files = filesOf(proxy);
  let dripping = true;
  const open = async (nth: number) => {
    const client = await RawClient.open(port);
    if (nth % 3 === 1) client.send(LOGIN.subarray(0, 20 + nth));
    else if (nth % 3 === 2) void drip(client);
    return client;
  };
  const drip = async (client: RawClient) => {
    for (let at = 0; dripping && !client.ended; at++) {
      client.send(LOGIN.subarray(at, at + 1));
      await delay(20);
    }
  };
  const strangers = await Promise.all(Array.from({ length: 150 }, (_, nth) => open(nth)));
  const friends = [];
  for (let i = 0; i < 9; i++) friends.push(await RawClient.login(port));
  for (const friend of friends) await asks(t, friend, 'others get in, up to the limit');
  t.equal(await knock(port), 'E:53300', 'one more than the limit is not let in');
  const said = await Promise.all(strangers.map((stranger) => stranger.end()));
  dripping = false;
  t.same(said.flat(), [], 'the others are ended in time, without a word');
  for (const client of [...strangers, ...friends]) client.destroy();
  await until('nothing of them is left', () => filesOf(proxy) <= files);
  await asks(t, witness, 'a session that was there before lives on');
  witness.destroy();
});

t.test('more strangers than there is room for', async (t) => {
  const { proxy, port } = await start(t, '--login-timeout', '3s', '--max-connections', '10');
  const witness = await RawClient.login(port);
  const files = filesOf(proxy);
  const room = 10 + BEYOND - 1;
  const first = await Promise.all(Array.from({ length: room }, () => RawClient.open(port)));
  const late = await Promise.all(Array.from({ length: 40 }, () => RawClient.open(port)));
  const told = await Promise.all(late.map(async (client) => brief(await client.end())));
  t.ok(told.includes('E:53300'), 'those for whom there is none are told at once');
  const said = await Promise.all(first.map((client) => client.end()));
  t.same(said.flat(), [], 'the first are ended in time');
  await until('others get in', async () => (await knock(port)) === 'Z:I');
  for (const client of [...first, ...late]) client.destroy();
  await until('nothing of them is left', () => filesOf(proxy) <= files);
  await asks(t, witness, 'a session lives on');
  witness.destroy();
});

t.test('a storm of CancelRequests', async (t) => {
  t.comment(`SEED=${SEED}`);
  const random = seeded(SEED);
  const { proxy, port } = await start(t, '--login-timeout', '1s', '--max-connections', '20');
  const keyed = async () => {
    const client = await RawClient.open(port);
    client.send(startupPacket({ user: 'postgres', database: 'postgres' }));
    return { client, key: (await client.ready()).find(({ type }) => type === 'K')!.body };
  };
  const target = await keyed();
  const friends = await Promise.all(Array.from({ length: 5 }, keyed));
  const sleeper = await keyed();
  sleeper.client.send(Q('SELECT pg_sleep(600)'));
  const files = filesOf(proxy);
  const right = cancelRequest(target.key);
  const wrongKey = Buffer.from(right);
  wrongKey.writeInt32BE(wrongKey.readInt32BE(12) ^ 1, 12);
  const packets = () =>
    pick(random, [
      right,
      wrongKey,
      Buffer.concat([wrongKey.subarray(0, 8), Buffer.alloc(8, Math.floor(random() * 256))]),
      right.subarray(0, 4 + Math.floor(random() * 12)),
      Buffer.concat([right, right]),
      Buffer.from([0, 0, 0, 8, 4, 210, 22, 46]),
      Buffer.from([0, 0, 1, 200, 4, 210, 22, 46, ...Buffer.alloc(448)]),
    ]);
  const sent = { all: 0, ended: 0 };
  const attack = async () => {
    while (sent.all < CANCELS) {
      sent.all++;
      const client = await RawClient.open(port).catch(() => null);
      if (!client) continue;
      client.send(packets());
      await client.end();
      client.destroy();
      sent.ended++;
    }
  };
  const attacks = Promise.all(Array.from({ length: 100 }, attack));
  let over = false;
  const ended = attacks.finally(() => {
    over = true;
  });
  const wrong: string[] = [];
  let asked = 0;
  for (; !over; asked++) {
    const { client } = friends[asked % friends.length]!;
    client.send(Q(`SELECT ${asked}`));
    const answer = brief(await client.ready());
    if (answer !== `T D:${asked} C:SELECT 1 Z:I`) wrong.push(answer);
    await delay(5);
  }
  t.same(wrong, [], `${asked} answers to others`);
  await ended;
  t.comment(`${sent.ended} of ${sent.all}`);
  await until('a right cancel gets through', async () => {
    const client = await RawClient.open(port);
    client.send(cancelRequest(sleeper.key));
    await client.end();
    client.destroy();
    return sleeper.client.messages.some(({ type }) => type === 'Z');
  });
  t.match(brief(await sleeper.client.ready()), /E:57014 Z:I$/);
  await until('nothing of it is left', () => filesOf(proxy) <= files);
  await asks(t, target.client, 'who was cancelled while idle lives on');
  for (const { client } of [target, sleeper, ...friends]) client.destroy();
});
