-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# The table is the migration's while it is under way.
ALTER TABLE orders ADD COLUMN x integer
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# Renaming.
ALTER TABLE orders RENAME COLUMN note TO remark
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# Dropping.
DROP TABLE IF EXISTS x, public.orders CASCADE
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# Triggers.
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f()
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# Dropping a trigger.
DROP TRIGGER t ON orders
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# An index on visible columns.
CREATE INDEX CONCURRENTLY ON orders (note, lower(email)) WHERE id > 1
--> unchanged

--# An index on a hidden column.
CREATE INDEX ON orders (lower(email_new))
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# Foreign keys to it.
CREATE TABLE x (o integer REFERENCES orders (id))
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# A copy of its columns.
CREATE TABLE x (LIKE orders)
--> guarded like

--# What does no harm.
TRUNCATE orders; LOCK TABLE orders; ANALYZE orders; COMMENT ON TABLE orders IS 'x'; GRANT SELECT ON orders TO PUBLIC
--> unchanged

--# Settings.
ALTER TABLE orders SET (fillfactor = 90), VALIDATE CONSTRAINT c
--> unchanged

--# A new table of that name is not the table.
CREATE TEMP TABLE orders (id integer)
--> untouched

--# A publication.
CREATE PUBLICATION p FOR TABLE orders
--> refused ddl
table "public.orders" cannot be changed while it is under migration (change of id_new, change of email_new)

--# A function with a parsed body.
CREATE FUNCTION f() RETURNS void BEGIN ATOMIC INSERT INTO orders (id) VALUES (1); END
--> guarded function
