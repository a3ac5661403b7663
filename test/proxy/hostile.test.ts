/**
 * Bytes that no honest client sends, to a real server and through the proxy: the answers are the
 * same, in the same order. Where the server closes without a word because it cannot tell messages
 * apart any more, the proxy may say why (08P01). A friendly session is open all the time.
 *
 * What was broken on purpose, and which test then failed:
 * | broken                                           | fails               |
 * | ------------------------------------------------ | ------------------- |
 * | session: what came before a lie is not answered  | lengths that lie    |
 * | frontend: an unknown type is dropped             | unknown types       |
 * | frontend: a malformed Bind ends the session      | malformed bodies    |
 * | session: our reason is added to the server's own | lengths that lie    |
 * | use: no Flush when it waits behind a COPY        | Syncs within a COPY |
 * | ring: what cannot be in a COPY does not end it   | Syncs within a COPY |
 * | frontend: it is not entered in the ledger either | a COPY is to fail   |
 */
import t, { type Test } from 'tap';
import { message } from '../../proxy/messages.js';
import { type Message, RawClient } from './harness.js';
import { pick, pieces, seeded } from './random.js';
import { type Ruled, ruled } from './ruled.js';
import {
  B,
  brief,
  C,
  copyData,
  copyDone,
  copyFail,
  D,
  E,
  error,
  H,
  P,
  Q,
  S,
  startupPacket,
  X,
} from './wire.js';

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const ROUNDS = process.env.LONG ? 3000 : 150;

t.setTimeout(process.env.LONG ? 1_800_000 : 120_000);

const m = (type: string | number, body: Buffer | string = '') =>
  message(typeof type === 'string' ? type.charCodeAt(0) : type, body);
const header = (type: string, length: number) => {
  const bytes = Buffer.alloc(5, type);
  bytes.writeInt32BE(length, 1);
  return bytes;
};
const int16 = (n: number) => Buffer.from([(n >> 8) & 255, n & 255]);

/** Ours, when the client's messages cannot be told apart any more. */
const UNREADABLE = /^invalid (message from the client|length of startup packet)$/;

/** What came back, with the words of errors, but for our own. */
function words(messages: Message[]): string {
  const errors = messages.filter((m) => m.type === 'E').map((m) => error(m).message);
  return `${brief(messages)} ${errors.filter((text) => !UNREADABLE.test(text)).join('; ')}`.trim();
}

/** The server's words at a type that it does not know, before it closes. */
const UNKNOWN_TYPE = /^invalid frontend message type/;

/** Whether messages end within a header: the server looks at its first byte, the proxy at none. */
function endsInHeader(bytes: Buffer): boolean {
  let at = 0;
  while (at + 5 <= bytes.length) at += 1 + Math.max(4, bytes.readInt32BE(at + 1));
  return at < bytes.length;
}

/**
 * Whether the proxy has given the server's answers. Where it could not read on, its own words (or
 * none, behind an error) stand for the server's last ones; and to the server it was the client's
 * end, at which it does not send the answers that no Flush or Sync has asked for.
 */
function agree(direct: Message[], relayed: Message[], bytes: Buffer): boolean {
  if (words(direct) === words(relayed)) return true;
  const last = relayed.at(-1);
  const ours = last?.type === 'E' && UNREADABLE.test(error(last).message);
  const end = direct.at(-1);
  const spoken = end?.type === 'E' && UNKNOWN_TYPE.test(error(end).message);
  const before = spoken ? direct.slice(0, -1) : direct;
  if (spoken && endsInHeader(bytes)) return words(before) === words(relayed);
  if (!ours && last?.type !== 'E') return false;
  const answered = ours ? relayed.slice(0, -1) : relayed;
  const unasked = before.slice(answered.length).every(({ type }) => '123tTn'.includes(type));
  return unasked && words(before.slice(0, answered.length)) === words(answered);
}

/** COPY into the second fails before it has read anything. */
const TABLES = `CREATE TABLE plain (i int); CREATE TABLE barred (i int);
  CREATE FUNCTION bar() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'barred'; END$$;
  CREATE TRIGGER bar BEFORE INSERT ON barred FOR EACH STATEMENT EXECUTE FUNCTION bar()`;

/** Sends bytes and then the end, and gives all that is answered. */
async function say(port: number, bytes: Buffer[], login = true): Promise<Message[]> {
  const client = login ? await RawClient.login(port) : await RawClient.open(port);
  client.send(...bytes);
  client.socket.end();
  const messages = await client.end();
  client.destroy();
  return messages;
}

interface Case {
  name: string;
  bytes: Buffer[];
}

/** Runs cases on a direct connection and through the proxy, and compares. */
async function compare(
  t: Pick<Test, 'equal' | 'pass'>,
  b: Ruled,
  cases: Case[],
  login = true,
): Promise<void> {
  const one = async ({ name, bytes }: Case) => {
    const [direct, relayed] = await Promise.all([
      say(b.cluster.port, bytes, login),
      say(b.port, bytes, login),
    ]);
    if (!agree(direct, relayed, Buffer.concat(bytes))) t.equal(words(relayed), words(direct), name);
  };
  for (let i = 0; i < cases.length; i += 16) await Promise.all(cases.slice(i, i + 16).map(one));
  t.pass(`${cases.length} cases`);
}

const BEFORE = Q('SELECT 1');
const AFTER = [S, Q('SELECT 99'), X];
const TYPES = ['Q', 'P', 'B', 'E', 'D', 'C', 'F', 'S', 'H', 'X', 'c', 'd', 'f', 'p', '?', '\0'];

function lies(): Case[] {
  const lengths = [0, 1, 3, 4, 5, 100, 9_999, 10_001, 0x3ffffffe, 0x3fffffff, 0x7fffffff, -1];
  return TYPES.flatMap((type) =>
    lengths.map((length) => ({
      name: `${type} of ${length}`,
      bytes: [BEFORE, header(type, length), Buffer.from('abc'), ...AFTER],
    })),
  );
}

function unknown(): Case[] {
  return Array.from({ length: 256 }, (_, type) => ({
    name: `type ${type}`,
    bytes: [BEFORE, m(type, type % 2 ? 'x\0' : ''), ...AFTER],
  }));
}

function malformed(): Case[] {
  const bodies: Record<string, (Buffer | string)[]> = {
    Q: ['', 'SELECT 1', 'SELECT 1\0SELECT 2\0', '\0\0', '\0'],
    P: ['', 'x', 'x\0', 'x\0SELECT 1', 'x\0SELECT 1\0', 'x\0SELECT 1\0\0', 'x\0SELECT 1\0\0\x05'],
    B: ['', 'p', 'p\0', 'p\0s', 'p\0s\0', 'p\0s\0\0\x01', 'p\0s\0\0\0\0\x01\0\0\0\x09a\0\0'],
    E: ['', 'p', 'p\0', 'p\0\0\0', '\0\0\0\0\0', '\0\xff\xff\xff\xff'],
    D: ['', 'S', 'Ss', '?s\0', 'S\0', 'P\0', 'Ss\0x\0'],
    C: ['', 'S', 'Ss', '?s\0', 'S\0', 'P\0', 'Ss\0x\0'],
    F: ['', '\0', '\0\0\0\x05', '\0\0\0\x05\0\0\0\x01', '\0\0\0\0\0\0\xff\xff\0\0'],
    S: ['x', '\0\0'],
    H: ['x'],
    c: ['x'],
    f: ['', 'why'],
  };
  const cases = Object.entries(bodies).flatMap(([type, all]) =>
    all.map((body) => ({
      name: `${type} ${JSON.stringify(body)}`,
      bytes: [
        P('s', 'SELECT 1'),
        S,
        BEFORE,
        m(type, Buffer.from(body as string, 'latin1')),
        ...AFTER,
      ],
    })),
  );
  for (const count of [-1, 2, 32_767]) {
    const counts = Buffer.concat([Buffer.from('\0s\0'), int16(count), int16(count)]);
    cases.push({ name: `Bind of ${count}`, bytes: [P('s', 'SELECT 1'), m('B', counts), ...AFTER] });
    const types = Buffer.concat([Buffer.from('s\0SELECT 1\0'), int16(count)]);
    cases.push({ name: `Parse of ${count}`, bytes: [m('P', types), ...AFTER] });
  }
  return cases;
}

const SOME: Record<string, Buffer> = {
  Q: Q('SELECT 5'),
  P: P('s', 'SELECT 6'),
  B: B('', 's'),
  E: E(),
  D: D('S', 's'),
  C: C('S', 's'),
  S,
  H,
  c: copyDone,
  f: copyFail('why'),
  d: copyData('7\n'),
  F: m('F', '\0\0\0\0\0\0\0\0\0\0'),
  p: m('p', 'secret\0'),
};

function misplaced(): Case[] {
  const letters = Object.keys(SOME);
  const beginnings: Record<string, Buffer[]> = {
    nothing: [],
    'a failed batch': [P('', 'nonsense')],
    'a failed transaction': [Q('BEGIN'), Q('SELECT 1/0')],
    'an open batch': [P('s', 'SELECT 1'), B('', 's')],
    COPY: [Q('COPY plain FROM STDIN'), copyData('1\n')],
    'extended COPY': [P('', 'COPY plain FROM STDIN'), B('', ''), E(), copyData('2\n')],
  };
  return Object.entries(beginnings).flatMap(([where, bytes]) =>
    letters.map((letter) => ({
      name: `${letter} in ${where}`,
      bytes: [...bytes, SOME[letter]!, copyDone, ...AFTER],
    })),
  );
}

/**
 * A COPY with Syncs in it, behind which comes what the server drops or answers: that depends on
 * where the COPY has failed, and no message says where.
 */
function copies(): Case[] {
  const copy = (table: string) => [P('', `COPY ${table} FROM STDIN`), B('', ''), E()];
  const ways: Record<string, Buffer[]> = {
    'it fails at once': [...copy('barred'), S, copyData('1\n'), copyDone],
    'it fails at once, two Syncs': [...copy('barred'), S, copyData('1\n'), S, copyDone],
    'it fails before a Sync': [...copy('plain'), copyData('x\n'), S, copyData('1\n'), copyDone],
    'it fails behind a Sync': [...copy('plain'), S, copyData('x\n'), copyDone],
    'it fails between two': [...copy('plain'), S, copyData('x\n'), S, H, copyDone],
    'it is made to fail': [...copy('plain'), S, copyFail('no')],
    'it succeeds': [...copy('plain'), S, copyData('3\n'), S, copyDone],
    'it is none': [P('', 'SELECT 4'), B('', ''), E(), S, copyDone],
    'it has no end': [...copy('plain'), S],
    'it has no end, and fails': [...copy('barred'), S],
    'it is simple': [Q('COPY barred FROM STDIN'), S, copyData('1\n'), S, copyDone],
  };
  const behind: Record<string, Buffer[]> = {
    'a Query': [Q('SELECT 5')],
    'a batch': [P('s', 'SELECT 6'), B('', 's'), E(), S],
    'a FunctionCall': [SOME.F!, S],
    'a Flush and a Query': [H, Q('SELECT 5'), H],
    'a Sync and a Query': [S, Q('SELECT 5')],
    'another COPY': [...copy('plain'), S, copyData('7\n'), copyDone, Q('SELECT 5')],
    'the end of a transaction': [Q('ROLLBACK')],
  };
  const cases = Object.entries(ways).flatMap(([way, bytes]) =>
    Object.entries(behind).map(([what, more]) => ({
      name: `${what} where ${way}`,
      bytes: [...bytes, ...more, Q('SELECT 8'), S, Q('SELECT 9'), X],
    })),
  );
  const begun = cases.map(({ name, bytes }) => ({
    name: `${name}, in a transaction`,
    bytes: [Q('BEGIN'), ...bytes],
  }));
  return [...cases, ...begun];
}

function startups(): Case[] {
  const bare = (length: number, version: number, body = '') => {
    const head = Buffer.alloc(8);
    head.writeInt32BE(length, 0);
    head.writeInt32BE(version, 4);
    return Buffer.concat([head, Buffer.from(body, 'latin1')]);
  };
  const user = 'user\0postgres\0';
  return [
    // A length that cannot be right: the server closes without a word, we say why.
    ...[0, 1, 7, -1, 0x7fffffff].map((n) => ({ name: `length ${n}`, bytes: [bare(n, 0x30000)] })),
    ...[0, 1, 0x20000, 0x40000, 0x2ffff, 0x7fff0000, -1].map((version) => ({
      name: `version ${version}`,
      bytes: [startupPacket({ user: 'postgres' }, version), Q('SELECT 1'), X],
    })),
    { name: 'no parameters at all', bytes: [bare(8, 0x30000)] },
    { name: 'no user', bytes: [bare(9, 0x30000, '\0')] },
    { name: 'no end', bytes: [bare(8 + user.length, 0x30000, user)] },
    { name: 'a name without a value', bytes: [bare(9 + 13, 0x30000, 'user\0postgres')] },
    { name: 'more behind', bytes: [bare(8 + user.length + 2, 0x30000, `${user}\0x`)] },
    { name: 'half of it', bytes: [startupPacket({ user: 'postgres' }).subarray(0, 12)] },
    { name: 'no such database', bytes: [startupPacket({ user: 'postgres', database: 'no' })] },
    { name: 'a bad option', bytes: [startupPacket({ user: 'postgres', options: '-x' })] },
    {
      name: 'a parameter that is not',
      bytes: [startupPacket({ user: 'postgres', nonsense: '1' })],
    },
    { name: 'nothing', bytes: [] },
    { name: 'one byte', bytes: [Buffer.from([0])] },
  ];
}

/** Good streams with some bytes changed, left out or put in. */
function mutated(random: () => number): Case[] {
  return Array.from({ length: ROUNDS }, (_, round) => {
    const parts = Array.from({ length: 8 }, () => SOME[pick(random, Object.keys(SOME))]!);
    const bytes = Buffer.concat([Q('BEGIN'), ...parts, S, Q('SELECT 8')]);
    for (let i = 1 + random() * 3; i > 1; i--) {
      bytes[Math.floor(random() * bytes.length)] = pick(random, [0, 1, 4, 255, 0x51, 0x53]);
    }
    const at = Math.floor(random() * bytes.length);
    const cut = random() < 0.3 ? [bytes.subarray(0, at), bytes.subarray(at + 1)] : [bytes];
    return { name: `SEED=${SEED} round ${round}`, bytes: [...cut, S, S, X] };
  });
}

for (const major of [14, 18]) {
  for (const rules of [false, true]) {
    t.test(`PostgreSQL ${major}, ${rules ? 'with' : 'no'} rules`, async (t) => {
      const b = await ruled(t, major, { limits: { loginTimeoutMs: 5_000 } });
      await b.direct(TABLES);
      if (rules) await b.rule('');
      const friend = await RawClient.login(b.port);
      t.comment(`SEED=${SEED}`);
      const groups: [string, Case[], boolean][] = [
        ['lengths that lie', lies(), true],
        ['unknown types', unknown(), true],
        ['malformed bodies', malformed(), true],
        ['messages out of order', misplaced(), true],
        ['Syncs within a COPY', copies(), true],
        ['start-up packets', startups(), false],
        ['good streams with bad bytes', mutated(seeded(SEED)), true],
      ];
      for (const [name, cases, login] of groups) {
        await t.test(name, async (t) => compare(t, b, cases, login));
        friend.send(Q('SELECT 3'));
        t.equal(brief(await friend.ready()), 'T D:3 C:SELECT 1 Z:I', 'the friend is served');
      }
      friend.destroy();
      t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
    });
  }
}

t.test('a Sync, and what cannot be in a COPY, while a COPY is to fail', async (t) => {
  const b = await ruled(t, 18);
  const friend = await RawClient.login(b.port);
  t.teardown(() => friend.destroy());
  await b.direct(`CREATE TABLE late (i int);
    CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
      $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); RAISE 'barred'; END$$;
    CREATE TRIGGER late BEFORE INSERT ON late FOR EACH STATEMENT EXECUTE FUNCTION late()`);
  for (const [behind, answers] of [
    [[Q('DEALLOCATE ALL'), Q('SELECT 5'), X], 'Z:I C:DEALLOCATE ALL Z:I T D:5 C:SELECT 1 Z:I'],
    [[P('', 'DEALLOCATE ALL'), B('', ''), E(), S, X], 'Z:I 1 2 C:DEALLOCATE ALL Z:I'],
  ] as const) {
    for (const port of [b.cluster.port, b.port]) {
      await b.direct('SELECT pg_advisory_lock(7)');
      const client = await RawClient.login(port);
      client.send(P('', 'COPY late FROM STDIN'), B('', ''), E());
      await client.wait(() => client.messages.at(-1)?.type === 'G');
      client.send(S, ...behind);
      // What was sent before is on its way when this is answered, and the COPY has not failed.
      friend.send(Q('SELECT 3'));
      t.equal(brief(await friend.ready()), 'T D:3 C:SELECT 1 Z:I');
      await b.direct('SELECT pg_advisory_unlock(7)');
      t.equal(brief(await client.end()), `1 2 G E:P0001 ${answers}`);
      client.destroy();
    }
  }
});

t.test('the same in pieces', async (t) => {
  const b = await ruled(t, 18);
  await b.direct(TABLES);
  await b.rule('');
  const friend = await RawClient.login(b.port);
  const random = seeded(SEED);
  t.comment(`SEED=${SEED}`);
  const cases = [...malformed(), ...misplaced(), ...copies(), ...lies()];
  for (let i = 0; i < 60; i++) {
    const { name, bytes } = pick(random, cases);
    const direct = await say(b.cluster.port, bytes);
    const client = await RawClient.login(b.port);
    for (const piece of pieces(random, Buffer.concat(bytes), 9)) {
      client.send(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.end();
    const relayed = await client.end();
    client.destroy();
    // A server that closes while pieces are still on their way resets the connection, and the end
    // of what it said may be lost with it, as on a direct connection.
    const lost = brief(direct).startsWith(brief(relayed));
    if (!lost && !agree(direct, relayed, Buffer.concat(bytes)))
      t.equal(words(relayed), words(direct), name);
  }
  friend.send(Q('SELECT 3'));
  t.equal(brief(await friend.ready()), 'T D:3 C:SELECT 1 Z:I', 'the friend is served');
  friend.destroy();
});
