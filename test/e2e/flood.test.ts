/**
 * Much of one thing, through a real proxy process whose memory is looked at from outside: a million
 * tiny messages, results that nobody reads, COPY that the server does not take. What is stated is a
 * bound on the growth of what is resident and of no file; no time is.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                                        | fails           |
 * | ------------------------------------------------------------- | --------------- |
 * | session: the server is read on while the client does not take | a slow reader   |
 * | session: the client is read on while the server does not take | a huge COPY     |
 * | handle-wire: a write that fails ends the reading too          | an unknown type |
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import t, { type Test } from 'tap';
import { family, residentOf } from '../../bench/relay/process.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { message } from '../../proxy/messages.js';
import { RawClient } from '../proxy/harness.js';
import { B, brief, copyData, copyDone, E, H, P, Q, S, startupPacket } from '../proxy/wire.js';
import { until } from './clients.js';

t.setTimeout(process.env.LONG ? 3_600_000 : 300_000);

const MB = 1024 * 1024;
/** By which the proxy may grow, keeper and worker together, once it is warm. */
const GROWTH = 32 * MB;
const MILLION = 1_000_000;
/** Where each costs the test, the proxy or the server a system call, or more. */
const FEWER = process.env.LONG ? MILLION : 100_000;

let cluster: Cluster;
let proxy: ProxyProcess;
let control: pg.Client;
t.before(async () => {
  cluster = await Cluster.create();
  proxy = await ProxyProcess.start(cluster.url());
  control = await cluster.client();
  // The thread of coordinators takes memory of its own, which is no growth.
  await until('its coordinator is at work', async () => {
    const { rowCount } = await control.query(
      `SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'pgtandem coordinator'`,
    );
    return rowCount === 1;
  });
});
t.teardown(async () => {
  await control.end();
  await proxy.end('SIGKILL');
  await cluster.destroy();
});

/** Whether the server has something to say that is not taken from it. */
async function waitsForReader(): Promise<boolean> {
  const sql = `SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'`;
  return (await control.query(sql)).rowCount === 1;
}

const portOf = ({ address }: ProxyProcess) => Number(address.split(':').at(-1));

/** A client that only counts what it gets, and reads when it is told to. */
class Stream {
  bytes = 0;
  /** After so many bytes it stops reading. */
  stopAt = Infinity;
  ended = false;
  /** The last that came. */
  last: Buffer = Buffer.alloc(0);

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.ended = true;
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('data', (chunk) => {
      this.bytes += chunk.length;
      this.last = Buffer.concat([this.last, chunk.subarray(-100)]).subarray(-100);
      if (this.bytes >= this.stopAt) socket.pause();
    });
  }

  /** Logs in; it reads on. */
  static async login(t: Test): Promise<Stream> {
    const stream = new Stream(connect({ port: portOf(proxy), host: '127.0.0.1' }));
    t.teardown(() => stream.socket.destroy());
    stream.socket.write(startupPacket({ user: 'postgres', database: 'postgres' }));
    await stream.until('it is logged in', () => stream.isReady);
    stream.bytes = 0;
    return stream;
  }

  get isReady(): boolean {
    return this.last.at(-6) === 0x5a;
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return until(what, holds, 120_000);
  }

  /** Sends, as fast as it is taken. */
  async send(bytes: Buffer): Promise<void> {
    if (!this.socket.write(bytes) && !this.ended) await once(this.socket, 'drain');
  }
}

/** Memory before, and how far above that it has been since. */
class Memory {
  private readonly pids = family(proxy.pid);
  private readonly before = residentOf(this.pids);
  private most = 0;
  private readonly timer = setInterval(() => this.look(), 10);

  private look(): void {
    this.most = Math.max(this.most, residentOf(this.pids) - this.before);
  }

  check(t: Test): void {
    this.look();
    clearInterval(this.timer);
    t.ok(this.most < GROWTH, `grew by ${(this.most / MB).toFixed(1)} MB at most`);
  }
}

/** Another session, which asks and asks while something goes on; all its answers must be right. */
async function undisturbed(t: Test, going: () => Promise<unknown>): Promise<void> {
  const friend = await RawClient.login(portOf(proxy));
  t.teardown(() => friend.destroy());
  let over = false;
  let asked = 0;
  const end = () => {
    over = true;
    return null;
  };
  const failure = going().then(end, (error: unknown) => end() ?? error);
  const wrong: string[] = [];
  do {
    friend.send(Q(`SELECT ${++asked}`));
    const answer = brief(await friend.ready());
    if (answer !== `T D:${asked} C:SELECT 1 Z:I`) wrong.push(answer);
    // So that it is the other session that keeps the proxy busy.
    await delay(5);
  } while (!over);
  const failed = await failure;
  if (failed) throw failed;
  friend.destroy();
  t.same(wrong, [], `${asked} answers to another session`);
}

const EMPTY_QUERY = Q('');
const DATA = message(0x64);
const UNKNOWN = message(0x79);

/** @param answers bytes of the answer to each. */
const FLOODS: { name: string; message: Buffer; answers: number; count: number }[] = [
  { name: 'Sync', message: S, answers: 6, count: MILLION },
  { name: 'Flush', message: H, answers: 0, count: MILLION },
  { name: 'CopyData without COPY', message: DATA, answers: 0, count: MILLION },
  // The server takes its time for them.
  { name: 'an empty Query', message: EMPTY_QUERY, answers: 11, count: FEWER },
];

function times(message: Buffer, count: number): Buffer {
  return Buffer.alloc(message.length * count, message);
}

t.test('a million tiny messages at once', async (t) => {
  const warm = await Stream.login(t);
  await warm.send(Buffer.concat([times(S, MILLION / 10), Q('SELECT 1')]));
  await warm.until('it is warm', () => warm.last.includes('SELECT 1'));
  warm.socket.destroy();
  for (const { name, message, answers, count } of FLOODS) {
    await t.test(name, async (t) => {
      const memory = new Memory();
      const client = await Stream.login(t);
      await undisturbed(t, async () => {
        await client.send(Buffer.concat([times(message, count), S]));
        const all = answers * count + 6;
        await client.until('all is answered', () => client.bytes >= all || client.ended);
        t.equal(client.bytes, all, 'each is answered');
      });
      memory.check(t);
      client.socket.destroy();
    });
  }
});

t.test('Syncs behind a result that nobody reads', async (t) => {
  const count = process.env.LONG ? MILLION : MILLION / 4;
  const memory = new Memory();
  const client = await Stream.login(t);
  client.socket.pause();
  await undisturbed(t, async () => {
    const result = Q(`SELECT repeat('x', 90000) FROM generate_series(1, 300)`);
    const sent = client.send(Buffer.concat([result, times(S, count)]));
    await until('the server waits for a reader', waitsForReader);
    client.socket.resume();
    await sent;
    const all = 90_011 * 300 + 6 * count;
    await client.until('all is answered', () => client.bytes >= all || client.ended);
  });
  memory.check(t);
  client.socket.destroy();
});

t.test('tiny messages, each in a write of its own', async (t) => {
  for (const { name, message, answers } of FLOODS) {
    const memory = new Memory();
    const client = await Stream.login(t);
    await undisturbed(t, async () => {
      for (let i = 0; i < FEWER; i++) {
        if (!client.socket.write(message)) await once(client.socket, 'drain');
        else if (i % 64 === 0) await new Promise(setImmediate);
      }
      await client.send(S);
      const all = answers * FEWER + 6;
      await client.until('all is answered', () => client.bytes >= all || client.ended);
      t.equal(client.bytes, all, `${name}: each is answered`);
    });
    memory.check(t);
    client.socket.destroy();
  }
});

t.test('a million messages of an unknown type', async (t) => {
  const memory = new Memory();
  const client = await Stream.login(t);
  await undisturbed(t, async () => {
    void client.send(times(UNKNOWN, MILLION));
    await client.until('it is ended', () => client.ended);
    t.ok(client.last.includes('C08P01\0'), client.last.toString('latin1'));
  });
  memory.check(t);
});

t.test('a slow reader of a huge result', async (t) => {
  for (const [what, sql, bytes] of [
    ['many rows', `SELECT repeat('x', 95) FROM generate_series(1, 2000000)`, 106 * 2_000_000],
    ['few rows', `SELECT repeat('x', 20000000) FROM generate_series(1, 10)`, 20_000_011 * 10],
    ['COPY', `COPY (SELECT repeat('x', 94) FROM generate_series(1, 2000000)) TO STDOUT`, 2e8],
  ] as const) {
    const memory = new Memory();
    const client = await Stream.login(t);
    client.socket.pause();
    await client.send(Q(sql));
    await undisturbed(t, async () => {
      for (let goal = 0; goal < bytes; goal += bytes / 8) {
        await until(`${what}: the server waits`, waitsForReader);
        client.stopAt = goal + 1;
        client.socket.resume();
        await client.until('some has come', () => client.bytes > goal);
      }
      client.stopAt = Infinity;
      client.socket.resume();
      await client.until('all has come', () => client.isReady || client.ended);
    });
    t.ok(client.bytes > bytes, `${what}: ${client.bytes} bytes`);
    t.ok(client.bytes < bytes + 200, 'and no more than there are');
    memory.check(t);
    client.socket.destroy();
  }
});

t.test('a huge COPY that the server does not take, and one that comes slowly', async (t) => {
  await control.query(`CREATE TABLE taken (v text);
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
      $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END$$;
    CREATE TRIGGER wait BEFORE INSERT ON taken FOR EACH ROW EXECUTE FUNCTION wait()`);
  const row = copyData(`${'x'.repeat(9_999)}\n`);
  const rows = times(row, 20_000);
  for (const begins of [
    [Q('COPY taken FROM STDIN')],
    [P('', 'COPY taken FROM STDIN'), B('', ''), E(), S],
  ]) {
    await control.query('SELECT pg_advisory_lock(7)');
    const memory = new Memory();
    const client = await Stream.login(t);
    await undisturbed(t, async () => {
      const sent = client.send(Buffer.concat([...begins, rows, copyDone, S]));
      const waits = `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`;
      await until('it waits', async () => (await control.query(waits)).rowCount === 1);
      let before = -1;
      await until('no more is taken', () => {
        const now = client.socket.bytesWritten - client.socket.writableLength;
        const same = now === before;
        before = now;
        return same;
      });
      t.ok(client.socket.writableLength > rows.length / 2, 'most is still with the client');
      await control.query('SELECT pg_advisory_unlock(7)');
      await sent;
      await client.until('it is done', () => client.isReady || client.ended);
    });
    t.ok(client.last.includes('COPY 0\0'), 'all is read');
    memory.check(t);
    client.socket.destroy();
  }
  const memory = new Memory();
  const client = await Stream.login(t);
  await client.send(Q('COPY taken FROM STDIN'));
  const long = copyData(`${`${'y'.repeat(999)}\n`.repeat(64_000)}`);
  await undisturbed(t, async () => {
    for (let at = 0; at < long.length; at += 100_000) {
      await client.send(long.subarray(at, at + 100_000));
      await new Promise(setImmediate);
    }
    await client.send(copyDone);
    await client.until('it is done', () => client.isReady || client.ended);
  });
  t.ok(client.last.includes('COPY 0\0'), 'all is read');
  memory.check(t);
  client.socket.destroy();
});
