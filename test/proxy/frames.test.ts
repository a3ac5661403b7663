import t from 'tap';
import {
  DROP,
  FAIL,
  FrameReader,
  type FrameSink,
  HOLD,
  PASS,
  type Verdict,
  WAIT,
} from '../../proxy/frames.js';
import { message } from '../../proxy/messages.js';
import { pieces, seeded } from './random.js';

const letter = (type: number) => String.fromCharCode(type);
const m = (type: string, body = '') => message(type.charCodeAt(0), body);

interface Seen {
  type: string;
  body: string | null;
}

/** Judges by the type's letter: p passes, d is dropped, h is held and then passes, i with a message. */
class Letters implements FrameSink {
  readonly reader = new FrameReader(this);
  readonly seen: Seen[] = [];
  waits = 0;
  hold = 1000;
  inject: Buffer | null = null;

  frame(type: number, length: number, buf: Buffer, at: number, end: number): Verdict {
    const body = at < 0 ? null : buf.toString('latin1', at, end);
    const name = letter(type);
    if (name === 'w' && this.waits > 0) {
      if (at < 0) return HOLD;
      this.waits--;
      return WAIT;
    }
    if ((name === 'h' || name === 'w' || name === 'x') && at < 0) return HOLD;
    this.seen.push({ type: name, body });
    if (body !== null && at >= 0 && end - at > length - 4) throw new Error('too much');
    if (name === 'i' && this.inject) this.reader.emit(this.inject);
    if (name === '!') return FAIL;
    return name === 'd' || name === 'x' ? DROP : PASS;
  }

  steady(type: number): boolean {
    return letter(type) === 's';
  }

  holdBytes(): number {
    return this.hold;
  }

  valid(_type: number, length: number): boolean {
    return length >= 4 && length < 100_000;
  }

  /** Feeds chunks, running again as often as it waits. */
  feedAll(chunks: Buffer[]): string {
    let out = '';
    for (const chunk of chunks) {
      this.reader.feed(chunk);
      let result = this.reader.run();
      while (result === 'wait') result = this.reader.run();
      out += this.reader.out.take().toString('latin1');
      if (result !== 'more') return `${out}<${result}>`;
    }
    return out;
  }
}

const STREAM = [
  m('p', 'one'),
  m('d', 'dropped'),
  m('h', 'held'),
  m('p'),
  m('i', 'injected before'),
  m('h'),
  m('w', 'waits'),
  m('x', 'held and dropped'),
  m('p', 'y'.repeat(300)),
  m('d'),
  m('p', 'last'),
  m('s', 'one of several'),
  m('s'),
  m('s', 'z'.repeat(70)),
  m('d'),
];
const WHOLE = Buffer.concat(STREAM);
const INJECTED = m('I', 'ours');
const EXPECTED = Buffer.concat([
  ...STREAM.slice(0, 1),
  ...STREAM.slice(2, 4),
  INJECTED,
  ...STREAM.slice(4, 7),
  STREAM[8]!,
  ...STREAM.slice(10, 14),
]).toString('latin1');

function letters(): Letters {
  const sink = new Letters();
  sink.inject = INJECTED;
  sink.waits = 2;
  return sink;
}

t.test(
  'of steady messages the first is asked about, and a header that cannot be ends them',
  async (t) => {
    const sink = letters();
    const rows = Buffer.concat([m('s', 'a'), m('s', 'b'), m('s', 'c')]);
    t.equal(sink.feedAll([rows]), rows.toString('latin1'));
    t.equal(sink.seen.length, 1);
    const lie = Buffer.from([0x73, 0, 0, 0, 3]);
    const out = sink.feedAll([Buffer.concat([rows, lie])]);
    t.equal(out, `${rows.toString('latin1')}<bad>`);
  },
);

t.test('any split at one byte gives the same stream', async (t) => {
  for (let at = 0; at <= WHOLE.length; at++) {
    const out = letters().feedAll([WHOLE.subarray(0, at), WHOLE.subarray(at)]);
    if (out !== EXPECTED) return t.equal(out, EXPECTED, `split at ${at}`);
  }
  return t.pass('all of them');
});

t.test('a byte at a time, and random pieces, give the same stream', async (t) => {
  t.equal(letters().feedAll([...WHOLE].map((byte) => Buffer.from([byte]))), EXPECTED);
  const seed = Date.now() % 100_000;
  t.comment(`seed ${seed}`);
  for (let round = 0; round < 300; round++) {
    const sink = letters();
    const out = sink.feedAll(pieces(seeded(seed + round), WHOLE, 40));
    if (out !== EXPECTED) return t.equal(out, EXPECTED, `round ${round}`);
    const bodies = sink.seen.filter(({ type }) => type === 'h').map(({ body }) => body);
    t.same(bodies, ['held', '']);
  }
  return undefined;
});

t.test('nothing of a chunk is kept: its memory is used again at once', async (t) => {
  const stream = Buffer.concat([m('p', 'abc'), m('h', 'defgh'), m('w', 'ij'), m('p', 'klm')]);
  for (let size = 1; size <= stream.length; size++) {
    const sink = new Letters();
    sink.waits = 1;
    const memory = Buffer.alloc(size);
    let out = '';
    for (let at = 0; at < stream.length; at += size) {
      const n = stream.copy(memory, 0, at, at + size);
      sink.reader.feed(memory.subarray(0, n));
      let result = sink.reader.run();
      memory.fill('?');
      if (result === 'wait') result = sink.reader.run();
      t.equal(result, 'more');
      out += sink.reader.out.take().toString('latin1');
    }
    t.equal(out, stream.toString('latin1'), `chunks of ${size}`);
  }
});

t.test(
  'a held message longer than the limit is judged by its beginning and streamed',
  async (t) => {
    const sink = new Letters();
    sink.hold = 10;
    const long = Buffer.concat([m('h', 'z'.repeat(50)), m('p', 'after')]);
    const out = sink.feedAll([long.subarray(0, 3), long.subarray(3, 20), long.subarray(20)]);
    t.equal(out, long.toString('latin1'));
    t.same(sink.seen[0], { type: 'h', body: 'zzzzz' });
    const dropping = new Letters();
    dropping.hold = 10;
    const x = Buffer.concat([m('x', 'z'.repeat(50)), m('p', 'after')]);
    t.equal(
      dropping.feedAll([x.subarray(0, 30), x.subarray(30)]),
      m('p', 'after').toString('latin1'),
    );
  },
);

t.test('a message that waits keeps what is behind it, and is asked about again', async (t) => {
  const sink = new Letters();
  sink.waits = 1;
  sink.reader.feed(Buffer.concat([m('p', 'a'), m('w', 'b'), m('p', 'c')]));
  t.equal(sink.reader.run(), 'wait');
  t.equal(sink.reader.out.take().toString('latin1'), m('p', 'a').toString('latin1'));
  t.equal(sink.reader.run(), 'more');
  const rest = Buffer.concat([m('w', 'b'), m('p', 'c')]).toString('latin1');
  t.equal(sink.reader.out.take().toString('latin1'), rest);
});

t.test('a length that cannot be right stops the reader, whole or split', async (t) => {
  for (const length of [0, 3, -1, -2147483648, 2147483647]) {
    const header = Buffer.alloc(5, 'p');
    header.writeInt32BE(length, 1);
    t.equal(new Letters().feedAll([header]), '<bad>');
    t.equal(new Letters().feedAll([header.subarray(0, 2), header.subarray(2)]), '<bad>');
  }
});

t.test('a sink that fails stops the reader, with what passed before', async (t) => {
  t.match(new Letters().feedAll([Buffer.concat([m('p', 'a'), m('!')])]), /a<fail>$/);
});

t.test('it knows whether what has passed ends with a whole message', async (t) => {
  const { reader } = new Letters();
  t.equal(reader.atBoundary, true);
  reader.feed(m('p', 'half').subarray(0, 7));
  reader.run();
  t.equal(reader.atBoundary, false);
  reader.feed(m('p', 'half').subarray(7));
  reader.run();
  t.equal(reader.atBoundary, true);
  reader.feed(m('p', 'half').subarray(0, 3));
  reader.run();
  t.equal(reader.atBoundary, true, 'a split header has not been passed');
});

t.test('a large message that is gathered lies in memory of its own', async (t) => {
  const kept: Buffer[] = [];
  const own: boolean[] = [];
  const sink: FrameSink = {
    frame(_type, _length, buf, at, end) {
      if (at < 0) return HOLD;
      own.push(reader.isOwn);
      kept.push(buf.subarray(at, end));
      return DROP;
    },
    holdBytes: () => 1 << 20,
    steady: () => false,
    valid: () => true,
  };
  const reader = new FrameReader(sink);
  const body = (length: number) => {
    return Array.from({ length }, (_, i) => String.fromCharCode(97 + ((i * 7 + length) % 26))).join(
      '',
    );
  };
  const lengths = [10, 3_000, 5_000, 130_000, 300_000, 900_000, 5_000];
  const chunk = Buffer.alloc(64 * 1024);
  for (const length of lengths) {
    const whole = m('h', body(length));
    // As from a socket: each read is in the same memory.
    for (let at = 0, n = 3; at < whole.length; at += n, n = chunk.length) {
      reader.feed(chunk.subarray(0, whole.copy(chunk, 0, at, Math.min(at + n, whole.length))));
      t.equal(reader.run(), 'more');
      chunk.fill(0);
    }
  }
  t.same(
    own,
    lengths.map((length) => length >= 4_096),
  );
  for (const [i, length] of lengths.entries()) {
    if (own[i]) t.ok(kept[i]!.toString() === body(length), `${length} bytes stay`);
  }
});
