import t from 'tap';
import { ALTER, SETUP } from './children.js';
import { opened } from './parts.js';
import { eachRefused, type Refused } from './refusing.js';

const REFUSED: Refused[] = [
  [
    '',
    'ALTER TABLE staff ALTER COLUMN amount TYPE bigint',
    /amount of public.staff is inherited from public.people.\n.*topmost table/,
  ],
  [
    '',
    'ALTER TABLE helpers RENAME COLUMN amount TO sum',
    /amount of public.helpers is inherited from public.staff, public.Guest list/,
  ],
  [
    `CREATE TABLE other (amount int NOT NULL DEFAULT 7); ALTER TABLE chiefs INHERIT other`,
    ALTER,
    /amount of public.chiefs is inherited from public.audited, public.other too, which is no child of public.people/,
  ],
  ['', ALTER, /public.people has children, and one that is made meanwhile/, 'none'],
  ['', ALTER, /public.chiefs inherits from public.audited, and what is written by/, 'reject'],
  [
    '',
    'ALTER TABLE staff ALTER COLUMN salary TYPE bigint',
    /public.staff inherits from public.people, and/,
    'reject',
  ],
  [
    '',
    `ALTER TABLE people ADD COLUMN car text; -- pgtandem: up(name)`,
    /Child public.chiefs has a column car already/,
  ],
  ['', 'ALTER TABLE people RENAME name TO dept', /Child public.staff has a column dept already/],
  [
    'ALTER TABLE helpers ADD COLUMN _pgtandem_new_amount bigint',
    ALTER,
    /Child public.helpers has a column _pgtandem_new_amount already/,
  ],
  [
    'ALTER TABLE staff ALTER COLUMN amount SET DEFAULT 8',
    ALTER,
    /amount of child public.staff has another default/,
  ],
  [
    'UPDATE chiefs SET total = 1; ALTER TABLE chiefs ALTER COLUMN total SET NOT NULL',
    'ALTER TABLE people ALTER COLUMN total TYPE text',
    /total of child public.chiefs has a NOT NULL of its own/,
  ],
  [`COMMENT ON COLUMN staff.amount IS 'x'`, ALTER, /child public.staff has a comment of its own/],
  ['GRANT SELECT (amount) ON staff TO public', ALTER, /staff has grants of its own/],
  ['ALTER TABLE staff ALTER amount SET STATISTICS 9', ALTER, /staff has another statistics target/],
  [
    'CREATE INDEX late ON chiefs (amount)',
    ALTER,
    /Index public.late depends on column amount of chiefs/,
  ],
  [
    'CREATE VIEW seen AS SELECT amount FROM helpers',
    ALTER,
    /View public.seen depends on column amount of helpers/,
  ],
  ['ALTER TABLE staff ADD CHECK (amount < 1000)', ALTER, /depends on column amount of staff/],
  ['CREATE RULE r AS ON DELETE TO chiefs DO INSTEAD NOTHING', ALTER, /chiefs has rules/],
  ['CREATE PUBLICATION pub FOR TABLE chiefs', ALTER, /public.chiefs is in publication pub/],
  [
    `CREATE FUNCTION nop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
     CREATE TRIGGER "~~~" BEFORE INSERT ON helpers FOR EACH ROW EXECUTE FUNCTION nop()`,
    ALTER,
    /Trigger ~~~ would run after the guard/,
  ],
  [
    `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
     CREATE FOREIGN TABLE far () INHERITS (staff) SERVER s`,
    ALTER,
    /Child public.far is a foreign table, which cannot be filled.\n.*NO INHERIT/,
  ],
  ['CREATE TEMP TABLE passing () INHERITS (staff)', ALTER, /passing is a temporary table/],
  [
    `DO $$ BEGIN FOR i IN 1 .. 401 LOOP
       EXECUTE format('CREATE TABLE many_%s () INHERITS (people)', i); END LOOP; END $$`,
    ALTER,
    /public.people has 405 children, more than 400/,
  ],
];

t.test('what can not be done with a child is refused by name', async (t) => {
  const { plane } = await opened(t);
  await plane.query(SETUP);
  await eachRefused(t, plane.control, REFUSED);
});
