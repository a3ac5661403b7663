import t from 'tap';
import { BinaryRows } from '../../proxy/copy-binary.js';
import { CopyIn } from '../../proxy/copy-in.js';
import type { RowWriter } from '../../proxy/copy-kept.js';
import { TextRows } from '../../proxy/copy-text.js';
import { FrameReader, PASS, TAKE } from '../../proxy/frames.js';
import { FRONTEND, message, SYNC } from '../../proxy/messages.js';
import { Outbox } from '../../proxy/outbox.js';
import type { CopyRows } from '../../sql/copy-rows.js';
import type { Rewrite } from '../../sql/outcome.js';
import { added, layout } from './copy-layout.js';
import { pick, pieces, seeded } from './random.js';

/*
 * The transformer of rows, without a server: what comes out is what a row that was made of known
 * fields gives, however the bytes are cut. What was broken to see it fail:
 *
 * | broken                                                    | seen by                            |
 * | --------------------------------------------------------- | ---------------------------------- |
 * | a field is not kept over the end of a chunk               | text, CSV, binary                  |
 * | a backslash at the end of a chunk is written at once      | text (`\` and `.` in two chunks)   |
 * | an escape within quotes is forgotten at a chunk's end     | CSV                                |
 * | the newline behind a carriage return is a row of its own  | text, CSV                          |
 * | rows with too few fields get theirs                       | text, CSV                          |
 * | the number of a binary row's fields is written too early  | binary                             |
 * | nothing is looked at behind `\.`                          | text                               |
 * | the last row is forgotten when it has no newline          | text, CSV                          |
 * | the sign of an integer is not extended                    | binary                             |
 * | a message that was taken back is gone on with             | data in messages                   |
 * | of a message in several chunks the first part is taken    | data in messages                   |
 * | a number beside what is not ASCII is refused for certain  | what a server of another encoding  |
 * | escapes and letters that are not ASCII are mixed          | the text of a value                |
 */

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
t.comment(`SEED=${seed}`);
const random = seeded(seed);
const upTo = (limit: number) => Math.floor(random() * limit);

const REWRITE: Rewrite = {
  outcome: 'rewritten',
  text: Buffer.from(''),
  touches: [],
  reason: null,
  refusal: null,
  edits: [],
};

/** What is written of data that comes in these pieces, from memory that is used again. */
function written(writer: RowWriter, parts: readonly Buffer[]): string {
  const out = new Outbox();
  const memory = Buffer.alloc(1 << 16);
  for (const part of parts) {
    const at = upTo(3);
    part.copy(memory, at);
    writer.write(memory, at, at + part.length, out);
    memory.fill(0x7a);
  }
  writer.end(out);
  return out.take().toString('latin1');
}

const longest = () => pick(random, [1, 2, 3, 7, 40, 1000]);

interface Case {
  rows: CopyRows;
  data: string;
  expected: string;
}

const TEXT_PARTS = [
  'a',
  '12',
  '-',
  '\\\\',
  '\\t',
  '\\n',
  '\\x41',
  '\\101',
  '\\\t',
  '\\\n',
  ' ',
  'é',
];
const CSV_PARTS = ['a', '12', '-', '.', ' ', '\\', 'é'];

function textField(): string {
  if (random() < 0.1) return '\\N';
  return Array.from({ length: upTo(4) }, () => pick(random, TEXT_PARTS)).join('');
}

/** A field of CSV, perhaps with parts in quotes, in which anything may be. */
function csvField({ quote, escapeBy, delimiter }: CopyRows): string {
  const inner = [...CSV_PARTS, '\n', '\r\n', delimiter, escapeBy + quote, escapeBy + escapeBy];
  const some = (parts: readonly string[]) =>
    Array.from({ length: upTo(4) }, () => pick(random, parts)).join('');
  // An escape that is none is left out: what is behind it would be one.
  const plain = () => some(CSV_PARTS.filter((part) => part !== escapeBy));
  if (random() < 0.4) return plain();
  const within = some(inner.filter((part) => part !== escapeBy));
  return (random() < 0.3 ? plain() : '') + quote + within + quote + (random() < 0.2 ? plain() : '');
}

function textCase(format: 'text' | 'csv'): Case {
  const isCsv = format === 'csv';
  const fields = 1 + upTo(4);
  const count = 1 + upTo(3);
  const rows = layout({
    format,
    fields,
    delimiter: pick(random, isCsv ? [',', ';', '\t'] : ['\t', '|', ',']),
    quote: pick(random, ['"', "'"]),
    nullText: isCsv ? '' : '\\N',
    defaultText: random() < 0.3 ? 'DD' : null,
    header: pick(random, ['none', 'none', 'skip', 'match']),
    added: Array.from({ length: count }, () => added(random() < 0.2 ? null : upTo(fields))),
  });
  rows.escapeBy = isCsv && random() < 0.4 ? '\\' : rows.quote;
  const make = isCsv ? () => csvField(rows) : textField;
  const end = pick(random, ['\n', '\r', '\r\n']);
  const lines = upTo(8);
  let data = '';
  let expected = '';
  let isOpen = false;
  for (let i = 0; i < lines; i++) {
    const names = i === 0 && rows.header !== 'none';
    const n = random() < 0.15 ? 1 + upTo(5) : fields;
    const row = Array.from({ length: n }, () => (random() < 0.1 ? 'DD' : make()));
    const line = row.join(rows.delimiter);
    // The last one may come without an end, if there is anything of it at all.
    isOpen = i === lines - 1 && random() < 0.3 && line !== '';
    const finish = isOpen ? '' : end;
    data += line + finish;
    const values = rows.added.map(({ from, constant, heading }) => {
      if (names) return heading;
      if (from === null || (row[from] === rows.defaultText && rows.defaultText)) return constant;
      return row[from]!;
    });
    const whole = names ? rows.header === 'match' && !isOpen : n >= fields;
    expected += (whole ? [line, ...values].join(rows.delimiter) : line) + finish;
  }
  if (!isCsv && !isOpen && random() < 0.3) {
    const rest = `\\.${end}behind${rows.delimiter}it${end}`;
    data += rest;
    expected += rest;
  }
  return { rows, data, expected };
}

for (const format of ['text', 'csv'] as const) {
  t.test(`${format}: each whole row gets its fields behind it, however it is cut`, async (t) => {
    for (let i = 0; i < 3000; i++) {
      const { rows, data, expected } = textCase(format);
      // A row of one field that is `\.` ends the data before PostgreSQL 18.
      const parts = pieces(random, Buffer.from(data, 'latin1'), longest());
      const seen = written(new TextRows(rows, false), parts);
      if (seen === expected) continue;
      t.same({ rows, parts: parts.map(String), seen }, { expected, data });
      return;
    }
    t.pass('3000 times');
  });
}

t.test('whatever the bytes are, the cuts make no difference', async (t) => {
  const soup = ['\\', '.', '\n', '\r', '"', ',', 'a', '\\.', '\r\n', '""', '\t'];
  for (let i = 0; i < 5000; i++) {
    const format = pick(random, ['text', 'csv', 'binary'] as const);
    const { rows } = textCase(format === 'csv' ? 'csv' : 'text');
    if (format === 'binary') rows.added = rows.added.filter(({ from }) => from !== null);
    const bytes = Array.from({ length: upTo(60) }, () => pick(random, soup)).join('');
    const data = Buffer.from(bytes, 'latin1');
    const ends = random() < 0.5;
    const make = () =>
      format === 'binary'
        ? new BinaryRows({ ...rows, format })
        : new TextRows({ ...rows, format }, ends);
    const whole = written(make(), [data]);
    const cut = pieces(random, data, longest());
    const seen = written(make(), cut);
    if (seen === whole) continue;
    t.same({ rows, ends, cut: cut.map(String), seen }, { whole, bytes });
    return;
  }
  t.pass('5000 times');
});

t.test('data in messages of any size comes in messages of ours', async (t) => {
  for (let i = 0; i < 1000; i++) {
    const { rows, data } = textCase(pick(random, ['text', 'csv'] as const));
    const copyIn = new CopyIn();
    copyIn.serverIs('18.1');
    copyIn.begins({ ...REWRITE, copies: [rows] }, 7);
    const reader: FrameReader = new FrameReader({
      frame: (type) => (type === FRONTEND.copyData ? TAKE : PASS),
      body: (buf, from, to) => copyIn.take(buf, from, to, reader.tail),
      holdBytes: () => 0,
      steady: () => false,
      valid: () => true,
    });
    const parts = pieces(random, Buffer.from(data, 'latin1'), longest());
    const frames = parts.map((part) => message(FRONTEND.copyData, part));
    // Messages that pass stand between them.
    const sent = frames.flatMap((frame) => (random() < 0.2 ? [frame, SYNC] : [frame]));
    let seen = '';
    for (const chunk of pieces(random, Buffer.concat(sent), longest())) {
      reader.feed(Buffer.from(chunk));
      const result = reader.run();
      if (result !== 'more' || !reader.atBoundary) throw new Error(result);
      if (random() < 0.5) seen += reader.out.take().toString('latin1');
    }
    copyIn.ends(true, reader.tail);
    seen += reader.out.take().toString('latin1');
    const { bodies, others } = unframed(Buffer.from(seen, 'latin1'));
    const whole = written(new TextRows(rows, false), [Buffer.from(data, 'latin1')]);
    if (bodies === whole && others === sent.length - frames.length) continue;
    t.same({ rows, parts: parts.map(String), bodies, others }, { whole, data });
    return;
  }
  t.pass('1000 times');
});

/** The data in messages, and how many others there are. */
function unframed(bytes: Buffer): { bodies: string; others: number } {
  let bodies = '';
  let others = 0;
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    if (bytes[at] === FRONTEND.copyData) bodies += bytes.toString('latin1', at + 5, end);
    else others++;
    at = end;
  }
  return { bodies, others };
}

t.test('the text of a value is not certain where two encodings may meet', async (t) => {
  const of = (field: string) => {
    const rows = layout({ added: [added(1, { printed: { kind: 'character', limit: 9 } })] });
    const row = written(new TextRows(rows, false), [Buffer.from(`a\t${field}\tc\n`)]);
    return row.split('\t').at(-1);
  };
  const latin = (text: string) => Buffer.from(text).toString('latin1');
  t.equal(of('é  '), latin('é\n'));
  t.equal(of('b\\040 '), 'b\n');
  t.equal(of('é\\040 '), '\\N\n', 'an escape is a byte of the server, the letter is of the client');
  t.equal(of('\\303\\251 '), '\\N\n');
  t.equal(of('b  \\t'), 'b  \\t\n', 'nothing is to be taken away');
  t.equal(of('\t '.slice(1)), '\n');
});

t.test('what a server of another encoding might take for a space is not certain', async (t) => {
  for (const kind of ['integer', 'boolean'] as const) {
    const rows = layout({ unsure: '?', added: [added(1, { printed: { kind, limit: null } })] });
    const of = (field: string) =>
      written(new TextRows(rows, false), [Buffer.from(`a\t${field}\tc\n`)])
        .split('\t')
        .at(-1);
    t.equal(of('\u00a01'), '?\n');
    t.equal(of('1 \u0085'), '?\n');
    t.equal(of('é'), Buffer.from('é\n').toString('latin1'), 'the server has refused it before');
    t.equal(of('1é1'), Buffer.from('1é1\n').toString('latin1'));
  }
});

t.test('the end-of-data marker', async (t) => {
  const one = (rows: Partial<CopyRows>, data: string, csvEnds = true) =>
    written(new TextRows(layout(rows), csvEnds), pieces(random, Buffer.from(data), longest()));
  const text = { fields: 1, added: [added(0)] };
  t.equal(one(text, 'a\n\\.\nb\n'), 'a\ta\n\\.\nb\n', 'nothing behind it is changed');
  t.equal(one(text, 'a\\.\n'), 'a\ta\\.\n', 'what stands before it on its line is a row');
  t.equal(one(text, '\\.\n'), '\\.\n');
  t.equal(one(text, 'a\\'), 'a\ta', 'a backslash at the very end stands for nothing');
  t.equal(one(text, '\\'), '\t', 'so does one alone');
  t.equal(one({ fields: 2, added: [added(0)] }, 'a\\'), 'a\\', 'a row that is too short stays');
  const csv = { ...text, format: 'csv', delimiter: ',' } as const;
  t.equal(one(csv, 'a\n\\.\nb\n'), 'a,a\n\\.\nb\n', 'in CSV, before PostgreSQL 18');
  t.equal(one(csv, 'a\n\\.\nb\n', false), 'a,a\n\\.,\\.\nb,b\n', 'in CSV, from then on');
  t.equal(one(csv, '\\.'), '\\.,\\.', 'without an end of its line it is data');
  t.equal(one(csv, '"a\n\\.\nb"\n'), '"a\n\\.\nb","a\n\\.\nb"\n');
});

const int16 = (n: number) => Buffer.from([(n >> 8) & 255, n & 255]);
function value(bytes: Buffer | null): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes ? bytes.length : -1);
  return bytes ? Buffer.concat([length, bytes]) : length;
}

function integer(n: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64BE(BigInt(n));
  return buffer.subarray(8 - bytes);
}

t.test('binary: each row gets its fields behind it, in their own size', async (t) => {
  const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
  for (let i = 0; i < 3000; i++) {
    const fields = 1 + upTo(3);
    const sizes = pick(random, [
      { from: 2, to: 8 },
      { from: 4, to: 8 },
      { from: 2, to: 4 },
      { from: 8, to: 4 },
      { from: 8, to: 2 },
      { from: 4, to: 2 },
    ]);
    const rows = layout({
      format: 'binary',
      fields,
      added: [added(0, { integer: sizes }), added(upTo(fields - 1) + (fields > 1 ? 1 : 0))],
    });
    if (fields === 1) rows.added = [rows.added[0]!];
    const extension = Buffer.alloc(upTo(2) * 5, 'x');
    const header = Buffer.concat([signature, Buffer.alloc(4), integer(extension.length, 4)]);
    const data: Buffer[] = [header, extension];
    const expected: Buffer[] = [header, extension];
    for (let n = upTo(5); n > 0; n--) {
      const numbers = [0, -1, 1, 32767, -32768, 32768, 40000, -(2 ** 31), 2 ** 31 - 1, 2 ** 40];
      const limit = 2 ** (8 * sizes.from - 1);
      const number = pick(
        random,
        numbers.filter((it) => it < limit && it >= -limit),
      );
      const values = Array.from({ length: fields }, (_, at): Buffer | null => {
        if (random() < 0.2) return null;
        if (at === 0) return integer(number, sizes.from);
        return Buffer.alloc(upTo(12), 'v');
      });
      const row = values.map(value);
      data.push(int16(fields), ...row);
      const bound = 2 ** (8 * sizes.to - 1);
      const fits = number < bound && number >= -bound;
      const resized = values[0] && fits ? integer(number, sizes.to) : null;
      const others = rows.added.slice(1).map(({ from }) => value(values[from!] ?? null));
      expected.push(int16(fields + rows.added.length), ...row, value(resized), ...others);
    }
    if (random() < 0.3) {
      data.push(int16(fields + 3), Buffer.from('anything'));
      expected.push(int16(fields + 3 + rows.added.length), Buffer.from('anything'));
    } else if (random() < 0.7) {
      data.push(int16(-1));
      expected.push(int16(-1));
    }
    const cut = pieces(random, Buffer.concat(data), longest());
    const seen = written(new BinaryRows(rows), cut);
    const wanted = Buffer.concat(expected).toString('latin1');
    if (seen === wanted) continue;
    t.same(
      { rows, seen: Buffer.from(seen, 'latin1').toString('hex') },
      Buffer.from(wanted, 'latin1').toString('hex'),
    );
    return;
  }
  t.pass('3000 times');
});
