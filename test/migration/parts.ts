import type { Test } from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { until } from '../e2e/clients.js';
import { Plane } from './plane.js';

/** Range, list and hash at three levels, a default partition, and one with its columns elsewhere. */
export const SETUP = `
  DROP TABLE IF EXISTS events CASCADE;
  CREATE TABLE events (
    id bigserial, region text NOT NULL, at date NOT NULL, amount integer NOT NULL DEFAULT 7,
    email varchar(40), total numeric(8,2)) PARTITION BY RANGE (at);
  CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
    PARTITION BY LIST (region);
  CREATE TABLE events_2024_eu PARTITION OF events_2024 FOR VALUES IN ('eu')
    PARTITION BY HASH (id);
  CREATE TABLE events_2024_eu_0 PARTITION OF events_2024_eu FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE TABLE events_2024_eu_1 PARTITION OF events_2024_eu FOR VALUES WITH (MODULUS 2, REMAINDER 1);
  CREATE TABLE "Events 2024 rest" PARTITION OF events_2024 DEFAULT;
  CREATE TABLE events_2025 (gone int, id bigint NOT NULL DEFAULT nextval('events_id_seq'),
    gone2 int, region text NOT NULL, at date NOT NULL, amount integer NOT NULL DEFAULT 7,
    email varchar(40), gone3 int, total numeric(8,2));
  ALTER TABLE events_2025 DROP COLUMN gone, DROP COLUMN gone2, DROP COLUMN gone3;
  ALTER TABLE events ATTACH PARTITION events_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
  CREATE TABLE events_rest PARTITION OF events DEFAULT;
  COMMENT ON COLUMN events.amount IS 'cents';
  CREATE INDEX events_region ON events (region);
  INSERT INTO events (region, at, amount, email, total)
  SELECT CASE i % 3 WHEN 0 THEN 'us' ELSE 'eu' END, date '2024-01-01' + i / 2, i % 100,
    CASE WHEN i % 10 > 0 THEN 'User' || i || '@Example.com' END, i / 3.0
  FROM generate_series(1, 3000) i`;

export async function open(t: Test, major: number): Promise<Plane> {
  const cluster = await Cluster.create({ major });
  t.teardown(() => cluster.destroy());
  const plane = await Plane.open(cluster, 'postgres');
  t.teardown(() => plane.close());
  return plane;
}

export const ALTER = 'ALTER TABLE events ALTER COLUMN amount TYPE bigint';

export async function opened(t: Test, major?: number) {
  const plane = await open(t, major ?? 18);
  const one = async (sql: string) => Object.values((await plane.query(sql))[0] ?? {})[0];
  const wrong = () =>
    one('SELECT count(*)::int FROM events WHERE _pgtandem_new_amount IS DISTINCT FROM amount');
  const resume = () =>
    plane.query(
      `UPDATE pgtandem.migration SET paused = NULL WHERE paused IS NOT NULL; NOTIFY pgtandem`,
    );
  /** The rules in force name these partitions, among others. */
  const known = (...names: string[]) =>
    until(`the rules name ${names}`, async () => {
      const rules = String(await one('SELECT rule_set::text FROM pgtandem.rules'));
      return names.every((name) => rules.includes(`"${name}"`));
    });
  return { plane, one, wrong, resume, known };
}
