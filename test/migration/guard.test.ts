import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { Plane } from './plane.js';

const SETUP = `CREATE TABLE users (id serial PRIMARY KEY, email varchar(40), n int DEFAULT 5);
  INSERT INTO users (email) SELECT 'User' || i || '@Here.org' FROM generate_series(1, 50) i`;

t.test('the guard keeps what no proxy has seen', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  t.beforeEach(() => plane.query(`DROP TABLE IF EXISTS users; ${SETUP}`));
  const one = async (sql: string) => Object.values((await plane.query(sql))[0]!)[0];
  const repairs = () =>
    one(`SELECT coalesce((SELECT last_value FROM pg_sequences
         WHERE schemaname = 'pgtandem' AND sequencename LIKE 'repairs%'), 0)::int`);

  t.test('before cutover the new column follows direct writes', async (t) => {
    await plane.start('a', 'ALTER TABLE users ALTER COLUMN email TYPE text USING lower(email)');
    await plane.reach('a', 'ready');
    await plane.query(`INSERT INTO users (email) VALUES ('NEW@x'), (NULL)`);
    await plane.query(`UPDATE users SET email = 'CHANGED@x' WHERE id = 7`);
    t.equal(await repairs(), 2, 'NULL is in order as it is');
    t.equal(await one('SELECT (lastval() = max(id))::text FROM users'), 'true');
    const wrong = `SELECT count(*)::int FROM users WHERE lower(email) IS DISTINCT FROM _pgtandem_new_email`;
    t.equal(await one(wrong), 0);
    await plane.query('UPDATE users SET n = 6');
    t.equal(await repairs(), 2, 'a row in order costs nothing');
    await plane.ask('a', 'abort', 'aborted');
  });

  t.test(
    'after cutover the old column follows, and a misfit does not fail the write',
    async (t) => {
      await plane.start('b', 'ALTER TABLE users ALTER COLUMN n TYPE bigint');
      await plane.reach('b', 'ready');
      await plane.ask('b', 'cutover', 'soaking');
      await plane.query('UPDATE users SET n = 77 WHERE id = 1');
      t.equal(await one('SELECT _pgtandem_old_n FROM users WHERE id = 1'), 77);
      await plane.query('UPDATE users SET n = 3000000000 WHERE id = 2');
      t.equal(await one('SELECT _pgtandem_old_n FROM users WHERE id = 2'), null);
      await plane.ask('b', 'revert', 'reverting');
      const back = await plane.reach('b', 'soaking');
      t.match(back.phase, { unfit: /1 rows hold a n that does not fit integer/ });
      await plane.query('UPDATE users SET n = 4 WHERE id = 2');
      await plane.ask('b', 'revert', 'reverted');
      t.equal(await one('SELECT sum(n)::int FROM users'), 48 * 5 + 77 + 4);
      await plane.ask('b', 'abort', 'aborted');
    },
  );

  t.test('a rename lets direct writers use either name, before and after', async (t) => {
    await plane.start('c', 'ALTER TABLE users RENAME COLUMN email TO mail');
    await plane.reach('c', 'ready');
    for (const phase of ['soaking', 'completed'] as const) {
      await plane.query(
        `INSERT INTO users (email) VALUES ('old'); INSERT INTO users (mail) VALUES ('new')`,
      );
      await plane.query(
        `UPDATE users SET mail = 'by new' WHERE id = 3; UPDATE users SET email = 'by old' WHERE id = 4`,
      );
      t.equal(await one('SELECT count(*)::int FROM users WHERE mail IS DISTINCT FROM email'), 0);
      t.equal(
        await one(`SELECT count(*)::int FROM users WHERE mail IN ('old', 'new')`),
        phase === 'soaking' ? 2 : 4,
      );
      t.equal(await one('SELECT mail FROM users WHERE id = 3'), 'by new');
      t.equal(await one('SELECT mail FROM users WHERE id = 4'), 'by old');
      await plane.ask('c', phase === 'soaking' ? 'cutover' : 'complete', phase);
    }
  });

  t.test(
    "an added column is derived until cutover, and the application's own after it",
    async (t) => {
      const sql = `ALTER TABLE users ADD COLUMN domain text; -- pgtandem: up(split_part(email, '@', 2))`;
      await plane.start('d', sql);
      await plane.reach('d', 'ready');
      t.equal(await one(`SELECT count(*)::int FROM users WHERE domain <> 'Here.org'`), 0);
      await plane.query(`UPDATE users SET domain = 'wrong' WHERE id = 1`);
      t.equal(await one('SELECT domain FROM users WHERE id = 1'), 'Here.org');
      await plane.ask('d', 'cutover', 'soaking');
      await plane.query(
        `UPDATE users SET domain = 'mine' WHERE id = 1; UPDATE users SET n = 9 WHERE id = 1`,
      );
      t.equal(await one('SELECT domain FROM users WHERE id = 1'), 'mine');
      await plane.query(
        `UPDATE users SET email = 'a@b.c' WHERE id = 2; INSERT INTO users (email) VALUES ('d@e.f')`,
      );
      t.equal(await one('SELECT domain FROM users WHERE id = 2'), 'b.c');
      t.equal(await one('SELECT domain FROM users ORDER BY id DESC LIMIT 1'), 'e.f');
      await plane.ask('d', 'complete', 'completed');
    },
  );

  const trigger = (name: string, body: string) =>
    plane.query(`CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN ${body} RETURN NEW; END$$;
      CREATE TRIGGER ${name} BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION ${name}()`);

  t.test('a trigger that puts the column back puts back what the old one held', async (t) => {
    await trigger('back', "IF TG_OP = 'UPDATE' AND NEW.n = 6 THEN NEW.email := OLD.email; END IF;");
    await plane.start('g', 'ALTER TABLE users ALTER COLUMN email TYPE text USING lower(email)');
    await plane.reach('g', 'ready');
    await plane.ask('g', 'cutover', 'soaking');
    await plane.query(`UPDATE users SET email = 'other', _pgtandem_old_email = 'other', n = 6 WHERE id = 3;
      UPDATE users SET email = 'other', n = 6 WHERE id = 4; UPDATE users SET email = 'Kept' WHERE id = 5`);
    await plane.ask('g', 'revert', 'reverted');
    t.same(await plane.query('SELECT email FROM users WHERE id IN (3, 4, 5) ORDER BY id'), [
      { email: 'User3@Here.org' },
      { email: 'User4@Here.org' },
      { email: 'Kept' },
    ]);
    await plane.ask('g', 'abort', 'aborted');
  });

  t.test('a value that the up expression makes of NULL is not taken for a misfit', async (t) => {
    await plane.query(
      `ALTER TABLE users ADD r int4range; UPDATE users SET r = '[1,3)' WHERE id < 3`,
    );
    const up = 'int8range(lower(r), upper(r))';
    const down = 'int4range(lower(r)::int, upper(r)::int)';
    const sql = `ALTER TABLE users ALTER COLUMN r TYPE int8range USING ${up}; -- pgtandem: down(${down})`;
    await plane.start('i', sql);
    await plane.reach('i', 'ready');
    await plane.ask('i', 'cutover', 'soaking');
    await plane.query(`UPDATE users SET r = '(,)' WHERE id < 3; UPDATE users SET n = 1 WHERE id = 4;
      INSERT INTO users (id, r) VALUES (100, '(,)')`);
    const found = 'SELECT id, r::text FROM users WHERE id IN (2, 3, 4, 100) ORDER BY id';
    t.same(
      (await plane.query(found)).map(({ r }) => r),
      ['(,)', '(,)', '(,)', '(,)'],
    );
    const old = found.replace('r::text', '_pgtandem_old_r::text AS r');
    t.same(
      (await plane.query(old)).map(({ r }) => r),
      ['(,)', null, null, '(,)'],
    );
    await plane.ask('i', 'complete', 'completed');
  });

  t.test('a composite value of which some or all fields are NULL is a value', async (t) => {
    await plane.query(`DROP TYPE IF EXISTS place; CREATE TYPE place AS (x int, y text);
      ALTER TABLE users ADD at place NOT NULL DEFAULT '(,)'; UPDATE users SET at = '(1,)' WHERE id < 9`);
    await plane.start('place', 'ALTER TABLE users RENAME COLUMN at TO spot');
    await plane.reach('place', 'ready');
    await plane.query(`INSERT INTO users (id, spot) VALUES (101, '(2,)'), (102, '(,)')`);
    t.equal(await one('SELECT count(*)::int FROM users WHERE at::text = spot::text'), 52);
    t.equal(await one('SELECT at::text FROM users WHERE id = 101'), '(2,)');
    await plane.ask('place', 'cutover', 'soaking');
    await plane.ask('place', 'revert', 'reverted');
    await plane.ask('place', 'abort', 'aborted');
    await plane.start('far', `ALTER TABLE users ADD COLUMN far place; -- pgtandem: up(at)`);
    await plane.reach('far', 'ready');
    await plane.ask('far', 'cutover', 'soaking');
    await plane.query(`INSERT INTO users (id, at, far) VALUES (103, '(3,c)', '(,)')`);
    t.equal(await one('SELECT far::text FROM users WHERE id = 103'), '(,)', 'it was given');
    await plane.ask('far', 'complete', 'completed');
  });

  t.test('a trigger may write the same table between our two, by either name', async (t) => {
    await trigger(
      'a',
      `IF pg_trigger_depth() = 1 THEN UPDATE users SET email = 'Other' WHERE id = NEW.id + 1; END IF;`,
    );
    await trigger('b', `IF NEW.n = 6 THEN NEW.email := lower(NEW.email); END IF;`);
    await plane.start('h', 'ALTER TABLE users RENAME COLUMN email TO mail');
    await plane.reach('h', 'ready');
    for (const phase of ['soaking', 'completing'] as const) {
      await plane.query(`UPDATE users SET mail = 'X@Y', n = 6 WHERE id = 8; UPDATE users SET email = 'X@Y', n = 6 WHERE id = 18;
        UPDATE users SET mail = 'X@Y', n = 7 WHERE id = 28`);
      t.same(
        await plane.query(
          'SELECT email, mail FROM users WHERE id IN (8, 9, 18, 19, 28, 29) ORDER BY id',
        ),
        ['x@y', 'Other', 'x@y', 'Other', 'X@Y', 'Other'].map((x) => ({ email: x, mail: x })),
        `before ${phase}`,
      );
      if (phase === 'soaking') await plane.ask('h', 'cutover', phase);
    }
    await plane.ask('h', 'complete', 'completed');
    const left = `SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'pgtandem'::regnamespace AND proname ~ '^(guard|arrival)_')
      + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%pgtandem%')`;
    t.equal(Number(await one(left)), 0, 'nothing of ours is left');
  });

  t.test('what is hung on the column meanwhile stops the migration, by name', async (t) => {
    await plane.start('f', 'ALTER TABLE users ALTER COLUMN n TYPE bigint');
    await plane.reach('f', 'ready');
    await plane.query('CREATE INDEX late ON users (n)');
    await t.rejects(
      plane.ask('f', 'cutover', 'soaking'),
      /paused: cutting-over: index (public\.)?late was made since the migration was planned/,
    );
    await plane.query('DROP INDEX late; ALTER TABLE users ADD COLUMN late int');
    await plane.query(
      `UPDATE pgtandem.migration SET paused = NULL WHERE name = 'f'; NOTIFY pgtandem`,
    );
    await t.rejects(plane.reach('f', 'soaking'), /has a new column late/);
    await plane.ask('f', 'abort', 'aborted');
  });

  t.test(
    'an expression is read alike in sessions with any standard_conforming_strings',
    async (t) => {
      const sql = String.raw`ALTER TABLE users ALTER COLUMN email TYPE text USING replace(email, '\', '\101')`;
      await plane.start('s', sql);
      await plane.reach('s', 'ready');
      // What is planned first stays planned in the session.
      for (const setting of ['off', 'on']) {
        await plane.query(`SET standard_conforming_strings = ${setting}`);
        await plane.query(String.raw`INSERT INTO users (email) VALUES (E'a\\b')`);
      }
      await plane.query('RESET standard_conforming_strings');
      const written = await plane.query(
        'SELECT email, _pgtandem_new_email AS n FROM users ORDER BY id DESC LIMIT 2',
      );
      const row = { email: String.raw`a\b`, n: String.raw`a\101b` };
      t.same(written, [row, row]);
      await plane.ask('s', 'abort', 'aborted');
    },
  );

  t.test('reject: a direct write of the old column alone fails, and nothing else', async (t) => {
    const sql = 'ALTER TABLE users ALTER COLUMN n TYPE bigint';
    await plane.start('e', sql, {}, 'reject');
    await plane.reach('e', 'ready');
    await t.rejects(plane.query('UPDATE users SET n = 8 WHERE id = 1'), /_pgtandem_proof_0/);
    await plane.query(`UPDATE users SET email = 'x' WHERE id = 1`);
    await plane.ask('e', 'cutover', 'soaking');
    await t.rejects(plane.query('INSERT INTO users (n) VALUES (8)'), /_pgtandem_proof_0/);
    await plane.ask('e', 'complete', 'completed');
    await plane.query('INSERT INTO users (n) VALUES (8)');
  });

  t.test('reject: nothing holds an added column after cutover, and the rules say so', async (t) => {
    const guard = () =>
      one(`SELECT rule->>'guard' FROM pgtandem.rules,
        jsonb_array_elements(rule_set::jsonb->'tables') AS rule
        WHERE (rule->>'oid')::oid = 'users'::regclass`);
    const sql = 'ALTER TABLE users ADD COLUMN twice int; -- pgtandem: up(n * 2)';
    await plane.start('k', sql, {}, 'reject');
    await plane.reach('k', 'ready');
    await t.rejects(plane.query('INSERT INTO users (n) VALUES (8)'), /_pgtandem_proof_0/);
    t.equal(await guard(), 'reject');
    await plane.ask('k', 'cutover', 'soaking');
    await plane.query('INSERT INTO users (n) VALUES (8)');
    t.equal(await guard(), 'none', 'what would rely on a guard is refused');
    await plane.ask('k', 'revert', 'reverted');
    t.equal(await guard(), 'reject');
    await plane.ask('k', 'abort', 'aborted');
  });
});
