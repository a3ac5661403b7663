import { createServer, type Socket } from 'node:net';
import t from 'tap';
import { Metrics } from '../../metrics/registry.js';
import { message } from '../../proxy/messages.js';
import { Proxy as PgProxy } from '../../proxy/proxy.js';
import { RawClient, until } from './harness.js';
import { FakeRewriter } from './rewriter.js';
import { brief, error, startupPacket } from './wire.js';

t.setTimeout(30_000);

const int32 = (value: number) => {
  const four = Buffer.alloc(4);
  four.writeInt32BE(value);
  return four;
};
const R = (step: number, text: string) => message(0x52, int32(step), text);
const LIST = R(10, 'SCRAM-SHA-256\0\0');
const VERIFIER = `SCRAM-SHA-256$4096:c2FsdA==$${Buffer.alloc(32).toString('base64')}:${Buffer.alloc(32, 1).toString('base64')}`;

/** A proxy that ends SCRAM, before a server that says what the test says to each thing it hears. */
async function before(
  t: { teardown(fn: () => unknown): void },
  said: (heard: Buffer, count: number) => Buffer | null,
) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    let count = 0;
    socket.on('error', () => undefined);
    socket.on('data', (heard) => {
      const answer = said(heard, count++);
      if (answer) socket.write(answer);
      else socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const warnings: string[] = [];
  const log = (_fields: object, text: string) => void warnings.push(text);
  const proxy = new PgProxy({
    upstream: { host: '127.0.0.1', port },
    listen: { host: '127.0.0.1', port: 0 },
    database: 'postgres',
    metrics: new Metrics(),
    log: { info: () => undefined, warn: log, error: log },
    makeRewriter: (rules) => new FakeRewriter(rules),
    scram: 'terminate',
    verifierOf: async () => VERIFIER,
  });
  const bound = await proxy.listen();
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await proxy.close(0);
    server.close();
  });
  const client = await RawClient.open(bound.port);
  client.send(startupPacket({ user: 'ann', database: 'postgres' }));
  return { client, proxy, sockets, warnings };
}

const first = Buffer.from('n,,n=,r=abcdefgh');
const INITIAL = message(0x70, 'SCRAM-SHA-256\0', int32(first.length), first);

/** What a server with another salt would say to a client's first message. */
const challengeFor = (heard: Buffer) =>
  R(11, `r=${/r=([^,]+)$/.exec(heard.toString('latin1'))![1]}more,s=c2FsdA==,i=4096`);

/** Sends a proof, right in form only. */
async function prove(client: RawClient): Promise<void> {
  await client.wait(() => client.messages.length > 0);
  client.send(INITIAL);
  await client.wait(() => client.messages.length > 1);
  const nonce = /r=([^,]+)/.exec(client.messages[1]!.body.toString('latin1'))![1];
  client.send(message(0x70, `c=biws,r=${nonce},p=${Buffer.alloc(32).toString('base64')}`));
}

t.test('a server that takes a wrong proof is not believed', async (t) => {
  const { client, warnings } = await before(t, (heard, count) => {
    if (count === 0) return LIST;
    if (count === 1) return challengeFor(heard);
    return Buffer.concat([R(12, 'v=AAAA'), R(0, ''), message(0x5a, 'I')]);
  });
  await prove(client);
  const said = await client.end();
  t.equal(brief(said), 'R R E:08006');
  t.match(error(said.at(-1)!).message, /has not proved/);
  t.match(warnings.at(-1), /has not proved/);
});

t.test('a server that goes in the middle, or talks nonsense', async (t) => {
  for (const answer of [null, Buffer.from('R\xff\xff\xff\xff', 'latin1'), R(11, 'nonsense')]) {
    const { client, proxy } = await before(t, (_heard, count) => (count === 0 ? LIST : answer));
    await client.wait(() => client.messages.length > 0);
    client.send(INITIAL);
    t.match(brief(await client.end()), /^R( E:08P01)?$/);
    t.equal(proxy.stats().connections, 0);
  }
});

t.test('an error in place of a challenge, and notices before it, are passed on', async (t) => {
  const refusal = message(0x45, 'SFATAL\0C53300\0Mtoo many\0\0');
  const notice = message(0x4e, 'SNOTICE\0Mhello\0\0');
  const { client } = await before(t, () => Buffer.concat([notice, refusal]));
  await client.wait(() => client.messages.length > 1);
  t.same(client.messages.map(({ type }) => type).join(''), 'NE');
  client.destroy();
});

t.test('a client that goes during its login takes the server connection with it', async (t) => {
  const { client, sockets, proxy } = await before(t, () => LIST);
  await client.wait(() => client.messages.length > 0);
  client.destroy();
  await until('the server is left', () => sockets[0]!.destroyed);
  t.equal(proxy.stats().connections, 0);
});

t.test('the proxy ends during a login: its client is told', async (t) => {
  const { client, proxy, sockets } = await before(t, () => LIST);
  await client.wait(() => client.messages.length > 0);
  const closing = proxy.close(1000);
  t.equal(brief(await client.end()), 'R E:57P01');
  client.destroy();
  await closing;
  await until('the server is left', () => sockets[0]!.destroyed);
});
