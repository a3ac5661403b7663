import { createServer } from 'node:net';
import pg from 'pg';
import postgres from 'postgres';
import t from 'tap';
import { freePort } from '../../cli/demo/cluster.js';
import { bench, front, RawClient, until } from './harness.js';
import {
  B,
  brief,
  copyData,
  copyDone,
  E,
  error,
  GSS_REQUEST,
  H,
  P,
  PROTOCOL_3_2,
  Q,
  S,
  SSL_REQUEST,
  startupPacket,
} from './wire.js';

t.setTimeout(300_000);

const HBA = ['trust', 'password', 'md5', 'scram-sha-256']
  .map((method) => `host all ${method === 'trust' ? 'postgres' : method} 127.0.0.1/32 ${method}`)
  .join('\n');

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: authentication is relayed, whatever the method`, async (t) => {
    const b = await bench(t, { major, hba: HBA });
    const control = await b.cluster.client();
    for (const method of ['password', 'md5', 'scram-sha-256']) {
      const stored = method === 'md5' ? 'md5' : 'scram-sha-256';
      await control.query(`SET password_encryption = '${stored}'`);
      await control.query(`CREATE ROLE "${method}" LOGIN PASSWORD 'secret'`);
    }
    await control.end();
    const { host, port } = b;
    for (const user of ['postgres', 'password', 'md5', 'scram-sha-256']) {
      const client = new pg.Client({ host, port, user, database: 'postgres', password: 'secret' });
      await client.connect();
      t.equal((await client.query('SELECT current_user AS u')).rows[0].u, user);
      await client.end();
    }
    const wrong = new pg.Client({ host, port, user: 'md5', database: 'postgres', password: 'no' });
    await t.rejects(wrong.connect(), { code: '28P01' });
    t.same(b.errors, []);
  });

  t.test(`PostgreSQL ${major}: drivers work as on a direct connection`, async (t) => {
    const b = await bench(t, { major });
    const client = new pg.Client({ connectionString: b.url() });
    await client.connect();
    t.same((await client.query('SELECT $1::int + 1 AS n', [41])).rows, [{ n: 42 }]);
    await t.rejects(client.query('SELECT * FROM nowhere'), { code: '42P01', position: '15' });
    await client.query('CREATE TABLE notes (id serial PRIMARY KEY, note text)');
    for (let i = 0; i < 3; i++) {
      await client.query({
        name: 'add',
        text: 'INSERT INTO notes (note) VALUES ($1)',
        values: [`n${i}`],
      });
    }
    const heard = new Promise((resolve) => client.on('notification', resolve));
    await client.query('LISTEN here');
    const sql = postgres(b.url(), { max: 3, onnotice: () => undefined });
    const many = await Promise.all(
      Array.from({ length: 200 }, (_, i) => sql`SELECT ${i}::int AS i`),
    );
    t.same(
      many.map(([row]) => row?.i),
      Array.from({ length: 200 }, (_, i) => i),
      'pipelined',
    );
    await sql`NOTIFY here, 'hello'`;
    t.match(await heard, { channel: 'here', payload: 'hello' });
    await t.rejects(
      sql.begin(async (tx) => {
        await tx`INSERT INTO notes (note) VALUES ('gone')`;
        await tx`SELECT 1/0`;
      }),
      { code: '22012' },
    );
    const read: number[] = [];
    await sql`SELECT generate_series(1, 1000)::int AS g`.cursor(100, (rows) => {
      read.push(rows.length);
    });
    t.equal(
      read.reduce((a, n) => a + n, 0),
      1000,
      'a suspended portal goes on',
    );
    t.same((await client.query('SELECT count(*)::int AS n FROM notes')).rows, [{ n: 3 }]);
    t.equal(await b.metric('pgtandem_client_connections'), b.proxy.stats().connections);
    await Promise.all([client.end(), sql.end()]);
    await until('sessions gone', () => b.proxy.stats().connections === 0);
    t.equal(await b.metric('pgtandem_client_connections'), 0);
    t.ok((await b.metric('pgtandem_request_seconds')) > 200);
    t.same(b.errors, []);
  });

  t.test(`PostgreSQL ${major}: COPY in and out carries a large amount`, async (t) => {
    const b = await bench(t, { major });
    const client = await RawClient.login(b.port);
    client.send(Q('CREATE TABLE big (a text)'));
    await client.ready();
    client.send(Q('COPY big FROM STDIN'));
    await client.wait(() => client.messages.some((m) => m.type === 'G'));
    const line = `${'x'.repeat(9_999)}\n`;
    for (let i = 0; i < 2_000; i++) client.send(copyData(line));
    client.send(copyDone);
    t.match(brief(await client.ready()), /C:COPY 2000 Z:I$/);
    client.send(Q('COPY big TO STDOUT'));
    const out = await client.ready();
    t.equal(out.filter((m) => m.type === 'd').length, 2_000);
    t.equal(out.find((m) => m.type === 'd')!.body.toString(), line);
    client.destroy();
  });

  t.test(`PostgreSQL ${major}: a query is cancelled from another connection`, async (t) => {
    const b = await bench(t, { major });
    for (const version of major >= 18 ? [0x30000, PROTOCOL_3_2] : [0x30000]) {
      const packet = startupPacket({ user: 'postgres', database: 'postgres' }, version);
      const client = await RawClient.open(b.port);
      client.send(packet);
      const key = (await client.ready()).find((m) => m.type === 'K')!.body;
      t.equal(
        key.length,
        version === PROTOCOL_3_2 ? 36 : 8,
        'the key has the length of its protocol',
      );
      client.send(Q('SELECT pg_sleep(60)'));
      const control = await b.cluster.client();
      await until('it runs', async () => {
        const { rows } = await control.query(
          `SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'`,
        );
        return rows.length > 0;
      });
      await control.end();
      const cancel = await RawClient.open(b.port);
      const header = Buffer.alloc(8);
      header.writeInt32BE(8 + key.length, 0);
      header.writeInt32BE(80877102, 4);
      cancel.send(header, key);
      await cancel.end();
      t.equal(brief(await client.ready()).replace('T ', ''), 'E:57014 Z:I');
      client.destroy();
    }
  });

  t.test(`PostgreSQL ${major}: an end on either side is an end on the other`, async (t) => {
    const b = await bench(t, { major });
    const control = await b.cluster.client();
    const backends = async () => {
      const { rows } = await control.query(
        `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
         AND pid <> pg_backend_pid()`,
      );
      return rows.map((row) => row.pid as number);
    };
    const killed = await RawClient.login(b.port);
    killed.send(Q('BEGIN'));
    await killed.ready();
    await control.query('SELECT pg_terminate_backend($1)', [(await backends())[0]]);
    t.equal(brief(await killed.end()), 'E:57P01', 'its own words, and nothing after them');
    const gone = await RawClient.login(b.port);
    gone.send(Q('BEGIN; CREATE TABLE locked (a int)'));
    await gone.ready();
    gone.destroy();
    await until('its backend has ended', async () => (await backends()).length === 0);
    const amid = await RawClient.login(b.port);
    amid.send(P('', 'SELECT 1').subarray(0, 9));
    amid.destroy();
    await until('the one amid a message too', async () => (await backends()).length === 0);
    const half = await RawClient.login(b.port);
    half.send(Q('SELECT 7'));
    half.socket.end();
    t.match(brief(await half.end()), /D:7 C:SELECT 1 Z:I/, 'half-closed: the answer still comes');
    await until('no session is left', () => b.proxy.stats().connections === 0);
    const running = await RawClient.login(b.port);
    running.send(Q('SELECT 1'));
    await running.ready();
    const [victim] = await backends();
    // The server ends every other session with it, control's maybe before running's end is seen.
    control.on('error', () => undefined);
    process.kill(victim!, 'SIGKILL');
    t.equal(brief(await running.end()), '', 'a server that is killed says nothing, and so do we');
    t.same(b.errors, []);
  });
}

t.test(
  'requests for encryption are declined, and what follows in the same read is refused',
  async (t) => {
    const b = await bench(t);
    const polite = await RawClient.open(b.port);
    polite.send(SSL_REQUEST);
    t.equal(await polite.byte(), 'N');
    polite.send(GSS_REQUEST);
    t.equal(await polite.byte(), 'N');
    const packet = startupPacket({ user: 'postgres', database: 'postgres' });
    for (const byte of packet) polite.send(Buffer.from([byte]));
    t.match(brief(await polite.ready()), /R K Z:I/, 'a start-up packet a byte at a time');
    polite.destroy();
    const injected = await RawClient.open(b.port);
    injected.send(SSL_REQUEST, packet);
    t.equal(brief(await injected.end()), 'E:08P01');
    const half = await RawClient.open(b.port);
    half.send(packet.subarray(0, 6));
    half.socket.end();
    t.equal(brief(await half.end()), '');
    const html = await RawClient.open(b.port);
    html.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    t.equal(brief(await html.end()), 'E:08P01');
  },
);

t.test('a version that is not known is negotiated by the server', async (t) => {
  const b = await bench(t, { major: 14 });
  const client = await RawClient.open(b.port);
  client.send(
    startupPacket({ user: 'postgres', database: 'postgres', '_pq_.x': '1' }, PROTOCOL_3_2),
  );
  t.match(brief(await client.ready()), /^v .*Z:I$/);
  client.destroy();
});

t.test('lies in lengths end the session with 08P01', async (t) => {
  const b = await bench(t);
  for (const lie of [Buffer.from('Q\0\0\0\x03abc'), Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])]) {
    const client = await RawClient.login(b.port);
    client.send(Q('SELECT 1'), lie);
    t.match(brief(await client.end()), /E:08P01$/);
  }
  await until('no session is left', () => b.proxy.stats().connections === 0);
});

t.test('a server that lies, or answers what was not asked, ends the session', async (t) => {
  const hello = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);
  const lies: [Buffer, number][] = [
    [Buffer.from([0x5a, 0, 0, 0, 5, 0x49]), 1],
    [Buffer.from([0x43, 0, 1, 0, 0, 0x49]), 1],
    [Buffer.from([0x31, 0, 0, 0, 2]), 1],
  ];
  for (const [lie, count] of lies) {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write(hello);
        socket.once('data', () => socket.write(lie));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const b = await front(t, { port } as Parameters<typeof front>[1]);
    const client = await RawClient.login(b.port);
    client.send(P('', 'SELECT 1'), S);
    t.equal(brief(await client.end()), 'E:08P01');
    t.equal(await b.metric('pgtandem_out_of_sync_total'), count);
    server.close();
  }
});

t.test('limits: connections, the login, the server that is not there', async (t) => {
  const b = await bench(t, { limits: { connections: 1, loginTimeoutMs: 300 } });
  const silent = await RawClient.open(b.port);
  t.equal(brief(await silent.end()), '', 'closed without a word, as the server would');
  const first = await RawClient.login(b.port);
  const second = await RawClient.open(b.port);
  second.send(startupPacket({ user: 'postgres' }));
  const [refusal] = await second.end();
  t.match(error(refusal!), { code: '53300', message: 'sorry, too many clients already' });
  first.destroy();
  const nowhere = await front(t, { port: await freePort() } as Parameters<typeof front>[1]);
  const lost = await RawClient.open(nowhere.port);
  lost.send(startupPacket({ user: 'postgres' }));
  t.equal(brief(await lost.end()), 'E:08006');
  t.equal(await nowhere.metric('pgtandem_errors_total', { kind: 'upstream' }), 1);
});

t.test('a slow reader of a large result does not grow memory', async (t) => {
  const b = await bench(t);
  const client = await RawClient.login(b.port);
  client.socket.pause();
  const before = process.memoryUsage().rss;
  client.send(Q(`SELECT repeat('x', 10000) FROM generate_series(1, 30000)`));
  const control = await b.cluster.client();
  await until('the server waits for its client', async () => {
    const { rows } = await control.query(
      `SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'`,
    );
    return rows.length > 0;
  });
  const grown = process.memoryUsage().rss - before;
  t.ok(grown < 60e6, `${Math.round(grown / 1e6)} MB of 300 MB`);
  await control.end();
  client.destroy();
  await until('the session is gone', () => b.proxy.stats().connections === 0);
});

t.test('both directions full at once do not deadlock', async (t) => {
  const b = await bench(t);
  const client = await RawClient.login(b.port);
  const text = `SELECT repeat('y', 100000) -- ${'z'.repeat(100_000)}`;
  const n = 300;
  // All is written before anything is read, far beyond what sockets hold.
  for (let i = 0; i < n; i++) client.send(P('', text), B('', ''), E(), S);
  const messages = await client.ready(n);
  t.equal(messages.filter((m) => m.type === 'D').length, n);
  client.destroy();
});

t.test('Flush and a suspended portal are passed at once', async (t) => {
  const b = await bench(t);
  const client = await RawClient.login(b.port);
  client.send(P('', 'SELECT generate_series(1, 3)'), B('', ''), E('', 2), H);
  await client.wait(() => client.messages.some((m) => m.type === 's'));
  client.send(E('', 2), H);
  await client.wait(() => client.messages.some((m) => m.type === 'C'));
  client.send(S);
  t.equal(brief(await client.ready()), '1 2 D:1 D:2 s D:3 C:SELECT 1 Z:I');
  client.destroy();
});

t.test('replication connections are relayed raw', async (t) => {
  const b = await bench(t);
  const client = await RawClient.login(b.port, { replication: 'database' });
  client.send(Q('IDENTIFY_SYSTEM'));
  t.match(brief(await client.ready()), /C:IDENTIFY_SYSTEM Z:I/);
  const { length } = await client.messages;
  client.send(Q(`CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding`));
  const made = await client.ready();
  t.match(brief(made), /Z:I$/);
  const slot = brief(made).includes('E:') ? null : 's';
  if (slot) {
    client.send(Q(`START_REPLICATION SLOT s LOGICAL 0/0`));
    await client.wait(() => client.messages.length > length);
    t.equal(client.messages[0]!.type, 'W');
  }
  client.destroy();
});

t.test(
  'close ends idle sessions at once and lets the others finish within the limit',
  async (t) => {
    const b = await bench(t);
    const idle = await RawClient.login(b.port);
    const busy = await RawClient.login(b.port);
    const stuck = await RawClient.login(b.port);
    busy.send(Q('BEGIN'));
    await busy.ready();
    stuck.send(Q('BEGIN'));
    await stuck.ready();
    const closed = b.proxy.close(500);
    t.equal(brief(await idle.end()), 'E:57P01');
    busy.send(Q('SELECT 1'), Q('COMMIT'));
    t.equal(brief(await busy.end()), 'T D:1 C:SELECT 1 Z:T C:COMMIT Z:I E:57P01');
    t.equal(brief(await stuck.end()), 'E:57P01', 'at the limit');
    await closed;
    await t.rejects(RawClient.open(b.port), { code: 'ECONNREFUSED' });
  },
);
