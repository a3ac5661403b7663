-- table: public.orders, guard: repair
-- column: id_old integer, hidden
-- column: email text
-- column: note text
-- column: id bigint, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- visible: id, email, note
-- pair: id_old = (@id)::integer, back: id = (@id_old)::bigint, every update

--# The new column leads, and stands where the old one stood.
SELECT * FROM orders
--> rewritten
SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note" FROM orders

--# Names by place are of the visible columns.
SELECT * FROM orders AS o (a, b) WHERE b = 'x'
--> rewritten
SELECT * FROM (SELECT "id", "email", "note" FROM orders) AS o (a, b) WHERE b = 'x'

--# Without a star, too, at any depth.
SELECT 1 WHERE EXISTS (SELECT a FROM ONLY orders o (a) JOIN x ON x.n = o.a)
--> rewritten
SELECT 1 WHERE EXISTS (SELECT a FROM (SELECT "id", "email", "note" FROM ONLY orders) o (a) JOIN x ON x.n = o.a)

--# Where the table itself is needed they are of the columns as they lie.
SELECT a FROM orders o (a) FOR UPDATE
--> guarded star

--# So they are beside system columns.
SELECT o.a, o.ctid FROM orders o (a)
--> guarded star

--# Without a column list values would fall into the wrong columns.
INSERT INTO orders VALUES (1, 'a')
--> rewritten
INSERT INTO orders ("id", "email", "id_old") VALUES (1, 'a', (((1)::bigint))::integer)

--# So they would from a SELECT.
INSERT INTO orders SELECT a, b FROM x
--> rewritten
INSERT INTO orders ("id", "email", "id_old") SELECT a, b, (((a)::bigint))::integer FROM x

--# A star of which the number of columns is not known: all visible columns are listed.
INSERT INTO orders SELECT * FROM x
--> guarded star
INSERT INTO orders ("id", "email", "note") SELECT * FROM x

--# An application of yesterday names the old column.
INSERT INTO orders (id_old, email) VALUES (1, 'a')
--> rewritten
INSERT INTO orders (id_old, email, "id") VALUES (1, 'a', (((1)::integer))::bigint)

--# MERGE that inserts without a list is refused.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT VALUES (1, 'a')
--> rewritten
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT ("id", "email", "id_old") VALUES (1, 'a', (((1)::bigint))::integer)

--# MERGE with a list is the guard's.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email) VALUES (1, 'a')
--> rewritten
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email, "id_old") VALUES (1, 'a', (((1)::bigint))::integer)

--# So is PREPARE.
PREPARE p AS INSERT INTO orders VALUES (1, 'a')
--> refused prepare
INSERT without a column list cannot be rewritten here for table "public.orders", which is under migration

--# COPY.
COPY orders FROM STDIN
--> rewritten
COPY orders ("id", "email", "note", "id_old") FROM STDIN

--# Columns renamed by an alias, whose order is not the table's.
SELECT * FROM orders o (a)
--> rewritten
SELECT * FROM (SELECT "id", "email", "note" FROM orders) o (a)
