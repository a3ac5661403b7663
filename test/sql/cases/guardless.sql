-- table: public.orders, guard: none
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# What is rewritten needs no guard.
INSERT INTO orders (id, email) VALUES (1, 'a')
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5))))

--# What is not rewritten is refused.
UPDATE orders SET email = f()
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f()) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL)

--# A function is only trusted when it is the server's own for certain.
UPDATE orders SET email = lower('A')
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (lower('A')) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL)

--# Which it is with its schema.
UPDATE orders SET email = pg_catalog.lower('A')
--> rewritten
UPDATE orders SET email = pg_catalog.lower('A'), "email_new" = lower(((pg_catalog.lower('A'))::character varying(5)))

--# COPY FROM.
COPY orders FROM STDIN
--> refused copy-expression
this statement cannot be rewritten for table "public.orders", which is under migration (copy-expression)

--# MERGE.
MERGE INTO orders o USING x ON true WHEN MATCHED THEN UPDATE SET email = 'a'
--> rewritten
MERGE INTO orders o USING x ON true WHEN MATCHED THEN UPDATE SET email = 'a', "email_new" = lower((('a')::character varying(5)))

--# Two actions of which each would be given a subselect: the server takes one for the other, and crashes.
MERGE INTO orders o USING x ON true WHEN MATCHED AND x.a THEN UPDATE SET email = lower('A') WHEN MATCHED THEN UPDATE SET email = lower('B')
--> refused volatile
this statement cannot be rewritten for table "public.orders", which is under migration (volatile)

--# PREPARE.
PREPARE p AS DELETE FROM orders
--> unchanged

--# Reads go as they are.
SELECT array_agg(o) FROM orders o
--> guarded whole-row

--# A text that is not understood might write.
UPDATE orders SET email = 'a' WHERE
--> refused syntax
this statement cannot be rewritten for table "public.orders", which is under migration (syntax)
