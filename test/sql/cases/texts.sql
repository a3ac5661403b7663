-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# Each statement of a text is rewritten.
BEGIN; INSERT INTO orders (id, email) VALUES (1, 'a'); UPDATE orders SET email = 'b' ; COMMIT;
--> rewritten
BEGIN; INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))); UPDATE orders SET email = 'b', "email_new" = lower((('b')::character varying(5))) ; COMMIT;

--# One part that is the guard's does not keep the others from it.
UPDATE orders SET email = f(); UPDATE orders SET email = 'a'
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f()) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL); UPDATE orders SET email = 'a', "email_new" = lower((('a')::character varying(5)))

--# The names may mean something else after SET search_path.
SET search_path = other; UPDATE orders SET email = 'a'
--> guarded search-path

--# Or after ROLLBACK, RESET ALL, DISCARD, SET ROLE, set_config.
SELECT set_config('search_path', 'x', false); SELECT * FROM orders
--> guarded search-path

--# Qualified names mean the same everywhere.
SET search_path = other; UPDATE public.orders SET email = 'a'
--> rewritten
SET search_path = other; UPDATE public.orders SET email = 'a', "email_new" = lower((('a')::character varying(5)))

--# Afterwards is late enough.
UPDATE orders SET email = 'a'; SET search_path = other
--> rewritten
UPDATE orders SET email = 'a', "email_new" = lower((('a')::character varying(5))); SET search_path = other

--# A temporary table of that name.
CREATE TEMP TABLE orders (id integer); INSERT INTO orders VALUES (1)
--> guarded search-path

--# SQL's own prepared statements are not edited.
PREPARE p AS INSERT INTO orders (id, email) VALUES ($1, $2)
--> guarded prepare

--# Prepared reads.
PREPARE p AS SELECT * FROM orders
--> guarded prepare

--# EXECUTE names no table.
EXECUTE p(1)
--> untouched

--# What DO does is not seen; it has the name, and may write.
DO $$ BEGIN UPDATE orders SET email = 'a'; END $$
--> guarded do

--# A text that does not parse is the server's to refuse.
INSERT INTO orders VALUE (1)
--> guarded syntax

--# The table's name in a string or comment.
SELECT 'orders' -- orders
--> untouched
