import pg from 'pg';
import t, { type Test } from 'tap';
import { writeQuery } from '../../proxy/messages.js';
import { RawClient } from '../proxy/harness.js';
import { Rig } from './rig.js';

/*
 * What a name means is asked of the server, and asked again whenever it may mean something else.
 *
 * What was broken to see this fail:
 * - mayChangeNames lets a text with TEMP in it pass: a temporary table is taken for the one under
 *   migration (3rd test). (endsTransaction, and Resolver.tagged, are each made good by Resolver.ready
 *   where a client waits for its answers: proxy/decide.test.ts tests them by themselves.)
 * - namePattern without `u&"`: the escaped name goes by unseen, and the hidden column shows (4th test).
 * - followNames left out: a table that was renamed shows its hidden column, and its migration pauses
 *   (6th test). Texts are taken for UTF-8 in LATIN1, or are not read in it (5th test). PLAN_NOW replaced by plan: the rules follow the new name, and DDL does not.
 */

async function connect(rig: Rig, user = 'postgres', options = ''): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: rig.proxy.url('postgres', user),
    ...(options && { options }),
  });
  await client.connect();
  return client;
}

const MIGRATING = 'id,name';
const OTHER = 'id,other';

/** The columns that `users` shows, asked in both protocols. */
async function shown(t: Test, client: pg.Client, table = 'users'): Promise<string> {
  const text = `SELECT * FROM ${table} LIMIT 0`;
  const simple = (await client.query(text)).fields.map(({ name }) => name).join();
  const extended = await client.query({ text: `${text.slice(0, -1)}$1`, values: [0] });
  t.equal(extended.fields.map(({ name }) => name).join(), simple, 'in both protocols');
  return simple;
}

/** A session that writes and reads another encoding than `pg` can; answers as one line. */
async function speak(rig: Rig, encoding: string, written: 'latin1' | 'utf8') {
  const port = Number(rig.proxy.address.split(':').at(-1));
  const client = await RawClient.login(port, { client_encoding: encoding });
  return {
    end: () => client.destroy(),
    async ask(text: string): Promise<string> {
      client.send(writeQuery(Buffer.from(text, written)));
      const told = (await client.ready()).map(({ type, body }) => {
        const said = (from: number, to: number) => body.toString(written, from, to);
        if (type === 'T') return `T ${columnsOf(body, written).join()}`;
        if (type === 'D') return `D ${valuesOf(body, written).join()}`;
        if (type === 'C') return `C ${said(0, body.length - 1)}`;
        if (type !== 'E') return type;
        const fields = said(0, body.length).split('\0');
        return `E ${['C', 'P'].map((code) => fields.find((one) => one[0] === code)?.slice(1)).join(' ')}`;
      });
      return told.filter((one) => one !== 'Z').join(' ');
    },
  };
}

function columnsOf(body: Buffer, written: 'latin1' | 'utf8'): string[] {
  const names: string[] = [];
  for (let at = 2; at < body.length; ) {
    const end = body.indexOf(0, at);
    names.push(body.toString(written, at, end));
    at = end + 19;
  }
  return names;
}

function valuesOf(body: Buffer, written: 'latin1' | 'utf8'): string[] {
  const values: string[] = [];
  for (let at = 2; at < body.length; ) {
    const length = body.readInt32BE(at);
    values.push(body.toString(written, at + 4, at + 4 + length));
    at += 4 + length;
  }
  return values;
}

for (const major of [18, 14]) {
  t.test(`names mean on PostgreSQL ${major} what they mean to the server`, async (t) => {
    const rig = await Rig.open(major);
    t.teardown(() => rig.close());
    await rig.query(`
      CREATE TABLE users (id int PRIMARY KEY, name text);
      CREATE SCHEMA other; CREATE TABLE other.users (id int, other text);
      CREATE TABLE "Größen" (id int PRIMARY KEY, "straße" text, "select" text);
      CREATE ROLE elsewhere LOGIN SUPERUSER; ALTER ROLE elsewhere SET search_path = other, public;
      CREATE SCHEMA AUTHORIZATION elsewhere;
      CREATE TABLE elsewhere.users (id int, other text)`);
    await rig.start('r', 'ALTER TABLE users RENAME COLUMN name TO full_name');
    await rig.start('g', 'ALTER TABLE "Größen" RENAME COLUMN "straße" TO "Weg, neu"');
    await rig.reach('r', 'ready');
    await rig.reach('g', 'ready');
    await rig.applied('r');
    const both = (id: number) => rig.query('SELECT name, full_name FROM users WHERE id = $1', [id]);

    await t.test('by defaults of a role and of the database, and by options', async (t) => {
      const role = await connect(rig, 'elsewhere');
      t.equal(await shown(t, role), OTHER);
      await role.query(`INSERT INTO users VALUES (1, 'x')`);
      await role.query('RESET search_path');
      t.equal(await shown(t, role), OTHER);
      t.equal(await shown(t, role, 'public.users'), MIGRATING);
      await role.query('SET search_path TO DEFAULT');
      t.equal(await shown(t, role), OTHER);
      await role.query('SET search_path TO "$user", public');
      t.equal(await shown(t, role), OTHER, 'its own schema');
      await role.query('SET ROLE postgres');
      t.equal(await shown(t, role), MIGRATING, 'another role has none');
      await role.query('RESET ROLE');
      t.equal(await shown(t, role), OTHER);
      await role.end();
      const options = await connect(rig, 'postgres', '-c search_path=other');
      t.equal(await shown(t, options), OTHER);
      await options.end();
      await rig.query('ALTER DATABASE postgres SET search_path = other, public');
      const database = await connect(rig);
      t.equal(await shown(t, database), OTHER);
      await database.query('SET search_path = public');
      t.equal(await shown(t, database), MIGRATING);
      await database.query(`INSERT INTO users VALUES (11, 'y')`);
      t.same(await both(11), [{ name: 'y', full_name: 'y' }]);
      await database.query('DISCARD ALL');
      t.equal(await shown(t, database), OTHER);
      await database.end();
      await rig.query('ALTER DATABASE postgres RESET search_path');
    });

    await t.test('by SET LOCAL, savepoints and rollback', async (t) => {
      const client = await connect(rig);
      t.equal(await shown(t, client), MIGRATING);
      for (const end of ['COMMIT', 'ROLLBACK']) {
        await client.query('BEGIN');
        await client.query('SET LOCAL search_path = other');
        t.equal(await shown(t, client), OTHER);
        await client.query(end);
        t.equal(await shown(t, client), MIGRATING, end);
      }
      await client.query('BEGIN');
      await client.query('SET search_path = other');
      await client.query('SAVEPOINT a');
      await client.query('SET search_path = public');
      t.equal(await shown(t, client), MIGRATING);
      await client.query(`INSERT INTO users VALUES (21, 'z')`);
      await client.query('SAVEPOINT b');
      await client.query(`SELECT set_config('search_path', 'other', true)`);
      t.equal(await shown(t, client), OTHER);
      await client.query('ROLLBACK TO b');
      t.equal(await shown(t, client), MIGRATING);
      await client.query('RELEASE a');
      t.equal(await shown(t, client), MIGRATING);
      await client.query('COMMIT');
      t.equal(await shown(t, client), MIGRATING);
      t.same(await both(21), [{ name: 'z', full_name: 'z' }]);
      await client.query('BEGIN');
      await client.query('SET search_path = other');
      await t.rejects(client.query('SELECT 1/0'));
      await client.query('ROLLBACK');
      t.equal(await shown(t, client), MIGRATING, 'a failed transaction takes it back');
      await t.rejects(client.query('SET search_path = other; SELECT 1/0'));
      t.equal(await shown(t, client), MIGRATING, 'and so does one without BEGIN');
      await client.end();
    });

    await t.test('by temporary tables that lie before it', async (t) => {
      const client = await connect(rig);
      const TEMP = 'CREATE TEMP TABLE users (id int, other text)';
      t.equal(await shown(t, client), MIGRATING);
      await client.query(TEMP);
      t.equal(await shown(t, client), OTHER);
      t.equal(await shown(t, client, 'pg_temp.users'), OTHER);
      t.equal(await shown(t, client, 'public.users'), MIGRATING);
      await client.query(`INSERT INTO users VALUES (31, 'temporary')`);
      await client.query(`INSERT INTO public.users VALUES (31, 'real')`);
      t.same(await both(31), [{ name: 'real', full_name: 'real' }]);
      await client.query('DROP TABLE users');
      t.equal(await shown(t, client), MIGRATING);
      await client.query('BEGIN');
      await client.query(`${TEMP} ON COMMIT DROP`);
      t.equal(await shown(t, client), OTHER);
      await client.query('COMMIT');
      t.equal(await shown(t, client), MIGRATING);
      await client.query('BEGIN');
      await client.query('SAVEPOINT s');
      await client.query('SELECT 1 AS id, 2 AS other INTO TEMP users');
      t.equal(await shown(t, client), OTHER);
      await client.query('ROLLBACK TO s');
      t.equal(await shown(t, client), MIGRATING);
      await client.query('ROLLBACK');
      await client.query(TEMP);
      await client.query('DISCARD TEMP');
      t.equal(await shown(t, client), MIGRATING);
      await client.query(TEMP);
      await client.query('ALTER TABLE pg_temp.users RENAME TO people');
      t.equal(await shown(t, client), MIGRATING);
      await client.query('ALTER TABLE people RENAME TO users');
      t.equal(await shown(t, client), OTHER);
      await client.end();
    });

    await t.test('however they are written', async (t) => {
      const client = await connect(rig);
      const ways = [
        'users',
        'USERS',
        '"users"',
        'public . users',
        'public."users"',
        '"public".Users',
      ];
      for (const way of [...ways, String.raw`U&"\0075sers"`, `U&"!0075sers" UESCAPE '!'`]) {
        t.equal(await shown(t, client, way), MIGRATING, way);
      }
      await t.rejects(client.query('SELECT * FROM "Users"'), { code: '42P01' });
      const sizes = 'id,straße,select';
      const names = ['"Größen"', 'public."Größen"', String.raw`U&"Gr\00f6\00dfen"`];
      for (const [i, way] of names.entries()) {
        t.equal(await shown(t, client, way), sizes, way);
        await client.query(`INSERT INTO ${way} VALUES (${i}, 'Straße ${i}', 'x')`);
        await client.query(`UPDATE ${way} SET "select" = 'y', "straße" = "straße" || '!'
          WHERE id = ${i}`);
        t.same(await rig.query(`SELECT "straße", "Weg, neu" FROM "Größen" WHERE id = ${i}`), [
          { straße: `Straße ${i}!`, 'Weg, neu': `Straße ${i}!` },
        ]);
      }
      await t.rejects(client.query('SELECT * FROM größen'), { code: '42P01' }, 'it is folded');
      await client.end();
      const repairs = await rig.query('SELECT name, progress FROM pgtandem.migration');
      t.same(
        repairs.map(({ progress }) => (progress as { repairs?: number }).repairs ?? 0),
        [0, 0],
        'the guard had nothing to do',
      );
    });

    await t.test('in whatever encoding the client writes them', async (t) => {
      for (const [encoding, written] of [
        ['LATIN1', 'latin1'],
        ['WIN1252', 'latin1'],
        ['UTF8', 'utf8'],
      ] as const) {
        const client = await speak(rig, encoding, written);
        t.teardown(() => client.end());
        // From the third on they are made from what is known of those that differ in constants only.
        for (const id of [70, 71, 72, 73]) {
          const text = `INSERT INTO "Größen" VALUES (${id}, 'Gäßchen ${id}', 'x') RETURNING *, "Größen" IS NULL`;
          t.equal(
            await client.ask(text),
            `T id,straße,select,?column? D ${id},Gäßchen ${id},x,f C INSERT 0 1`,
            encoding,
          );
          t.same(await rig.query(`SELECT "straße", "Weg, neu" FROM "Größen" WHERE id = ${id}`), [
            { straße: `Gäßchen ${id}`, 'Weg, neu': `Gäßchen ${id}` },
          ]);
        }
        for (const wrong of [
          `UPDATE "Größen" SET "straße" = 'ä' || kein_ö WHERE id = 70`,
          `UPDATE "Größen" SET "straße" = 'Ä', "select" = kein_ö WHERE id = 70`,
        ]) {
          const where = wrong.indexOf('kein') + 1;
          t.equal(await client.ask(wrong), `E 42703 ${where}`, 'where the client has written it');
        }
        t.equal(await client.ask('DELETE FROM "Größen" WHERE id >= 70'), 'C DELETE 4');
        const rows = `SELECT count(*)::int FROM "Größen" WHERE ("Weg, neu" IS DISTINCT FROM "straße")`;
        t.equal(await rig.one(rows), 0);
      }
      const { progress } = await rig.when('g', () => true);
      t.equal((progress as { repairs?: number }).repairs ?? 0, 0, 'the guard had nothing to do');
    });

    await t.test('when the table is renamed, or moved, past the proxy', async (t) => {
      const client = await connect(rig);
      t.equal(await shown(t, client), MIGRATING);
      await rig.query('ALTER TABLE users RENAME TO members');
      await rig.when('r', ({ plan }) => plan.table.name === 'members');
      const followed = (name: string) =>
        `SELECT count(*)::int FROM pgtandem.rules, jsonb_array_elements(rule_set->'tables') AS t
         WHERE t->>'schema' || '.' || (t->>'name') = '${name}'`;
      const isFollowed = async (name: string) => {
        while ((await rig.one(followed(name))) !== 1) await rig.when('r', () => true);
        await rig.applied('r');
      };
      await isFollowed('public.members');
      t.equal(await shown(t, client, 'members'), MIGRATING);
      await client.query(`INSERT INTO members VALUES (51, 'm')`);
      await rig.query('ALTER TABLE members SET SCHEMA other');
      await isFollowed('other.members');
      t.equal(await shown(t, client, 'other.members'), MIGRATING);
      await client.query(`UPDATE other.members SET full_name = 'n' WHERE id = 51`);
      t.same(await rig.query('SELECT * FROM other.members WHERE id = 51'), [
        { id: 51, name: 'n', full_name: 'n' },
      ]);
      await t.rejects(
        client.query('ALTER TABLE other.members RENAME TO users'),
        { code: '0A000' },
        'through the proxy it is refused under its new name too',
      );
      await rig.ask('r', 'cutover', 'soaking');
      await rig.ask('r', 'revert', 'reverted');
      await rig.ask('r', 'cutover', 'soaking');
      await rig.ask('r', 'complete', 'completed');
      t.equal(await shown(t, client, 'other.members'), 'id,full_name');
      await client.end();
    });
  });
}
