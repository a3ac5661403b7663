-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# A plain SELECT: the follow columns are added to its targets.
INSERT INTO orders (id, email) SELECT a, b FROM x WHERE c > 1 ORDER BY 1
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT a, b, (((a)::integer))::bigint, lower(((b)::character varying(5))) FROM x WHERE c > 1 ORDER BY 1

--# Labels are not part of the value.
INSERT INTO orders (id, email) SELECT a AS "from", b + 1 c FROM x
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT a AS "from", b + 1 c, (((a)::integer))::bigint, lower(((b + 1)::character varying(5))) FROM x

--# Without a column list.
INSERT INTO orders SELECT a, b FROM x
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT a, b, (((a)::integer))::bigint, lower(((b)::character varying(5))) FROM x

--# A volatile default for each row is the guard's.
INSERT INTO orders (email) SELECT b FROM x
--> rewritten
INSERT INTO orders (email, "id", "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 1")::character varying(5))) FROM (SELECT "pgtandem rows".*, nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" FROM (SELECT b FROM x) AS "pgtandem rows" ("pgtandem rows 1") OFFSET 0) AS "pgtandem"

--# DISTINCT, grouping and set operations are the guard's.
INSERT INTO orders (id, email) SELECT DISTINCT a, b FROM x
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT DISTINCT a, b FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# A star is the guard's: how many columns it is only the server knows.
INSERT INTO orders (id, email) SELECT * FROM x
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# A star of the table itself is spelled out all the same.
INSERT INTO archive SELECT * FROM orders
--> rewritten
INSERT INTO archive SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders

--# Aggregates of other columns do no harm.
INSERT INTO orders (id, email, n) SELECT 1, 'a', count(*) FROM x
--> rewritten
INSERT INTO orders (id, email, n, "id_new", "email_new") SELECT 1, 'a', count(*), (((1)::integer))::bigint, lower((('a')::character varying(5))) FROM x

--# Parentheses, or a WITH of its own.
INSERT INTO orders (id, email) WITH w AS (SELECT 1 AS a) SELECT a, 'b' FROM w
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") WITH w AS (SELECT 1 AS a) SELECT a, 'b', (((a)::integer))::bigint, lower((('b')::character varying(5))) FROM w

--# Of the table itself it is known how many columns a star is, by any name and in any place.
INSERT INTO orders SELECT * FROM orders
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", ((("public"."orders"."id")::integer))::bigint, lower((("public"."orders"."email")::character varying(5))) FROM orders

--# The same.
INSERT INTO orders TABLE orders
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# The same.
INSERT INTO orders (SELECT o.* FROM ONLY orders o WHERE n > 1 ORDER BY 1 LIMIT 3)
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM ((SELECT "o"."id", "o"."email", "o"."note", "o"."n" FROM ONLY orders o WHERE n > 1 ORDER BY 1 LIMIT 3)) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# The same.
INSERT INTO orders SELECT s.* FROM x, (SELECT * FROM orders) s
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT s.* FROM x, (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders) s OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# By other names.
INSERT INTO orders SELECT * FROM orders AS o (a, b, c)
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "o"."a", "o"."b", "o"."c", "o"."n", ((("o"."a")::integer))::bigint, lower((("o"."b")::character varying(5))) FROM orders AS o (a, b, c)

--# In one arm, or both.
INSERT INTO orders SELECT * FROM orders UNION ALL SELECT 1, 'a', 'b', 2.0
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders UNION ALL SELECT 1, 'a', 'b', 2.0 OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# By another name it might be another table.
INSERT INTO orders SELECT * FROM public.orders
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", ((("public"."orders"."id")::integer))::bigint, lower((("public"."orders"."email")::character varying(5))) FROM public.orders

--# A WITH query of its name is not the table.
INSERT INTO orders WITH orders AS (SELECT 1, 'a') SELECT * FROM orders
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (WITH orders AS (SELECT 1, 'a') SELECT * FROM orders OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Nor does it say how many there are when that is a star itself.
INSERT INTO orders WITH orders AS (SELECT * FROM x) SELECT * FROM orders
--> guarded star

--# USING may show what is hidden.
INSERT INTO orders SELECT * FROM orders JOIN (SELECT 1 AS id) s USING (id) FOR UPDATE OF orders
--> guarded star

--# So may a sample.
INSERT INTO orders SELECT * FROM orders TABLESAMPLE system (1)
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", ((("public"."orders"."id")::integer))::bigint, lower((("public"."orders"."email")::character varying(5))) FROM orders TABLESAMPLE system (1)
