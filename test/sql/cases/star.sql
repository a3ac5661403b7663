-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# The star is spelled out.
SELECT * FROM orders
--> rewritten
SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders

--# By the alias, among other tables.
SELECT o.*, 1 AS one, x.* FROM orders o, x
--> rewritten
SELECT "o"."id", "o"."email", "o"."note", "o"."n", 1 AS one, x.* FROM orders o, x

--# A bare star of several tables.
SELECT * FROM orders o LEFT JOIN public.users ON true, LATERAL (SELECT 1) AS l
--> rewritten
SELECT "o"."id", "o"."email", "o"."note", "o"."n", "public"."users".*, "l".* FROM orders o LEFT JOIN public.users ON true, LATERAL (SELECT 1) AS l

--# USING merges columns: only the server knows which.
SELECT * FROM orders o JOIN x USING (id)
--> rewritten
SELECT * FROM (SELECT "id", "email", "note", "n" FROM orders) o JOIN x USING (id)

--# A qualified star is not concerned by that.
SELECT o.*, x.a FROM orders o JOIN x USING (id)
--> rewritten
SELECT "o"."id", "o"."email", "o"."note", "o"."n", x.a FROM orders o JOIN x USING (id)

--# NATURAL JOIN sees the hidden columns.
SELECT o.note FROM orders o NATURAL JOIN x
--> guarded natural-join

--# Subselects, set operations, WITH.
WITH w AS (SELECT * FROM orders) SELECT * FROM (SELECT * FROM w) s UNION ALL SELECT * FROM orders
--> rewritten
WITH w AS (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders) SELECT * FROM (SELECT * FROM w) s UNION ALL SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders

--# TABLE.
TABLE ONLY orders ORDER BY 1
--> rewritten
SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM ONLY orders ORDER BY 1

--# EXISTS does not look at its targets, and count(*) has no column.
SELECT count(*) FROM x WHERE EXISTS (SELECT * FROM orders WHERE orders.id = x.id)
--> unchanged

--# A WITH query of the table's name hides the table.
WITH orders AS (SELECT 1 AS a) SELECT * FROM orders
--> untouched

--# Within its own query the name still means the table.
WITH orders AS (SELECT * FROM orders) SELECT * FROM orders
--> rewritten
WITH orders AS (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders) SELECT * FROM orders

--# A whole row that is sent has the visible columns; its type is `record`.
SELECT o FROM orders o
--> rewritten
SELECT ROW("o"."id", "o"."email", "o"."note", "o"."n")::pg_catalog.record AS "o" FROM orders o

--# Functions that see the names of a row's columns.
SELECT row_to_json(orders) FROM orders
--> rewritten
SELECT row_to_json((SELECT "pgtandem row" FROM (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n") AS "pgtandem row")) FROM orders

--# The star of a row in parentheses.
SELECT (o).*, o.*::text FROM orders o
--> rewritten
SELECT "o"."id", "o"."email", "o"."note", "o"."n", ROW("o"."id", "o"."email", "o"."note", "o"."n")::text AS "o" FROM orders o

--# The row type.
SELECT * FROM jsonb_populate_record(NULL::orders, '{}')
--> guarded row-type

--# Columns renamed by the alias.
SELECT * FROM orders AS o (a, b)
--> rewritten
SELECT "o"."a", "o"."b", "o"."note", "o"."n" FROM orders AS o (a, b)

--# An alias for a join.
SELECT j.* FROM (orders o CROSS JOIN x) AS j
--> guarded star

--# The star of an outer query.
SELECT (SELECT count(*) FROM (SELECT o.*) s) FROM orders o
--> rewritten
SELECT (SELECT count(*) FROM (SELECT "o"."id", "o"."email", "o"."note", "o"."n") s) FROM orders o

--# Cursors, CREATE TABLE AS, SELECT INTO.
DECLARE c CURSOR FOR SELECT * FROM orders
--> rewritten
DECLARE c CURSOR FOR SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders

--# CREATE TABLE AS.
CREATE TABLE copy_of AS SELECT * FROM orders
--> rewritten
CREATE TABLE copy_of AS SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders

--# A view made now would hold on to the columns.
CREATE VIEW v AS SELECT * FROM orders
--> guarded view
CREATE VIEW v AS SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders

--# RETURNING old.* is counted.
UPDATE orders SET note = 'x' RETURNING old.*
--> rewritten
UPDATE orders SET note = 'x' RETURNING "old"."id", "old"."email", "old"."note", "old"."n"

--# A hidden column may be named: that is an application of tomorrow.
SELECT id_new FROM orders
--> unchanged

--# Two tables of one name are told apart by their schemas, which is not done here.
SELECT * FROM orders, audit.orders
--> guarded star

--# A function beside it.
SELECT * FROM orders, generate_series(1, 2)
--> guarded star

--# A function with an alias.
SELECT * FROM orders, generate_series(1, 2) g
--> rewritten
SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", "g".* FROM orders, generate_series(1, 2) g

--# A bare star over USING, of which the merged columns only the server knows.
SELECT *, o.n FROM public.orders AS o LEFT JOIN x USING (id) WHERE email = 'a'
--> rewritten
SELECT *, o.n FROM (SELECT "id", "email", "note", "n" FROM public.orders) AS o LEFT JOIN x USING (id) WHERE email = 'a'

--# The same by NATURAL JOIN, by the table's own name, of both.
SELECT * FROM orders NATURAL JOIN ONLY orders b
--> rewritten
SELECT * FROM (SELECT "id", "email", "note", "n" FROM orders) AS "orders" NATURAL JOIN (SELECT "id", "email", "note", "n" FROM ONLY orders) b

--# Not where the table itself is needed: its system columns.
SELECT *, ctid FROM orders JOIN x USING (id)
--> guarded star

--# Its hidden columns.
SELECT *, o.id_new FROM orders o JOIN x USING (id)
--> guarded star

--# Its rows, and its name with its schema.
SELECT *, count(o.*) OVER () FROM orders o JOIN x USING (id)
--> guarded star

--# A schema as part of a column's name.
SELECT *, public.orders.id FROM public.orders JOIN x USING (id)
--> guarded star

--# Locks.
SELECT * FROM orders JOIN x USING (id) FOR UPDATE
--> guarded star

--# Grouping, which its key may allow.
SELECT * FROM orders JOIN x USING (id) GROUP BY id
--> guarded star

--# A sample.
SELECT * FROM orders TABLESAMPLE system (1) JOIN x USING (id)
--> guarded star

--# In RETURNING.
DELETE FROM x USING y JOIN orders USING (id) RETURNING *
--> guarded star
