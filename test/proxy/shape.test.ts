import t from 'tap';
import { message, readFields } from '../../proxy/messages.js';
import { conversions, convertRow, readResultFormats } from '../../proxy/shape.js';
import { type Bench, bench, RawClient } from './harness.js';
import { tableRule } from './rewriter.js';
import { B, brief, D, E, P, Q, S } from './wire.js';

t.setTimeout(120_000);

/** Bind without parameters; all results binary. */
const binary = (statement: string) =>
  message(0x42, `\0${statement}\0`, Buffer.from([0, 0, 0, 0, 0, 1, 0, 1]));

const values = (messages: { type: string; body: Buffer }[]) =>
  messages.filter(({ type }) => type === 'D').map(({ body }) => body.toString('hex', 2));

const four = (n: number) => `00000004${(n >>> 0).toString(16).padStart(8, '0')}`;
const eight = (n: number) => `00000008${n.toString(16).padStart(16, '0')}`;

async function setUp(t: Parameters<typeof bench>[0], major: number) {
  const b = await bench(t, { major });
  const control = await b.cluster.client();
  t.teardown(() => control.end());
  await control.query(`CREATE TABLE users (id int, a text);
    INSERT INTO users VALUES (7, 'x'), (-8, 'y'), (NULL, 'z')`);
  const { rows } = await control.query("SELECT 'users'::regclass::oid::int AS oid");
  let epoch = 0;
  return {
    b: b as Bench,
    /** Alters the table as a cutover does: under rules of another version. */
    async alter(sql: string) {
      await control.query(sql);
      epoch++;
      const tables = [tableRule(rows[0].oid, 'users', '', { version: epoch })];
      await b.proxy.apply({ epoch, tables });
    },
  };
}

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: binary results keep the type that was described`, async (t) => {
    const { b, alter } = await setUp(t, major);
    const client = await RawClient.login(b.port);
    const named = 'SELECT id FROM users ORDER BY a';
    client.send(P('s', named), D('S', 's'), S);
    client.send(P('sum', 'SELECT sum(id) FROM users'), D('S', 'sum'), S);
    // Some drivers describe the portal of a statement's first use, and remember that.
    client.send(P('p', named), B('', 'p'), D('P'), E(), S);
    await client.ready(3);
    const run = async (statement: string) => {
      client.send(binary(statement), E(), S);
      return values(await client.ready());
    };
    await alter('ALTER TABLE users ALTER id TYPE bigint');
    for (let i = 0; i < 2; i++) {
      t.same(await run('s'), [four(7), four(-8), 'ffffffff']);
      t.same(await run('p'), [four(7), four(-8), 'ffffffff']);
      t.same(await run('sum'), ['00000008ffffffffffffffff'], 'a numeric that was a bigint');
    }
    client.send(binary('s'), E(), binary('s'), D('P'), E(), S);
    const both = values(await client.ready());
    t.same(both.slice(0, 1), [four(7)]);
    t.same(both.slice(3, 4), [eight(7)], 'whoever describes the portal is told the type of now');
    client.send(binary('s'), E(), S);
    t.same(values(await client.ready()).slice(0, 1), [eight(7)], 'and has been told');
    client.send(B('', 'p'), E(), S);
    t.equal(brief(await client.ready()), '2 D:7 D:-8 D:NULL C:SELECT 3 Z:I', 'text is text');
    await alter('ALTER TABLE users ALTER id TYPE int');
    t.same(await run('p'), [four(7), four(-8), 'ffffffff']);
    t.same((await run('s')).slice(0, 1), [eight(7)], 'widened again');
    client.destroy();
    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
  });

  t.test(
    `PostgreSQL ${major}: what cannot be kept fails as on a table altered directly`,
    async (t) => {
      const { b, alter } = await setUp(t, major);
      const client = await RawClient.login(b.port);
      client.send(P('s', 'SELECT id FROM users'), D('S', 's'), S);
      client.send(P('star', 'SELECT * FROM users'), D('S', 'star'), S);
      await client.ready(2);
      await alter(`ALTER TABLE users ALTER id TYPE date USING '2000-01-02'::date`);
      client.send(Q('BEGIN'), binary('s'), E(), S, Q('ROLLBACK'));
      const answers = await client.ready(3);
      t.equal(brief(answers), 'C:BEGIN Z:T 2 E:0A000 Z:E C:ROLLBACK Z:I');
      const failure = answers.find(({ type }) => type === 'E')!.body;
      t.equal(readFields(failure, 0, failure.length).get('R'), 'RevalidateCachedQuery');
      client.send(B('', 's'), E(), S);
      t.match(brief(await client.ready()), /^2 D:2000-01-02 /, 'in text it can');
      client.send(P('t', 'SELECT id FROM users'), D('S', 't'), binary('t'), E(), S);
      t.match(brief(await client.ready()), /C:SELECT 3 Z:I$/, 'prepared anew it is right');
      client.send(D('S', 'star'), S);
      await client.ready();
      await alter('ALTER TABLE users ADD COLUMN more int');
      client.send(B('', 'star'), E(), S);
      const more = brief(await client.ready());
      t.match(more, /^2 D:.* C:SELECT 3 Z:I$/, 'in text more columns do no harm behind the others');
      client.send(binary('star'), E(), S);
      t.equal(brief(await client.ready()), '2 E:0A000 Z:I', 'more columns than were described');
      await alter('ALTER TABLE users DROP COLUMN id, DROP COLUMN more');
      client.send(B('', 'star'), E(), S);
      t.equal(brief(await client.ready()), '2 E:0A000 Z:I', 'fewer columns than were described');
      client.send(B('', 'star'), D('P'), E(), S);
      t.match(brief(await client.ready()), /^2 T D:.* C:SELECT 3 Z:I$/);
      client.destroy();
    },
  );

  t.test(`PostgreSQL ${major}: a value that does not fit ends the session`, async (t) => {
    const { b, alter } = await setUp(t, major);
    const client = await RawClient.login(b.port);
    client.send(P('s', 'SELECT id FROM users ORDER BY id'), D('S', 's'), S);
    await client.ready();
    await alter('ALTER TABLE users ALTER id TYPE bigint');
    client.send(Q('UPDATE users SET id = 3000000000 WHERE id = 7'), binary('s'), E(), S);
    await client.ready();
    t.match(brief(await client.end()), /^2 D:.* E:22003$/s);
    t.equal(await b.metric('pgtandem_out_of_sync_total'), 0);
  });
}

t.test('whole numbers are converted as the server writes them', async (t) => {
  const b = await bench(t, { major: 18 });
  const client = await b.cluster.client();
  t.teardown(() => client.end());
  const oid = (n: number) => Buffer.from([n >> 24, n >> 16, n >> 8, n]).toString('latin1');
  const numbers = ['0', '1', '-1', '9999', '10000', '10001', '-120000000', '9223372036854775807'];
  for (const number of [...numbers, '-9223372036854775808', '100000000']) {
    const { rows } = await client.query(
      'SELECT int8send($1::int8) AS int8, numeric_send($1::numeric) AS numeric',
      [number],
    );
    const field = (value: Buffer) => {
      const head = Buffer.alloc(6);
      head.writeInt16BE(1);
      head.writeInt32BE(value.length, 2);
      return Buffer.concat([head, value]);
    };
    const [int8, numeric] = [field(rows[0].int8), field(rows[0].numeric)];
    const to = conversions(oid(1700), oid(20), [1])!;
    const from = conversions(oid(20), oid(1700), [1])!;
    t.same(convertRow(int8, 0, to), numeric, `${number} as numeric`);
    t.same(convertRow(numeric, 0, from), int8, `${number} as int8`);
  }
  const { rows } = await client.query('SELECT numeric_send(1.5) AS fraction');
  const head = Buffer.from([0, 1, 0, 0, 0, rows[0].fraction.length]);
  const narrow = conversions(oid(20), oid(1700), [1])!;
  t.equal(convertRow(Buffer.concat([head, rows[0].fraction]), 0, narrow), null);
});

t.test('a Bind that is not whole has no formats', async (t) => {
  const bind = B('', '', ['abc', null]);
  t.same(readResultFormats(bind, 7, bind.length), []);
  for (let end = 7; end < bind.length; end++) t.equal(readResultFormats(bind, 7, end), null);
  t.same(readResultFormats(binary(''), 7, binary('').length), [1]);
});
