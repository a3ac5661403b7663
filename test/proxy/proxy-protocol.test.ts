import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { arrive } from '../../proxy/arrival.js';
import { DEFAULT_LIMITS } from '../../proxy/limits.js';
import { type HeaderStep, ProxyHeader } from '../../proxy/proxy-protocol.js';
import { LOCAL, proxyHeader, TCP4, TCP4_BODY, TCP6, TCP6_BODY } from './proxy-header.js';
import { SSL_REQUEST, startupPacket } from './wire.js';

const TLV = Buffer.from('\x03\x00\x04abcd\x20\x00\x05xxxxx', 'latin1');
const REST = Buffer.from('what comes next');

const GOOD: [string, Buffer, unknown][] = [
  ['TCP4', TCP4, { address: '192.0.2.7', port: 49153 }],
  ['TCP6', TCP6, { address: '2001:db8::7', port: 49153 }],
  [
    'TCP4 with TLVs',
    proxyHeader(0x21, 0x11, Buffer.concat([TCP4_BODY, TLV])),
    { address: '192.0.2.7', port: 49153 },
  ],
  [
    'TCP6 with TLVs up to the limit',
    proxyHeader(0x21, 0x21, Buffer.concat([TCP6_BODY, Buffer.alloc(2_048 - TCP6_BODY.length)])),
    { address: '2001:db8::7', port: 49153 },
  ],
  ['LOCAL', LOCAL, null],
  ['LOCAL with what is to be ignored', proxyHeader(0x20, 0x11, TCP4_BODY), null],
  ['LOCAL of a family that is not assigned', proxyHeader(0x20, 0xee, TLV), null],
  ['PROXY, nothing is known', proxyHeader(0x21, 0x00, TLV), null],
  ['PROXY of a Unix socket', proxyHeader(0x21, 0x31, Buffer.alloc(216)), null],
];

const BAD: [string, Buffer][] = [
  ['a start-up packet', startupPacket({ user: 'postgres' })],
  ['version 1', Buffer.from('PROXY TCP4 192.0.2.7 10.0.0.1 49153 5432\r\n')],
  ['a signature that ends wrongly', Buffer.from('\r\n\r\n\0\r\nQUIT\r', 'latin1')],
  ['another version', proxyHeader(0x11, 0x11, TCP4_BODY)],
  ['another command', proxyHeader(0x22, 0x11, TCP4_BODY)],
  ['UDP4', proxyHeader(0x21, 0x12, TCP4_BODY)],
  ['a family that is not assigned', proxyHeader(0x21, 0x41, TCP4_BODY)],
  ['too short for TCP4', proxyHeader(0x21, 0x11, TCP4_BODY.subarray(1))],
  ['too short for TCP6', proxyHeader(0x21, 0x21, TCP4_BODY)],
  ['too long', proxyHeader(0x21, 0x11, TCP4_BODY, 2_049)],
  ['as long as can be', proxyHeader(0x21, 0x11, TCP4_BODY, 65_535)],
];

/** Feeds pieces until the header says something else than that it wants more. */
function feed(pieces: Buffer[]): { step: HeaderStep; left: Buffer[] } {
  const reader = new ProxyHeader();
  const left = [...pieces];
  let step: HeaderStep = { step: 'more' };
  while (step.step === 'more' && left.length > 0) step = reader.feed(left.shift()!);
  return { step, left };
}

t.test('a header is read however it is cut, and what follows it is left', async (t) => {
  for (const [name, bytes, source] of GOOD) {
    const all = Buffer.concat([bytes, REST]);
    let wrong = 0;
    const check = (pieces: Buffer[]) => {
      const { step, left } = feed(pieces);
      const rest = step.step === 'done' ? Buffer.concat([step.rest, ...left]) : null;
      const same = step.step === 'done' && JSON.stringify(step.source) === JSON.stringify(source);
      if (!same || !rest?.equals(REST)) wrong++;
    };
    for (let cut = 0; cut <= all.length; cut++) check([all.subarray(0, cut), all.subarray(cut)]);
    check([...all].map((byte) => Buffer.from([byte])));
    t.equal(wrong, 0, name);
  }
});

t.test('what is not one is told as early as can be, however it is cut', async (t) => {
  for (const [name, bytes] of BAD) {
    let wrong = 0;
    for (let cut = 0; cut <= bytes.length; cut++) {
      if (feed([bytes.subarray(0, cut), bytes.subarray(cut)]).step.step !== 'bad') wrong++;
    }
    const { step, left } = feed([...bytes].map((byte) => Buffer.from([byte])));
    t.equal(wrong, 0, name);
    t.equal(step.step, 'bad', `${name}, byte by byte`);
    t.ok(bytes.length - left.length <= 16, 'nothing but the fixed part is needed');
  }
});

t.test('a header that has not all come is waited for', async (t) => {
  for (const [name, bytes] of GOOD) {
    for (let end = 0; end < bytes.length; end++) {
      if (feed([bytes.subarray(0, end)]).step.step !== 'more') t.fail(`${name}: ${end} bytes`);
    }
    t.pass(name);
  }
});

/** What arrives of a client that sends these pieces, one after the other. */
async function arrival(t: Test, announced: boolean, pieces: Buffer[]) {
  let accepted!: (socket: Socket) => void;
  const accept = new Promise<Socket>((resolve) => {
    accepted = resolve;
  });
  const server = createServer({ allowHalfOpen: true }, accepted);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const client = connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1');
  client.on('error', () => undefined).setNoDelay(true);
  const socket = await accept;
  t.teardown(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  const arrived = arrive(socket, DEFAULT_LIMITS, null, announced);
  let answer = '';
  client.on('data', (data) => {
    answer += data;
  });
  for (const piece of pieces) {
    await new Promise<void>((resolve) => client.write(piece, () => resolve()));
    if (piece.subarray(-8).equals(SSL_REQUEST)) await once(client, 'data');
    await new Promise(setImmediate);
  }
  return { found: await arrived, answer };
}

t.test('it comes before everything else, and only where it is announced', async (t) => {
  const start = startupPacket({ user: 'postgres' });
  const whole = await arrival(t, true, [Buffer.concat([TCP4, start])]);
  t.match(whole.found, { step: 'start', from: '192.0.2.7:49153' });
  const bytes = [...Buffer.concat([TCP6, start])].map((byte) => Buffer.from([byte]));
  t.match((await arrival(t, true, bytes)).found, { step: 'start', from: '[2001:db8::7]:49153' });
  const local = await arrival(t, true, [LOCAL, start]);
  t.match(local.found, { step: 'start', from: /^127\.0\.0\.1:\d+$/ });
  const declined = await arrival(t, true, [Buffer.concat([TCP4, SSL_REQUEST]), start]);
  t.match(declined, { found: { step: 'start', from: '192.0.2.7:49153' }, answer: 'N' });
  t.equal((await arrival(t, true, [start])).found?.step, 'malformed', 'required');
  t.equal((await arrival(t, false, [TCP4])).found?.step, 'bad', 'and not taken for one elsewhere');
  t.equal(
    (await arrival(t, true, [TCP4, TCP4])).found?.step,
    'bad',
    'a second one is the client trying to be somebody else',
  );
});
