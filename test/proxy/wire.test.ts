import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createSecureContext, TLSSocket, connect as tlsConnect } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { handleOf, PlainHandleWire } from '../../proxy/handle-wire.js';
import { Outbox } from '../../proxy/outbox.js';
import { TlsHandleWire } from '../../proxy/tls-handle-wire.js';
import { openWire } from '../../proxy/open-wire.js';
import type { WireListener } from '../../proxy/wire.js';
import { makeCertificate } from './certificates.js';
import { seeded } from './random.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Ends {
  near: Socket;
  far: Socket;
  /** Ends the far one's connection so that what it gets from now on is answered by a reset. */
  vanish(): void;
}

interface Teardown {
  teardown(fn: () => unknown): void;
}

/** Two ends of a TCP connection; the near one is paused and has not been read. */
async function plain(t: Teardown): Promise<Ends> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const near = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  near.pause();
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [
    [Socket],
    unknown,
  ];
  t.teardown(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  // A socket within TLS has no such method, and its handle is this one still.
  const { _handle: handle } = far as unknown as { _handle: { reset(done: () => void): void } };
  return { near, far, vanish: () => handle.reset(() => undefined) };
}

const { cert, key } = makeCertificate({ name: 'far', hosts: ['127.0.0.1'] });

/** The same within TLS; the near one is the client, or the server. */
async function secured(t: Teardown, nearIs: 'client' | 'server'): Promise<Ends> {
  const { near, far, vanish } = await plain(t);
  const [client, server] = nearIs === 'client' ? [near, far] : [far, near];
  const above = new TLSSocket(server, {
    isServer: true,
    secureContext: createSecureContext({ cert, key }),
  });
  const below = tlsConnect({ socket: client, rejectUnauthorized: false });
  const ends = nearIs === 'client' ? { near: below, far: above } : { near: above, far: below };
  for (const end of [above, below]) {
    end.allowHalfOpen = true;
    end.on('error', () => undefined);
  }
  await Promise.all([once(above, 'secure'), once(below, 'secureConnect')]);
  ends.near.pause();
  t.teardown(() => {
    above.destroy();
    below.destroy();
  });
  return { ...ends, vanish };
}

const KINDS = {
  plain: { pair: plain, Wire: PlainHandleWire },
  'a client of TLS': { pair: (t: Teardown) => secured(t, 'client'), Wire: TlsHandleWire },
  'a server of TLS': { pair: (t: Teardown) => secured(t, 'server'), Wire: TlsHandleWire },
};

const silent: WireListener = {
  data: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  closed: () => undefined,
};

for (const [kind, { pair, Wire }] of Object.entries(KINDS)) {
  t.test(`${kind}: it is used by its handle on this version of Node.js`, async (t) => {
    const { near } = await pair(t);
    t.ok(handleOf(near));
    t.ok(openWire(near, silent) instanceof Wire);
  });

  t.test(
    `${kind}: what the system does not take at once is neither collected nor written over`,
    async (t) => {
      const seed = Date.now() % 100_000;
      t.comment(`seed ${seed}`);
      const random = seeded(seed);
      const { near, far } = await pair(t);
      far.pause();
      const wire = openWire(near, silent);
      const out = new Outbox();
      const sent: Buffer[] = [];
      let waits = 0;
      for (let i = 0; i < 60; i++) {
        const bytes = Buffer.alloc(1 + Math.floor(random() * 300_000), i + 1);
        sent.push(bytes);
        out.add(bytes);
        if (!wire.send(out)) waits++;
        if (i % 4 !== 3) continue;
        // What is free now is used again by these.
        collect();
        for (let junk = 0; junk < 40; junk++) Buffer.allocUnsafeSlow(128 * 1024).fill(0xee);
      }
      t.ok(waits > 10, `${waits} sends had to wait`);
      const expected = Buffer.concat(sent);
      const got: Buffer[] = [];
      let length = 0;
      const all = new Promise<void>((resolve) => {
        far.on('data', (chunk) => {
          got.push(chunk);
          length += chunk.length;
          if (length >= expected.length) resolve();
        });
      });
      far.resume();
      await all;
      t.ok(Buffer.concat(got).equals(expected), 'the same bytes');
      t.ok(wire.flowing);
    },
  );

  t.test(`${kind}: it says when more may be sent, and when it is over`, async (t) => {
    const { near, far } = await pair(t);
    far.pause();
    const told: string[] = [];
    let wake: () => void = () => undefined;
    const tell = (what: string) => {
      told.push(what);
      wake();
    };
    const until = async (what: string) => {
      while (!told.includes(what)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    const wire = openWire(near, {
      data: (chunk) => tell(`data ${chunk.toString()}`),
      ended: () => tell('ended'),
      drained: () => tell('drained'),
      closed: () => tell('closed'),
    });
    const out = new Outbox();
    let takes = true;
    for (let i = 0; takes && i < 1000; i++) {
      out.add(Buffer.alloc(100_000));
      takes = wire.send(out);
    }
    t.notOk(takes, 'the system is full');
    t.notOk(wire.flowing);
    far.resume();
    await until('drained');
    t.ok(wire.flowing);
    far.write('paused: not seen');
    await new Promise((resolve) => setImmediate(resolve));
    t.notMatch(told.join(), /data/);
    wire.resume();
    await until('data paused: not seen');
    far.end();
    await until('ended');
    t.notOk(told.includes('closed'), 'half-closed');
    wire.end();
    await until('closed');
    t.ok(wire.over);
    out.add(Buffer.from('late'));
    t.ok(wire.send(out), 'what comes late is dropped');
    t.equal(out.length, 0);
  });

  t.test(`${kind}: what was said before a write failed is heard`, async (t) => {
    const { near, far, vanish } = await pair(t);
    const told: string[] = [];
    const over = new Promise<void>((resolve) => {
      const wire = openWire(near, {
        ...silent,
        data: (chunk) => told.push(chunk.toString()),
        ended: resolve,
        closed: resolve,
      });
      far.write('last words', () => {
        vanish();
        const out = new Outbox();
        const speak = () => {
          out.add(Buffer.alloc(1000));
          wire.send(out);
          // Its failure is told later within TLS.
          if (wire.over) wire.resume();
          else setImmediate(speak);
        };
        speak();
      });
    });
    await over;
    t.same(told, ['last words']);
  });

  t.test(`${kind}: an end behind what waits comes after it`, async (t) => {
    const { near, far } = await pair(t);
    far.pause();
    const wire = openWire(near, silent);
    const out = new Outbox();
    for (let i = 0; i < 40; i++) {
      out.add(Buffer.alloc(100_000, i));
      wire.send(out);
    }
    wire.end();
    let length = 0;
    far.on('data', (chunk: Buffer) => {
      length += chunk.length;
    });
    far.resume();
    await once(far, 'end');
    t.equal(length, 40 * 100_000);
  });
}
