import t from 'tap';
import { ALTER, opened, SETUP } from './parts.js';
import { eachRefused, type Refused } from './refusing.js';

/*
 * What was broken on purpose, each seen to fail here: the partition key not asked for, the default of a
 * partition not compared, an index of a partition alone let through.
 */

const REFUSED: Refused[] = [
  [
    '',
    'ALTER TABLE events ALTER COLUMN region TYPE varchar',
    /region is part of the partition key/,
  ],
  ['', 'ALTER TABLE events RENAME COLUMN at TO day', /at is part of the partition key of/],
  [
    '',
    'ALTER TABLE events_2025 ALTER COLUMN amount TYPE bigint',
    /events_2025 is a partition.\n.*Migrate the part/,
  ],
  ['', 'ALTER TABLE events_2024 ALTER COLUMN amount TYPE bigint', /events_2024 is a partition/],
  ['', ALTER, /is known to the proxies only a moment later/, 'none'],
  [
    'ALTER TABLE events_2024_eu_0 ALTER COLUMN amount SET DEFAULT 8',
    ALTER,
    /amount of partition public.events_2024_eu_0 has another default/,
  ],
  [
    `ALTER TABLE events_rest ALTER COLUMN email SET DEFAULT 'a@b'`,
    `ALTER TABLE events ADD COLUMN x text; -- pgtandem: up(split_part(email, '@', 2))`,
    /email of partition public.events_rest has another default/,
  ],
  [
    'ALTER TABLE events_2025 ALTER COLUMN total SET NOT NULL',
    'ALTER TABLE events ALTER COLUMN total TYPE text',
    /total of partition public.events_2025 has a NOT NULL of its own/,
  ],
  [`COMMENT ON COLUMN events_2025.amount IS 'x'`, ALTER, /events_2025 has a comment of its own/],
  ['GRANT SELECT (amount) ON events_2025 TO public', ALTER, /events_2025 has grants of its own/],
  [
    'ALTER TABLE events_2025 ALTER COLUMN amount SET STATISTICS 9',
    ALTER,
    /events_2025 has another statistics target/,
  ],
  [
    'CREATE UNIQUE INDEX late ON events (at, region, id, amount)',
    ALTER,
    /Index public.late depends on column amount of events/,
  ],
  [
    'CREATE INDEX late ON events_2024 (amount)',
    ALTER,
    /Index public.late depends on column amount of events_2024/,
  ],
  [
    'ALTER INDEX events_2025_amount_idx SET (fillfactor = 50)',
    ALTER,
    /Index public.events_2025_amount_idx depends on/,
  ],
  [
    'CREATE INDEX late ON events_2025 (amount)',
    ALTER,
    /Index public.late depends on column amount of events_2025/,
  ],
  [
    'CREATE VIEW seen AS SELECT amount FROM events_2024_eu_1',
    ALTER,
    /View public.seen depends on column amount of events_2024_eu_1/,
  ],
  [
    'ALTER TABLE events_2025 ADD CHECK (amount < 1000)',
    ALTER,
    /depends on column amount of events_2025/,
  ],
  ['CREATE RULE r AS ON DELETE TO events_2025 DO INSTEAD NOTHING', ALTER, /events_2025 has rules/],
  [
    'CREATE PUBLICATION pub FOR TABLE events_2025',
    ALTER,
    /public.events_2025 is in publication pub/,
  ],
  ['CREATE PUBLICATION pub FOR TABLE events', ALTER, /is in publication pub/],
  [
    `CREATE FUNCTION nop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
     CREATE TRIGGER "~~~" BEFORE INSERT ON events_2024_eu_0 FOR EACH ROW EXECUTE FUNCTION nop()`,
    ALTER,
    /Trigger ~~~ would run after the guard/,
  ],
  [
    `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
     CREATE FOREIGN TABLE far PARTITION OF events FOR VALUES FROM ('2040-01-01') TO ('2041-01-01') SERVER s`,
    ALTER,
    /Partition public.far is a foreign table, which cannot be filled.\n.*DETACH/,
  ],
  [
    `CREATE TABLE odd (at date NOT NULL, id bigint DEFAULT nextval('events_id_seq') NOT NULL, region text NOT NULL,
       amount integer NOT NULL DEFAULT 7, email varchar(40), total numeric(8,2));
     ALTER TABLE events ATTACH PARTITION odd FOR VALUES FROM ('2041-01-01') TO ('2042-01-01')`,
    ALTER,
    /Partition public.odd has its columns in another order than public.events/,
  ],
  [
    `DO $$ BEGIN FOR i IN 1 .. 12 LOOP
       EXECUTE format('CREATE TABLE many_%s PARTITION OF events FOR VALUES FROM (%L) TO (%L)', i, 
         date '2050-01-01' + i, date '2050-01-01' + i + 1);
       EXECUTE format('ALTER TABLE many_%s ALTER COLUMN amount SET DEFAULT 8', i);
     END LOOP; END $$`,
    ALTER,
    /many_1 has another default(.|\n)*\n2 more refusals of partitions/,
  ],
];

t.test('what can not be done with a partition is refused by name', async (t) => {
  const { plane } = await opened(t);
  await plane.query(SETUP);
  await eachRefused(t, plane.control, REFUSED);
});
