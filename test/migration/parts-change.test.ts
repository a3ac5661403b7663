import pg from 'pg';
import t from 'tap';
import { writers } from '../../migration/drain.js';
import { unknownParts } from '../../migration/parts.js';
import { until } from '../e2e/clients.js';
import { ALTER, opened, SETUP } from './parts.js';

/*
 * Partitions that are written by their own names, come and go.
 *
 * MUTATIONS
 */

t.test('the guard keeps what is written by any name, and rows that move', async (t) => {
  for (const major of [14, 18]) {
    const { plane, one, wrong } = await opened(t, major);
    await plane.query(SETUP);
    // A trigger of one partition alone, which sees a row only when it comes there.
    await plane.query(`
      CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.amount := NEW.amount * 2; RETURN NEW; END';
      CREATE TRIGGER doubles BEFORE INSERT ON events_2025 FOR EACH ROW EXECUTE FUNCTION double()`);
    await plane.start('m', ALTER);
    await plane.reach('m', 'ready');
    const put = (into: string, at: string, region: string, amount: number) =>
      plane.query(
        `INSERT INTO ${into} (id, region, at, amount) VALUES (-${amount}, $1, $2, ${amount})`,
        [region, at],
      );
    await put('events', '2024-05-05', 'eu', 1);
    await put('events_2024', '2024-05-05', 'eu', 2);
    await put('events_2024_eu', '2024-05-05', 'eu', 3);
    await put('"Events 2024 rest"', '2024-05-05', 'us', 4);
    await put('events_2025', '2025-05-05', 'us', 5);
    await put('events_rest', '2030-05-05', 'us', 6);
    await plane.query('SET session_replication_role = replica');
    await put('events_rest', '2030-05-05', 'us', 7);
    await plane.query('RESET session_replication_role');
    t.equal(await wrong(), 0, 'inserted');
    await plane.query('UPDATE events_2024_eu SET amount = amount + 10 WHERE id = -3');
    await plane.query(`UPDATE events SET at = '2030-01-01', amount = 40 WHERE id = -4`);
    await plane.query(`UPDATE events SET at = '2025-01-01' WHERE id = -6`);
    await plane.query(`UPDATE events_2024 SET region = 'us' WHERE id = -1`);
    await plane
      .query(`MERGE INTO events e USING (VALUES (-2)) v (id) ON e.id = v.id
      WHEN MATCHED THEN UPDATE SET at = '2025-02-02', amount = 20`)
      .catch((error) => {
        if (major >= 15) throw error;
      });
    t.equal(await wrong(), 0, 'updated and moved');
    t.equal(
      await one('SELECT _pgtandem_new_amount::int FROM events WHERE id = -6'),
      12,
      'by the trigger there',
    );
    t.equal(await one('SELECT _pgtandem_new_amount::int FROM events_rest WHERE id = -4'), 40);
    t.equal(
      await one(`SELECT tableoid::regclass::text FROM events WHERE id = -1`),
      '"Events 2024 rest"',
    );
    await plane.ask('m', 'cutover', 'soaking');
    await plane.query(
      `UPDATE events SET at = '2024-01-01', region = 'us', amount = 99 WHERE id = -5`,
    );
    t.equal(await one('SELECT _pgtandem_old_amount FROM events WHERE id = -5'), 99);
    await plane.ask('m', 'revert', 'reverted');
    t.equal(await wrong(), 0, 'reverted');
    await plane.ask('m', 'abort', 'aborted');
  }
});

t.test('partitions come and go while the backfill goes on', async (t) => {
  const { plane, one, wrong, resume, known } = await opened(t);
  await plane.query(SETUP);
  await plane.query(`INSERT INTO pgtandem.standby (name) VALUES ('ghost')`);
  await plane.start('m', ALTER);
  await plane.reach('m', 'backfilling');
  await plane.query(`CREATE TABLE events_2026 PARTITION OF events
    FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')`);
  await plane.query(`CREATE TABLE events_2031 (LIKE events INCLUDING ALL);
    INSERT INTO events_2031 (region, at, amount) SELECT 'eu', '2031-01-01', i FROM generate_series(1, 900) i;
    ALTER TABLE events ATTACH PARTITION events_2031 FOR VALUES FROM ('2031-01-01') TO ('2032-01-01')`);
  await plane.query(`CREATE TABLE events_2032 PARTITION OF events
    FOR VALUES FROM ('2032-01-01') TO ('2033-01-01')`);
  await plane.query('DROP TABLE events_2032');
  await t.rejects(
    plane.query(`CREATE TABLE bare (id bigint NOT NULL, region text NOT NULL, at date NOT NULL,
        amount int NOT NULL, email varchar(40), total numeric(8,2));
      ALTER TABLE events ATTACH PARTITION bare FOR VALUES FROM ('2033-01-01') TO ('2034-01-01')`),
    /missing column "_pgtandem_new_amount"/,
  );
  await known('events_2026', 'events_2031');
  t.equal(await wrong(), 3_900, 'nothing is filled yet');
  await plane.query('DELETE FROM pgtandem.standby');
  const { progress } = await plane.reach('m', 'ready');
  t.equal(await wrong(), 0);
  t.equal(progress.disproved, undefined, 'in one go');
  t.match(progress.backfill, { ratio: 1, rowsFilled: 3_900 });

  await t.rejects(
    plane.query(`CREATE TABLE events_2034 (LIKE events);
      INSERT INTO events_2034 VALUES (1, 'eu', '2034-01-01', 1, NULL, NULL, 5);
      ALTER TABLE events ATTACH PARTITION events_2034 FOR VALUES FROM ('2034-01-01') TO ('2035-01-01')`),
    /missing constraint "_pgtandem_proof_0"/,
    'a proof holds for partitions to come',
  );
  await plane.query('ALTER TABLE events DETACH PARTITION events_2031');
  await t.rejects(
    plane.ask('m', 'cutover', 'soaking'),
    /public.events_2031 is no partition any more, and keeps a column of the migration/,
  );
  await known('events_2031');
  await plane.query('ALTER TABLE events_2031 DROP COLUMN _pgtandem_new_amount');
  await resume();
  await plane.reach('m', 'soaking');
  await plane.query('ALTER TABLE events DETACH PARTITION events_rest');
  await plane.ask('m', 'complete', 'completed');
  t.equal(
    await one(`SELECT string_agg(DISTINCT attrelid::regclass || '.' || attname, ' ') FROM pg_attribute
      WHERE attname LIKE '%pgtandem%' AND attrelid::regclass::text LIKE '%vents%'`),
    null,
    'nothing of ours is left, in what was detached neither',
  );
  t.equal(await one('SELECT count(*)::int FROM events_rest WHERE amount IS NULL'), 0);
});

t.test(
  'what is detached is cleaned by an abort, and what is made by the swap waited for',
  async (t) => {
    const { plane, one, known } = await opened(t);
    await plane.query(SETUP);
    const { plan } = await plane.start('m', ALTER);
    await plane.reach('m', 'ready');
    await known('events_rest');
    await plane.query('BEGIN');
    t.equal(await unknownParts(plane.control, plan), null);
    await plane.query(`CREATE TABLE events_2030 PARTITION OF events
    FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')`);
    t.match(await unknownParts(plane.control, plan), /partition public.events_2030 is new/);
    await plane.query('COMMIT');
    await plane.query('ALTER TABLE events DETACH PARTITION events_2025');
    await plane.ask('m', 'abort', 'aborted');
    t.equal(
      await one(`SELECT count(*)::int FROM pg_attribute WHERE attname LIKE '%pgtandem%'
      AND attrelid IN ('events'::regclass, 'events_2025'::regclass, 'events_2030'::regclass)`),
      0,
    );
  },
);

t.test('a transaction that has written a partition alone is waited for', async (t) => {
  const { plane, one, wrong } = await opened(t);
  await plane.query(SETUP);
  const writer = new pg.Client({ connectionString: plane.url });
  await writer.connect();
  t.teardown(() => writer.end());
  await writer.query('BEGIN');
  await writer.query(`UPDATE events_2025 SET email = 'x'`);
  const oid = Number(await one(`SELECT 'events'::regclass::oid::int8`));
  t.match(await writers(plane.control, oid), [{ description: /^pid \d+ .*idle in transaction/ }]);
  await plane.start('m', ALTER);
  await until('it is told who is in the way', async () =>
    /pid \d+ .*UPDATE events_2025/.test(
      String(await one(`SELECT progress->>'waitingFor' FROM pgtandem.migration`)),
    ),
  );
  t.equal(await one(`SELECT phase->>'name' FROM pgtandem.migration`), 'expanding');
  await writer.query('COMMIT');
  await plane.reach('m', 'ready');
  t.same(await writers(plane.control, oid), []);
  t.equal(await wrong(), 0);
});
