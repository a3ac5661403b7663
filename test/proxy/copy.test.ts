import t from 'tap';
import { type CopyTables, copyTables, said } from './copy-tables.js';
import type { Message, RawClient } from './harness.js';
import { pick, pieces, seeded } from './random.js';
import { B, brief, copyData, copyDone, copyFail, E, P, Q, S } from './wire.js';

/*
 * COPY FROM STDIN of a table under migration, against the same of a table that is not: what the
 * client is told, the rows, and that each was written in order without the guard.
 *
 * | broken                                                   | seen by                              |
 * | -------------------------------------------------------- | ------------------------------------ |
 * | CopyInResponse tells of all columns                      | as without a migration               |
 * | contexts of errors, or of notices, are as they come      | as without a migration               |
 * | data that is sent before CopyInResponse is passed        | several in one Query; at once        |
 * | the second COPY of a Query is taken for the first        | several in one Query                 |
 * | FORCE_NOT_NULL does not name the other column            | as without a migration               |
 * | edits of a guarded text are not sent                     | what is left to the guard            |
 * | `\.` ends CSV on PostgreSQL 18 too                       | as without a migration, 18           |
 * | an integer that does not fit the narrower type fails     | as without a migration               |
 * | the text of an integer is the field as it came           | as without a migration (repairs)     |
 * | the text of an integer that looks like NULL is NULL      | as without a migration (repairs)     |
 * | of a domain what it is of is not known                   | as without a migration (repairs)     |
 */

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const CASES = Number(process.env.CASES ?? 150);
t.comment(`SEED=${seed}`);

type Mode = 'simple' | 'at once' | 'extended';

/** One COPY from its first message to ReadyForQuery. */
async function copy(
  client: RawClient,
  mode: Mode,
  text: string,
  data: readonly Buffer[],
  end: Buffer,
): Promise<Message[]> {
  const frames = data.map((part) => copyData(part));
  if (mode === 'at once') {
    client.send(Q(text), ...frames, end);
    return client.ready();
  }
  if (mode === 'simple') client.send(Q(text));
  else client.send(P('', text), B('', ''), E());
  await client.wait(() => client.messages.some(({ type }) => 'GEHZ'.includes(type)));
  const begun = client.messages.some(({ type }) => type === 'G');
  const sync = mode === 'extended' ? [S] : [];
  client.send(...(begun ? [...frames, end] : []), ...sync);
  return client.ready();
}

interface Case {
  text: string;
  data: readonly (Buffer | string)[];
  mode?: Mode;
  end?: Buffer;
  /** It is left to the guard, whose repairs are no mistake. */
  guarded?: boolean;
}

/** @returns what differs; null: nothing does. */
async function differs(b: CopyTables, example: Case) {
  const { text, data, mode = 'simple', end = copyDone } = example;
  const bytes = data.map((part) => Buffer.from(part as string));
  const [plain, tandem] = await Promise.all(
    [b.plain, b.tandem].map((client) => copy(client, mode, text, bytes, end)),
  );
  const disorder = await b.disorder();
  const rows = await b.rows();
  // A default that is drawn is the guard's to give twice.
  if (example.guarded || /orders \((?!.*made.*\) FROM)/.test(text)) disorder.repairs = 0;
  const seen = { said: said(tandem!), rows: rows.tandem, ...disorder };
  const expected = { said: said(plain!), rows: rows.plain, wrong: 0, repairs: 0 };
  return JSON.stringify(seen) === JSON.stringify(expected) ? null : { seen, expected };
}

const WIDE = `{"a": [1, 2, "${'x'.repeat(200)}"]}`;

/** What can be said of COPY, one case each. */
const CASES_BY_HAND: Case[] = [
  {
    text: 'COPY orders FROM STDIN',
    data: ['1\tab\tn\t{"a": 1, "a": 2}\t5\t6\n2\t\\N\t\\N\t\\N\t\\N\t\\N\n'],
  },
  { text: 'COPY orders FROM STDIN', data: [] },
  { text: 'COPY orders FROM STDIN', data: ['\\.\n'] },
  { text: 'COPY orders FROM STDIN', data: ['1\tab\tn\t{}\t3000000000\t6'] },
  { text: 'COPY orders FROM STDIN', data: ['1\tab\tn\t{}\t9\t6\n\\.\nnothing behind it\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['a\\tb\t1\t2\r\n', 'c\\\td\t3\t4\r\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab  \t 1 \t2\nabcde   \t3\t4\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['toolong\t1\t2\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\tx\t2\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\t1\t2\nab\t1\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\t1\t2\nab\t1\t2\t3\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\t1\t2\n\nab\t1\t2\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\t99999999999\t2\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\t1\t2\ncd\t1\t2\r\n'] },
  { text: 'COPY orders (v, id, made) FROM STDIN', data: ['ab\t1\t2\n'], end: copyFail('no more') },
  { text: 'COPY orders (v, id, note, made) FROM STDIN', data: ['ab\t1\tloud\t2\ncd\t2\tbad\t3\n'] },
  {
    text: 'COPY orders (v, id, note, made) FROM STDIN',
    data: [`ab\t1\t${'y'.repeat(150)}\t2\ncd\t2\tbad\t3\n`],
  },
  { text: 'COPY orders (v, id, note, made) FROM STDIN', data: ['ab\t5\t\t2\nab\t 0x0D\tn\t3\n'] },
  { text: 'COPY orders (id, note, made) FROM STDIN', data: ['5\ta  \t2\n15\tworse\t3\n'] },
  { text: 'COPY orders (id, note, made) FROM STDIN CSV', data: ['5," worse",2\n014,"bad",3\n'] },
  { text: 'COPY orders (note, j, made) FROM STDIN', data: [`bad\t${WIDE}\t1\n`] },
  { text: 'COPY orders (note, j, made) FROM STDIN', data: [`n\t${WIDE}\t1\nn\t{]\t1\n`] },
  {
    text: 'COPY orders (big, made) FROM STDIN',
    data: ['1\t1\n-3000000000\t2\n\\N\t3\n', '1\t4\n'],
  },
  {
    text: 'COPY orders (id, big, made) FROM STDIN',
    data: ['007\t-0\t1\n +5 \t\\062\\x30\t2\n-', '2147483648\t9223372036854775807\t3\n'],
  },
  {
    text: "COPY orders (id, big, made) FROM STDIN (NULL '42', DELIMITER '-')",
    data: ['042-42-1\n7-0x2A-2\n'],
  },
  {
    text: "COPY orders (id, big, made) FROM STDIN (FORMAT csv, NULL '42', DELIMITER '2')",
    data: ['"042"2"+42"21\n"007"24221\n'],
  },
  {
    text: 'COPY orders (id, big, note, made) FROM STDIN',
    data: [`0x000010\t+${'0'.repeat(40)}7\t${'z'.repeat(48)}\t9\n1_0\t5\tbad\t1\n`],
  },
  {
    text: 'COPY orders (id, big, note, made) FROM STDIN',
    data: [`016\t+07\tbad\t${'0'.repeat(27)}9\n`],
  },
  { text: 'COPY orders (id, big, made) FROM STDIN', data: ['é\t5\t1\n'] },
  { text: 'COPY orders (made) FROM STDIN', data: ['1\n2\n'] },
  {
    text: "COPY orders FROM STDIN CSV HEADER DELIMITER ';'",
    data: ['id;v;note;j;big;made\n1;a;"x;\n""y""";{};7;8\n2;;;;;\n'],
  },
  {
    text: "COPY orders (id, v, made) FROM STDIN (FORMAT csv, ESCAPE '\\')",
    data: ['1,"a\\"b",2\n', '3,"c\\\\",4\n'],
  },
  {
    text: 'COPY orders (id, v, made) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (v))',
    data: ['1,,2\n3,"",4\n'],
  },
  {
    text: "COPY orders (id, v, made) FROM STDIN (FORMAT csv, FORCE_NULL (v), NULL 'xx')",
    data: ['1,"xx",2\n3,xx,4\n5,,6\n'],
  },
  { text: 'COPY orders (id, v, made) FROM STDIN (FORMAT csv)', data: ['1,"ab,2\n'] },
  { text: 'COPY orders (v) FROM STDIN (FORMAT csv)', data: ['a\n\\.\nb\n'] },
  { text: 'COPY orders (made) FROM STDIN (FORMAT csv)', data: ['1\n\\.\n2\n'] },
  { text: 'COPY orders (id, v, made) FROM STDIN WHERE id > 1', data: ['1\ta\t2\n3\tb\t4\n'] },
  {
    text: 'COPY orders (id, v, made) FROM STDIN WHERE id > 1; SELECT 1',
    data: ['1\ta\t2\n3\tb\t4\n'],
  },
  { text: 'COPY orders (id, nothing) FROM STDIN', data: ['1\ta\t2\n'] },
  { text: "COPY orders (id, v) FROM STDIN (DELIMITER 'ab')", data: ['1\ta\n'] },
  {
    text: "COPY orders (id, v, made) FROM STDIN (ENCODING 'latin1')",
    data: [Buffer.from('1\t\xe4\xf6\t2\n', 'latin1')],
  },
  {
    text: 'COPY orders (id, v, made) FROM STDIN',
    data: [Buffer.from('1\t\xe4\xf6\t2\n', 'latin1')],
  },
];

/** What older servers do not know they refuse, and so do the others where it is wrong. */
const LATER: Case[] = [
  { text: 'COPY orders (id, v, made) FROM STDIN (HEADER match)', data: ['id\tv\tmade\n1\ta\t2\n'] },
  {
    text: 'COPY orders (id, v, made) FROM STDIN (FORMAT csv, HEADER match)',
    data: ['id,v,made\n1,a,2\n'],
  },
  { text: 'COPY orders (id, v, made) FROM STDIN (HEADER match)', data: ['id\tv\n1\ta\t2\n'] },
  { text: 'COPY orders (id, v, made) FROM STDIN (HEADER match)', data: ['id\tw\tmade\n1\ta\t2\n'] },
  { text: "COPY orders (id, v, note) FROM STDIN (DEFAULT 'D')", data: ['D\tD\tD\n3\tb\tc\n'] },
  {
    text: "COPY orders (id, v, note) FROM STDIN (FORMAT csv, DEFAULT 'D')",
    data: ['D,D,"D"\n3,"D",c\n'],
  },
  {
    text: 'COPY orders (id, v, made) FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)',
    data: ['x\ta\t2\n3\tb\t4\n5\ttoolong\t6\n'],
  },
  {
    text: 'COPY orders (id, v, made) FROM STDIN (ON_ERROR ignore, REJECT_LIMIT 1)',
    data: ['x\ta\t2\n3\tb\t4\n5\ttoolong\t6\n'],
  },
  {
    text: 'COPY orders (id, v, made) FROM STDIN (FORMAT csv, FORCE_NULL *)',
    data: ['1,"",2\n3,xx,4\n'],
  },
];

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const int16 = (n: number) => Buffer.from([(n >> 8) & 255, n & 255]);
const int32 = (n: number) => Buffer.from([n >> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255]);
const value = (bytes: Buffer | null) =>
  bytes ? Buffer.concat([int32(bytes.length), bytes]) : int32(-1);
const binary = (...rows: (Buffer | null)[][]) =>
  Buffer.concat([
    SIGNATURE,
    ...rows.map((row) => Buffer.concat([int16(row.length), ...row.map(value)])),
    int16(-1),
  ]);
const four = int32;
const eight = (n: number) => Buffer.concat([int32(Math.floor(n / 2 ** 32)), int32(n | 0)]);

const BINARY: Case[] = [
  {
    text: 'COPY orders (id, v, made) FROM STDIN BINARY',
    data: [binary([four(1), Buffer.from('ab'), four(-2)], [four(3), null, null])],
  },
  {
    text: 'COPY orders (id, big) FROM STDIN (FORMAT binary)',
    data: [binary([four(-1), eight(5)], [four(2), eight(-3e9)], [four(3), eight(3e9)])],
  },
  { text: 'COPY orders (id, big) FROM STDIN (FORMAT binary)', data: [binary([four(1)])] },
  {
    text: 'COPY orders (id, big) FROM STDIN (FORMAT binary)',
    data: [binary([four(1), eight(1), eight(2)])],
  },
  {
    text: 'COPY orders (id, big) FROM STDIN (FORMAT binary)',
    data: [binary([eight(1), eight(1)])],
  },
  {
    text: 'COPY orders (id, big) FROM STDIN (FORMAT binary)',
    data: [Buffer.from('no signature at all, but long')],
  },
  {
    text: 'COPY orders (id, big) FROM STDIN (FORMAT binary)',
    data: [SIGNATURE, int16(2), four(4)],
  },
];

const MODES: Mode[] = ['simple', 'at once', 'extended'];

const chance = seeded(seed);
const upTo = (n: number) => Math.floor(chance() * n);

/** A COPY with rows that are mostly right. */
function randomCase(): Case {
  const names = ['id', 'v', 'note', 'j', 'big'].filter(() => chance() < 0.6);
  const columns = chance() < 0.2 ? null : [...names, 'made'].sort(() => chance() - 0.5);
  const isCsv = chance() < 0.5;
  const delimiter = pick(chance, isCsv ? [',', ';'] : ['\t', '|']);
  const values: Record<string, string[]> = {
    id: ['1', '2', '007', ' 5', '-1', '2147483647', '2147483648', '12x', '0x1F', '1_000'],
    v: ['a', 'ab', 'abcde', 'abc   ', 'abcdef', 'abcdefg     ', 'é', 'D'],
    note: [
      'n',
      'loud',
      'a b',
      'x'.repeat(90),
      'x'.repeat(93),
      chance() < 0.2 ? 'bad' : 'good',
      chance() < 0.1 ? 'worse' : 'worst',
    ],
    j: ['{}', '[1,  2]', '1.50', 'null', chance() < 0.1 ? '{' : '{"b": 1}'],
    big: Array.from({ length: 9 }, () => String(upTo(1e6) * (chance() < 0.2 ? -123457 : 1))),
    made: ['1', '2', '3', '-0', '0009999'],
  };
  const rows = Array.from({ length: upTo(6) }, () => {
    const fields = (columns ?? ['id', 'v', 'note', 'j', 'big', 'made']).map((name) => {
      if (chance() < 0.1) return isCsv ? '' : '\\N';
      const text = pick(chance, values[name]!);
      if (!isCsv)
        return chance() < 0.2
          ? text.replace(/^[a-z]/, (c) => `\\x${c.charCodeAt(0).toString(16)}`)
          : text;
      return chance() < 0.4 || /["{,]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    });
    const wrong = chance();
    if (wrong < 0.03) fields.pop();
    else if (wrong > 0.97) fields.push('more');
    return fields.join(delimiter);
  });
  const end = pick(chance, ['\n', '\n', '\r\n', '\r']);
  // A line of 100 bytes cannot be told from a longer one where it is shown.
  const told = rows.filter((row) => Buffer.byteLength(row) !== 100);
  const data = told.join(end) + (chance() < 0.8 ? end : '');
  const list = columns ? ` (${columns.join(', ')})` : '';
  const options = [`DELIMITER E'${delimiter}'`, ...(isCsv ? ['FORMAT csv'] : [])];
  if (chance() < 0.1) options.push("NULL '2'");
  return {
    text: `COPY orders${list} FROM STDIN (${options.join(', ')})`,
    data: pieces(chance, Buffer.from(data), pick(chance, [1, 5, 50, 5000])),
    mode: pick(chance, MODES),
    ...(chance() < 0.05 ? { end: copyFail('enough') } : {}),
  };
}

/** Three in one Query, and several runs of a prepared one, of which one fails. */
async function several(client: RawClient): Promise<string[]> {
  const begun = () => client.wait(() => client.messages.at(-1)?.type === 'G');
  client.send(
    Q('COPY orders (id, made) FROM STDIN; COPY items FROM STDIN; COPY orders FROM STDIN'),
  );
  for (const data of ['1\t2\n3\t4\n', 'any\tthing\n', '4\tv\tn\t{}\t5\t6\n']) {
    await begun();
    const part = client.messages.splice(0).map(({ type }) => type);
    client.send(copyData(data.slice(0, 3)), copyData(data.slice(3)), copyDone);
    if (part.join('') !== 'G' && part.join('') !== 'CG') throw new Error(part.join(''));
    await client.wait(() => client.messages.length > 0);
  }
  const first = brief(await client.ready());
  client.send(P('again', 'COPY orders (v, made) FROM STDIN'), B('portal', 'again'), S);
  client.send(B('', 'again'), E(), copyData('ab\t1\n'), copyDone, S);
  client.send(B('other', 'again'), E('other'), copyData('toolong\t'), copyData('1\n'), copyDone, S);
  client.send(Q('SELECT 1'));
  return [first, brief(await client.ready(4))];
}

t.test('several in one Query, and through portals of one prepared statement', async (t) => {
  const b = await copyTables(t, 18);
  await b.direct(
    'CREATE TABLE plain.items (a text, b text); CREATE TABLE tandem.items (a text, b text)',
  );
  const [plain, tandem] = [await several(b.plain), await several(b.tandem)];
  t.same(tandem, plain);
  t.match(plain[0], 'C:COPY 1');
  const rows = await b.rows();
  t.same(rows.tandem, rows.plain);
  t.same(await b.disorder(), { wrong: 0, repairs: 0 });
});

t.test('without a guard it is rewritten or refused', async (t) => {
  const b = await copyTables(t, 18, 'none');
  const run = (text: string) => copy(b.tandem, 'simple', text, [Buffer.from('1\n')], copyDone);
  for (const text of [
    'COPY orders (id) FROM STDIN',
    "COPY orders FROM '/dev/null'",
    "COPY orders FROM STDIN (ENCODING 'johab')",
  ]) {
    t.equal(brief(await run(text)), 'E:0A000 Z:I', text);
  }
  t.equal(brief(await run('COPY orders (made) FROM STDIN')), 'G C:COPY 1 Z:I');
  t.same(await b.disorder(), { wrong: 0, repairs: 0 });
  t.equal((await b.rows()).tandem.length, 1);
});

t.test('what is left to the guard has its column list all the same', async (t) => {
  const b = await copyTables(t, 18);
  const encoded = "COPY orders FROM STDIN (ENCODING 'gbk')";
  t.notOk(await differs(b, { text: encoded, data: ['1\tab\tn\t{}\t5\t6\n'], guarded: true }));
  t.notOk(await differs(b, { text: 'COPY orders TO STDOUT', data: [] }));
  t.equal(await b.metric('pgtandem_guarded_total', { reason: 'copy-options' }), 1);
});

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: COPY FROM STDIN is as on a table without a migration`, async (t) => {
    const b = await copyTables(t, major);
    const byHand = [...CASES_BY_HAND, ...BINARY, ...LATER];
    for (const example of byHand) {
      for (const mode of MODES) {
        const isSeveral = example.text.includes(';') && mode === 'extended';
        if (isSeveral) continue;
        const result = await differs(b, { mode, ...example });
        if (result) {
          t.same(result.seen, result.expected, `${mode}: ${example.text}`);
          await b.newClients();
        }
      }
    }
    for (let i = 0; i < CASES; i++) {
      const example = randomCase();
      const result = await differs(b, example);
      if (!result) continue;
      const data = JSON.stringify(Buffer.concat(example.data as Buffer[]).toString());
      t.same(result.seen, result.expected, `${example.mode}: ${example.text} <- ${data}`);
      break;
    }
    t.pass(`${byHand.length * MODES.length + CASES} times`);
    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
    t.ok((await b.metric('pgtandem_statements_total', { outcome: 'rewritten' })) > byHand.length);
  });
}
