import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { RefusedError, UserError } from '../../migration/errors.js';
import { serverRefusals } from '../../migration/refusals.js';
import type { Guard } from '../../sql/rules.js';
import { Plane } from './plane.js';

/** What is there, in one text: nothing of it may change by what is refused. */
const EVERYTHING = `
  SELECT md5(string_agg(t.line, E'\\n' ORDER BY t.line)) AS sum FROM (
    SELECT 'a' || a.* AS line FROM pg_attribute a WHERE a.attrelid >= 16384
    UNION ALL SELECT 'c' || c.oid || c.relname || c.relkind::text FROM pg_class c
      WHERE c.oid >= 16384 AND c.relname NOT LIKE 'pg_%'
    UNION ALL SELECT 'g' || g.* FROM pg_trigger g
    UNION ALL SELECT 'k' || k.* FROM pg_constraint k WHERE k.oid >= 16384
    UNION ALL SELECT 'm' || m.* FROM pgtandem.migration m) t`;

const SETUP = `
  CREATE TABLE users (
    id serial PRIMARY KEY, email varchar(40), name text, age int, born timestamptz,
    plan text GENERATED ALWAYS AS (upper(name)) STORED, tag int GENERATED ALWAYS AS IDENTITY,
    checked int CHECK (checked > 0), uni int UNIQUE, parent int REFERENCES users (id),
    seen int, policed int, trig int, stat int, stat2 int);
  CREATE VIEW seen_users AS SELECT seen FROM users;
  CREATE POLICY p ON users USING (policed > 0);
  CREATE FUNCTION nop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER on_trig BEFORE UPDATE OF trig ON users FOR EACH ROW EXECUTE FUNCTION nop();
  CREATE STATISTICS st ON stat, stat2 FROM users;
  CREATE TABLE parts (id int, x int) PARTITION BY RANGE (id);
  CREATE TABLE base (x int); CREATE TABLE child () INHERITS (base);
  CREATE TABLE ruled (x int); CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING;
  CREATE TABLE typed (x int);
  CREATE FUNCTION all_typed() RETURNS SETOF typed LANGUAGE sql AS 'SELECT * FROM typed';
  CREATE TABLE published (x int); CREATE PUBLICATION pub FOR TABLE published;
  CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE FUNCTION to_mood(text) RETURNS mood LANGUAGE sql IMMUTABLE AS 'SELECT $1::mood';
  CREATE FUNCTION to_mood_strict(text) RETURNS mood LANGUAGE plpgsql STRICT IMMUTABLE
    AS 'BEGIN RETURN $1::mood; END';
  CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT CASE $1 WHEN 'sad' THEN 'sad' END$$;
  CREATE TABLE moody (t text, m mood); INSERT INTO moody VALUES ('sad', 'sad');
  CREATE TABLE busy (x int);
  CREATE TABLE early (x int); CREATE TABLE late (x int);
  CREATE TRIGGER "!" BEFORE INSERT ON early FOR EACH ROW EXECUTE FUNCTION nop();
  CREATE TRIGGER "~~~" BEFORE INSERT ON late FOR EACH ROW EXECUTE FUNCTION nop();
  CREATE ROLE poor LOGIN; GRANT ALL ON DATABASE postgres TO poor; GRANT ALL ON users TO poor`;

const alter = (column: string, type = 'bigint') =>
  `ALTER TABLE users ALTER COLUMN ${column} TYPE ${type}`;

/** SQL, what the message says, where. */
const CASES: [string, RegExp, RegExp?][] = [
  ['', /no statement/],
  ['ALTER TABLE users\nALTER COLUMN email TYP text', /does not parse: syntax error/, /m.sql:2/],
  ['SELECT 1', /not a change of a column/],
  ['ALTER TABLE users DROP COLUMN age', /is not supported/],
  ['ALTER TABLE users ADD COLUMN x int', /says nothing of the rows/],
  ['ALTER TABLE users ADD COLUMN x int REFERENCES users; -- pgtandem: up(1)', /constraints/],
  ['ALTER TABLE users ADD COLUMN x int; -- pgtandem: up(1', /directive .* is not understood/],
  ['ALTER TABLE users ADD COLUMN x int; -- pgtandem: up(1) up(2)', /given twice/],
  [`${alter('age')}; -- pgtandem: up(age)`, /means nothing for this change/],
  [`${alter('age')};\nALTER TABLE busy ALTER COLUMN x TYPE bigint`, /two tables/, /m.sql:2/],
  [`${alter('age')};\n${alter('age')}`, /changed twice/, /m.sql:2/],
  ['ALTER TABLE nowhere ALTER COLUMN a TYPE bigint', /no table nowhere/],
  ['ALTER TABLE public.nowhere RENAME a TO b', /no table public.nowhere/],
  [alter('nothing'), /no column nothing/],
  ['ALTER TABLE users RENAME name TO email', /has a column email already/],
  [alter('age', 'nosuchtype'), /PostgreSQL refuses .*nosuchtype/, /m.sql:1/],
  [`\n\n${alter('age', 'bigint USING agee + 1')}`, /column "agee" does not exist/, /m.sql:3/],
  [alter('age', "bigint USING 'x'::date"), /PostgreSQL refuses/],
  [alter('born', 'timestamp USING born'), /not immutable/],
  [alter('age', 'boolean USING age > 0; -- pgtandem: down(age::text)'), /down\(age::text\)/],
  [alter('email', 'jsonb USING to_jsonb(email)'), /There is no way back|immutable/],
  ['ALTER TABLE users ADD COLUMN x text; -- pgtandem: up((SELECT 1))', /subquery/],
  ['ALTER TABLE users ADD COLUMN x text; -- pgtandem: up(random()::text)', /not immutable/],
  ['ALTER TABLE users ADD COLUMN x text; -- pgtandem: up(nocolumn)', /"nocolumn" does not exist/],
  ['ALTER TABLE moody ADD COLUMN x mood; -- pgtandem: up(to_mood(t))', /up.* type "mood" does not/],
  ['ALTER TABLE moody ADD COLUMN x mood; -- pgtandem: up(to_mood_strict(t))', /"mood" does not/],
  [
    'ALTER TABLE moody ALTER m TYPE text USING mood_text(m); -- pgtandem: down(to_mood(m))',
    /down\(public.to_mood\(m\)\) can't be used: type "mood" does not exist/,
  ],
  [`${alter('age')};\nALTER TABLE users ADD COLUMN y int; -- pgtandem: up(age)`, /changes too/],
  [alter('id'), /users_pkey/],
  [alter('name', 'varchar(80)'), /Generated column plan/],
  [alter('tag'), /identity column/],
  [alter('plan', 'varchar(9)'), /generated column/],
  [alter('checked'), /Constraint users_checked_check/],
  [alter('uni'), /users_uni_key/],
  [alter('parent'), /users_parent_fkey/],
  [alter('seen'), /View public.seen_users/],
  [alter('policed'), /Policy p on table public.users/],
  [alter('trig'), /Trigger on_trig on table public.users/],
  [alter('stat'), /Statistics object public.st/],
  [
    'ALTER TABLE parts ALTER COLUMN id TYPE bigint',
    /id is part of the partition key of public.parts/,
  ],
  [
    'ALTER TABLE child ALTER COLUMN x TYPE bigint',
    /x of public.child is inherited from public.base/,
  ],
  ['ALTER TABLE seen_users ALTER COLUMN seen TYPE bigint', /a view|does not parse|not a change/],
  ['ALTER TABLE ruled ALTER COLUMN x TYPE bigint', /has rules/],
  [
    'ALTER TABLE typed ALTER COLUMN x TYPE bigint',
    /Function public.all_typed\(\) uses the row type/,
  ],
  ['ALTER TABLE early RENAME x TO y', /Trigger ! would run before the guard/],
  ['ALTER TABLE late ALTER COLUMN x TYPE bigint', /Trigger ~~~ would run after the guard/],
  ['ALTER TABLE published ALTER COLUMN x TYPE bigint', /is in publication pub/],
];

t.test('a server that is too old, or a standby, is refused', async (t) => {
  const server = {
    versionNumber: 130022,
    version: '13.22',
    database: 'd',
    user: 'u',
    inRecovery: true,
    canSilenceTriggers: true,
    canInstall: false,
  };
  const told = serverRefusals(server).map((refusal) => refusal.toString());
  t.match(told[0], /The server is PostgreSQL 13.22; pgtandem needs 14 or newer.\n {2}hint: /);
  t.match(told[1], /This server is a standby.\n {2}hint: /);
  t.match(told[2], /may not make the schema pgtandem/);
  const fine = { versionNumber: 140000, inRecovery: false, canInstall: true };
  t.same(serverRefusals({ ...server, ...fine }), []);
});

t.test('what can not be done is refused by name, and changes nothing', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  await plane.query(SETUP);
  const everything = async () => (await plane.query(EVERYTHING))[0]!.sum;
  const before = await everything();
  const refusal = async (sql: string, guard: Guard = 'repair') => {
    try {
      await plane.start('m', sql, {}, guard);
    } catch (error) {
      if (error instanceof UserError || error instanceof RefusedError) return error;
      throw error;
    }
    throw new Error(`not refused: ${sql}`);
  };

  for (const [sql, message, where] of CASES) {
    const error = await refusal(sql);
    const told = error instanceof RefusedError ? error.message : error.toString();
    t.match(told, message, sql.replaceAll('\n', ' '));
    t.match(told, /hint: \S+/);
    t.match(told, where ?? /m\.sql:\d+|m\.sql/);
  }

  const blind = await refusal('ALTER TABLE users ALTER COLUMN age TYPE bigint', 'none');
  t.match(blind.message, /Trigger on_trig runs before each row/);

  await plane.query('SET ROLE poor');
  t.match((await refusal(alter('age'))).message, /does not own public.users/);
  await plane.query('RESET ROLE');
  t.equal(await everything(), before, 'nothing was changed');

  await plane.start('one', 'ALTER TABLE busy ALTER COLUMN x TYPE bigint');
  t.match(
    (await refusal('ALTER TABLE busy RENAME x TO y')).message,
    /one is under way on public.busy|_pgtandem/,
  );
  await plane.ask('one', 'abort', 'aborted');
  await t.rejects(plane.start('one', 'ALTER TABLE busy RENAME x TO y'), /named one already/);
});
