/** The table, its children at two levels, and one that lies below two of them. */
export const MEMBERS = ['people', 'staff', 'chiefs', '"Guest list"', 'helpers'];

/**
 * Children with further columns, with the table's in another order, with a column of the table that
 * they define too, with a parent that is none of the tree, and with two that are.
 */
export const SETUP = `
  DROP TABLE IF EXISTS people, audited CASCADE;
  CREATE TABLE people (id bigserial, name text, amount integer NOT NULL DEFAULT 7,
    email varchar(40), total numeric(8,2));
  CREATE TABLE audited (changed date DEFAULT '2024-01-01');
  CREATE TABLE staff (salary int DEFAULT 100, dept text) INHERITS (people);
  CREATE TABLE chiefs (amount integer CONSTRAINT people_amount_not_null NOT NULL DEFAULT 7, car text) INHERITS (staff, audited);
  CREATE TABLE "Guest list" (note text DEFAULT 'n', email varchar(40), gone int,
    total numeric(8,2), id bigint CONSTRAINT people_id_not_null NOT NULL DEFAULT nextval('people_id_seq'),
    amount integer CONSTRAINT people_amount_not_null NOT NULL DEFAULT 7, name text);
  ALTER TABLE "Guest list" DROP COLUMN gone;
  ALTER TABLE "Guest list" INHERIT people;
  CREATE TABLE helpers (hours int) INHERITS (staff, "Guest list");
  COMMENT ON COLUMN people.amount IS 'cents';
  CREATE INDEX people_amount ON people (amount DESC) WHERE amount > 3;
  CREATE INDEX staff_dept ON staff (dept);
  INSERT INTO people (name, amount, email, total)
  SELECT 'p' || i, i % 100, CASE WHEN i % 10 > 0 THEN 'User' || i || '@Example.com' END, i / 3.0
  FROM generate_series(1, 900) i;
  INSERT INTO staff (name, amount, email, salary) SELECT 's' || i, i, i || '@S', i FROM generate_series(1, 700) i;
  INSERT INTO chiefs (name, amount, email, car) SELECT 'c' || i, i, i || '@C', 'red' FROM generate_series(1, 600) i;
  INSERT INTO "Guest list" (name, amount, note) SELECT 'g' || i, i, i FROM generate_series(1, 500) i;
  INSERT INTO helpers (name, amount, email) SELECT 'h' || i, i, i || '@H' FROM generate_series(1, 400) i`;

export const ALTER = 'ALTER TABLE people ALTER COLUMN amount TYPE bigint';
