/**
 * What other proxies got wrong, one lesson a test: bytes, limits and the ends of connections.
 * Covered elsewhere: requests for encryption and a start-up packet a byte at a time, the end of
 * either side, a slow reader (relay.test.ts), any split of a stream (frames.test.ts),
 * lengths that lie (hostile.test.ts).
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                                   | fails                        |
 * | -------------------------------------------------------- | ---------------------------- |
 * | frontend: Flush is dropped; ledger: `s` ends no Execute  | Flush and PortalSuspended    |
 * | session: `drain` of either side resumes nothing          | two full pipes               |
 * | frontend: another reason than `too-large`                | up to a limit                |
 * | startup: `maxBytes` not looked at; limits: 4 bytes less  | a start-up packet            |
 * | frontend: no limit on small messages                     | small messages               |
 * | backend: no limit on types never long, or on notices     | backend messages             |
 * | session: the login timer is not cleared; door: never set | a time for logging in        |
 * | session: `abandon`, or a half-close, leaves the server   | a client that goes           |
 * | session: an error of our own when the server ends        | when the server goes         |
 * | ledger: a notice with nothing pending is a mismatch      | when the server goes         |
 * | backend: BackendKeyData needed for being logged in       | BackendKeyData may be absent |
 * | dial: without `noDelay`                                  | noDelay on both sides        |
 * | session: what came before a lie is not answered          | small messages               |
 */
import { createServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import t from 'tap';
import { message } from '../../proxy/messages.js';
import { bench, front, RawClient, until } from './harness.js';
import { ruled } from './ruled.js';
import {
  B,
  brief,
  C,
  D,
  E,
  error,
  H,
  P,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  Q,
  S,
  startupPacket,
} from './wire.js';

t.setTimeout(120_000);

const m = (type: string, body: Buffer | string = '') => message(type.charCodeAt(0), body);
const HELLO = Buffer.concat([m('R', '\0\0\0\0'), m('Z', 'I')]);

const END = Buffer.concat([m('C', 'SELECT 0\0'), m('Z', 'I')]);

/** A server that says what it is told to: `talk` has the socket and what came. */
async function fake(
  t: Parameters<typeof front>[0],
  talk: (socket: Socket, chunk: Buffer, nth: number) => void,
) {
  const server = createServer((socket) => {
    let nth = 0;
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => talk(socket, chunk, nth++));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}`, async (t) => {
    const b = await ruled(t, major, { limits: { loginTimeoutMs: 400 } });
    const backends = async () => {
      const rows = await b.direct(
        `SELECT pid::int FROM pg_stat_activity WHERE backend_type = 'client backend'
         AND pid <> pg_backend_pid() ORDER BY backend_start`,
      );
      return rows.map((row) => Number(row[0]));
    };

    await t.test('Flush and PortalSuspended are passed at once', async (t) => {
      const client = await RawClient.login(b.port);
      client.send(P('', 'SELECT generate_series(1, 3)'), B('', ''), D('P'), H);
      await client.wait(() => client.messages.some((m) => m.type === 'T'));
      client.send(E('', 2), H);
      await client.wait(() => client.messages.some((m) => m.type === 's'));
      client.send(E('', 2), H);
      await client.wait(() => client.messages.some((m) => m.type === 'C'));
      client.send(S);
      t.equal(brief(await client.ready()), '1 2 T D:1 D:2 s D:3 C:SELECT 1 Z:I');
      client.destroy();
    });

    await t.test('two full pipes do not deadlock: both sides are read', async (t) => {
      const client = await RawClient.login(b.port);
      const text = `SELECT repeat('y', 100000) -- ${'z'.repeat(100_000)}`;
      const n = 300;
      // All is written before anything is read, far beyond what sockets hold.
      client.socket.pause();
      for (let i = 0; i < n; i++) client.send(P('', text), B('', ''), E(), S);
      await until('the server waits for its client', async () => {
        const rows = await b.direct(
          "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'",
        );
        return rows.length > 0;
      });
      client.socket.resume();
      const messages = await client.ready(n);
      t.equal(messages.filter((m) => m.type === 'D').length, n);
      client.destroy();
    });

    await t.test('a start-up packet: the limit is that of the server, to the byte', async (t) => {
      for (const [length, starts] of [
        [10_004, true],
        [10_005, false],
      ] as const) {
        const base = startupPacket({ user: 'postgres', application_name: '' });
        const application_name = 'a'.repeat(length - base.length);
        const packet = startupPacket({ user: 'postgres', application_name });
        t.equal(packet.length, length);
        const { cluster } = b;
        for (const port of [cluster.port, b.port]) {
          const client = await RawClient.open(port);
          client.send(packet);
          const messages = await client.ready();
          if (starts) t.match(brief(messages), /Z:I$/);
          // The server itself closes without a word; we say why.
          else t.match(brief(messages), port === b.port ? /^E:08P01$/ : /^$/);
          client.destroy();
        }
      }
    });

    await t.test('small messages: the limit is that of the server, to the byte', async (t) => {
      const small = (type: string, length: number) =>
        m(type, Buffer.concat([Buffer.from(`S${'n'.repeat(length - 6)}`), Buffer.alloc(1)]));
      for (const type of ['D', 'C', 'E', 'H', 'S', 'X', 'c', 'f', 'p']) {
        const length = 10_005;
        const answers: string[] = [];
        for (const port of [b.cluster.port, b.port]) {
          const client = await RawClient.login(port);
          client.send(Q('SELECT 1'), small(type, length));
          answers.push(brief(await client.end()));
          client.destroy();
        }
        // The server closes without a word; where we have read the message ourselves, we say why.
        const silent = ['D', 'C', 'E'].includes(type);
        t.equal(answers[1], `${answers[0]}${silent ? ' E:08P01' : ''}`, `${type} of ${length}`);
      }
      const client = await RawClient.login(b.port);
      client.send(small('D', 9_999), S);
      t.equal(brief(await client.ready()), 'E:26000 Z:I', 'the longest that there may be');
      client.destroy();
    });

    await t.test('Query, Parse and Bind are read up to a limit, and go by beyond it', async (t) => {
      const client = await RawClient.login(b.port);
      await b.rule("'x', 'y'");
      const long = `SELECT length($1) FROM (VALUES (1)) users -- ${'z'.repeat(9_000_000)}`;
      client.send(P('', long, [25]), B('', '', ['v'.repeat(20_000_000)]), E(), S, Q(long));
      t.equal(brief(await client.ready(2)), '1 2 D:20000000 C:SELECT 1 Z:I E:42P02 Z:I');
      t.equal(await b.metric('pgtandem_guarded_total', { reason: 'too-large' }), 2);
      client.destroy();
    });

    await t.test('there is a time for logging in, and it ends with the login', async (t) => {
      const silent = await RawClient.open(b.port);
      const half = await RawClient.open(b.port);
      half.send(startupPacket({ user: 'postgres' }).subarray(0, 11));
      const user = await RawClient.login(b.port);
      t.equal(brief(await silent.end()), '', 'closed without a word, as the server would');
      t.equal(brief(await half.end()), '');
      user.send(Q('SELECT 1'));
      t.match(brief(await user.ready()), /Z:I$/, 'who has logged in stays');
      user.destroy();
    });

    await t.test('a client that goes takes its server connection along, at once', async (t) => {
      await until('none is left', async () => (await backends()).length === 0);
      const ways: [string, (client: RawClient) => void][] = [
        ['by a reset', (client) => client.socket.resetAndDestroy()],
        ['within a message', (client) => client.send(P('s', 'SELECT 1').subarray(0, 9))],
        ['within a header', (client) => client.send(P('s', 'SELECT 1').subarray(0, 3))],
        ['within a Bind', (client) => client.send(B('', 's', ['xxxx']).subarray(0, 14))],
        ['with an answer unread', (client) => client.send(Q('SELECT 1'))],
        ['within COPY', (client) => client.send(Q('COPY users FROM STDIN'))],
        ['half-closed in a transaction', (client) => client.socket.end()],
      ];
      for (const [how, leave] of ways) {
        const client = await RawClient.login(b.port);
        client.send(Q('BEGIN; LOCK TABLE users'));
        await client.ready();
        leave(client);
        if (!client.socket.writableEnded) client.socket.destroy();
        await b.direct("SET lock_timeout = '5s'; SELECT count(*) FROM users");
        await until(`no backend, no session: ${how}`, async () => {
          return (await backends()).length === 0 && b.proxy.stats().connections === 0;
        });
        t.pass(how);
        client.destroy();
      }
      await t.resolves(b.direct('CREATE DATABASE gone'));
      const other = await RawClient.login(b.port, { database: 'gone' });
      other.destroy();
      await until('the session has ended', () => b.proxy.stats().connections === 0);
      await t.resolves(b.direct('DROP DATABASE gone'), 'what many tools do right after');
    });

    await t.test('a protocol option that is not known is negotiated down', async (t) => {
      for (const [options, version] of [
        [{ '_pq_.nonsense': '1' }, PROTOCOL_3_0],
        [{ '_pq_.nonsense': '1' }, PROTOCOL_3_2],
        [{}, 0x3270f],
      ] as const) {
        const packet = startupPacket(
          { user: 'postgres', database: 'postgres', ...options },
          version,
        );
        const said: (string | undefined)[] = [];
        for (const port of [b.cluster.port, b.port]) {
          const client = await RawClient.open(port);
          client.send(packet);
          const messages = await client.ready();
          said.push(messages.find((m) => m.type === 'v')?.body.toString('hex'));
          client.send(Q('SELECT 1'));
          t.match(brief(await client.ready()), /D:1 C:SELECT 1 Z:I$/);
          client.destroy();
        }
        t.equal(said[1], said[0], 'in the words of the server');
        t.ok(said[0]);
      }
    });
  });

  t.test(
    `PostgreSQL ${major}: when the server goes, what it said is passed and nothing added`,
    async (t) => {
      const b = await bench(t, { major });
      const control = await b.cluster.client();
      control.on('error', () => undefined);
      const pids: number[] = [];
      const clients: RawClient[] = [];
      for (let i = 0; i < 3; i++) {
        const client = await RawClient.open(b.port);
        client.send(startupPacket({ user: 'postgres', database: 'postgres' }));
        pids.push((await client.ready()).find((m) => m.type === 'K')!.body.readInt32BE(0));
        clients.push(client);
      }
      const [idle, victim, busy] = clients;
      busy!.send(Q('BEGIN'));
      await busy!.ready();
      await control.query('SELECT pg_terminate_backend($1)', [pids[0]]);
      t.equal(brief(await idle!.end()), 'E:57P01');
      process.kill(pids[1]!, 'SIGKILL');
      t.equal(brief(await victim!.end()), '', 'it had nothing to say');
      t.same(
        (await busy!.end()).map((m) => `${m.type}:${error(m).code}`),
        ['N:57P02'],
        'a warning that nobody asked for, while nothing was pending',
      );
      await until('no session is left', () => b.proxy.stats().connections === 0);
      t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
      t.same(b.errors, []);
    },
  );
}

t.test('backend messages over 30,000 bytes of a type that is never long: lost sync', async (t) => {
  const short = ['C', 'Z', '1', '2', '3', 's', 'n', 'I', 'G', 'H', 'K', 'S', 'c', 'v'];
  const long = ['T', 'D', 'd', 'V', 'E', 'N', 'A'];
  for (const type of [...short, ...long]) {
    const header = Buffer.from([type.charCodeAt(0), 0, 0, 0x75, 0x31]);
    const port = await fake(t, (socket, _chunk, nth) => {
      if (nth === 0) socket.write(HELLO);
      else
        socket.write(
          Buffer.concat([header, Buffer.alloc(29_997), type === 'V' ? END.subarray(14) : END]),
        );
    });
    const b = await front(t, { port } as Parameters<typeof front>[1]);
    const client = await RawClient.login(b.port);
    client.send(type === 'V' ? m('F', '\0\0\0\0\0\0\0\0\0\0') : Q('SELECT 1'));
    const isShort = short.includes(type);
    const messages = isShort ? await client.end() : [];
    if (isShort) t.equal(brief(messages), 'E:08P01', type);
    else {
      await client.wait(() => client.messages.some((m) => m.type === 'Z'));
      t.equal(client.messages[0]?.body.length, 29_997, type);
    }
    t.equal(await b.metric('pgtandem_out_of_sync_total'), isShort ? 1 : 0);
    client.destroy();
  }
});

t.test('BackendKeyData may be absent', async (t) => {
  const port = await fake(t, (socket, _chunk, nth) => {
    if (nth === 0) socket.write(HELLO);
    else socket.write(END);
  });
  const b = await front(t, { port } as Parameters<typeof front>[1], { loginTimeoutMs: 200 });
  const client = await RawClient.login(b.port);
  await new Promise((resolve) => setTimeout(resolve, 300));
  client.send(Q('SELECT 1'));
  t.equal(brief(await client.ready()), 'C:SELECT 0 Z:I', 'it counts as logged in');
  client.send(Q('SELECT 2'));
  b.proxy.closeTouching('nothing is touched');
  t.match(brief(await client.ready()), /Z:I$/);
  client.destroy();
});

t.test('noDelay on both sides: small messages do not wait for an acknowledgement', async (t) => {
  const b = await bench(t);
  const client = await RawClient.login(b.port);
  const rounds = 60;
  const times: number[] = [];
  // Several writes in a row each: Nagle's algorithm would hold back the second until the
  // acknowledgement, which the other side delays by 40 ms.
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    for (const part of [P('', 'SELECT 1'), B('', ''), E(), C('S', 'x'), S]) {
      client.send(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.ready();
    times.push(performance.now() - start);
  }
  // In the first rounds the other side acknowledges at once; of the rest the fastest are those that
  // a busy machine has not held up.
  const fast = times.slice(20).sort((a, b) => a - b)[10]!;
  t.ok(fast < 35, `${fast.toFixed(1)} ms for a pipeline`);
  client.destroy();
});
