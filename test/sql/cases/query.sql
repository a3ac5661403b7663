-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: tags text[]
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# Constants and parameters take their column's type at the outermost level only.
INSERT INTO orders (id, email, note) SELECT DISTINCT ON (a) a, $1, 'note' FROM x
--> rewritten
INSERT INTO orders (id, email, note, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", $1, 'note', ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((($1)::character varying(5))) FROM (SELECT DISTINCT ON (a) a, NULL, 'note' FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3")

--# By which rows are sorted, made distinct or grouped, they are text for the server, and stay.
INSERT INTO orders (id, email, note) SELECT max(a), 'k', 'l' AS label FROM x GROUP BY 2, label
--> rewritten
INSERT INTO orders (id, email, note, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT max(a), 'k', 'l' AS label FROM x GROUP BY 2, label OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3")

--# A parameter among them.
INSERT INTO orders (id, email) SELECT 1, $1 ORDER BY 2
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT 1, $1 ORDER BY 2 OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# All of them with DISTINCT.
INSERT INTO orders (id, email) SELECT DISTINCT a, 'x' FROM x
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT DISTINCT a, 'x' FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Set operations decide their types by themselves.
INSERT INTO orders (id, email) SELECT 1, 'a' UNION ALL (SELECT a, b FROM x ORDER BY 1 LIMIT 3)
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT 1, 'a' UNION ALL (SELECT a, b FROM x ORDER BY 1 LIMIT 3) OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# What is limited needs no OFFSET.
INSERT INTO orders (id, email) SELECT f(a), b FROM x LIMIT 3
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT f(a), b FROM x LIMIT 3) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# VALUES with more to it; without a column list.
INSERT INTO orders VALUES (1, 'a'), (2, 'b') OFFSET 1
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (VALUES (1, 'a'), (2, 'b') OFFSET 1) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# TABLE.
INSERT INTO orders (id, email) TABLE x
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (TABLE x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Beside a star a constant is cast where it stands.
INSERT INTO orders (id, email, note, n) SELECT x.*, $1, 'a', 5 FROM x
--> rewritten
INSERT INTO orders (id, email, note, n, "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT x.*, ($1)::character varying, ('a')::text, 5 FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# So it is before one.
INSERT INTO orders (email, id) SELECT 'a', * FROM x
--> rewritten
INSERT INTO orders (email, id, "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 2")::integer))::bigint, lower((("pgtandem"."pgtandem rows 1")::character varying(5))) FROM (SELECT ('a')::character varying, * FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Beside two stars it is not certain which column it is of.
INSERT INTO orders (id, email) SELECT x.*, y.*, 'a' FROM x, y
--> guarded star

--# A star without a column list: only the server knows how many columns there are.
INSERT INTO orders SELECT * FROM x
--> guarded star

--# Of a subselect, of VALUES, of a WITH query it is known.
WITH w AS (SELECT 1 AS a) INSERT INTO orders SELECT s.*, v.*, w.* FROM (SELECT a, b FROM x) s JOIN (VALUES ('c')) v (note) ON true CROSS JOIN w
--> rewritten
WITH w AS (SELECT 1 AS a) INSERT INTO orders ("id", "email", "note", "n", "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3", "pgtandem"."pgtandem rows 4", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT s.*, v.*, w.* FROM (SELECT a, b FROM x) s JOIN (VALUES ('c')) v (note) ON true CROSS JOIN w OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3", "pgtandem rows 4")

--# Of what a write in WITH returns, too.
WITH w AS (DELETE FROM x RETURNING a, b) INSERT INTO orders SELECT * FROM w
--> rewritten
WITH w AS (DELETE FROM x RETURNING a, b) INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM w OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Its own star is spelled out.
INSERT INTO orders SELECT * FROM orders
--> rewritten
INSERT INTO orders ("id", "email", "note", "n", "tags", "id_new", "email_new") SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", "public"."orders"."tags", ((("public"."orders"."id")::integer))::bigint, lower((("public"."orders"."email")::character varying(5))) FROM orders

--# Beside constants.
INSERT INTO orders (id, email, note, n, tags, id_new) SELECT o.*, 7 FROM orders o
--> rewritten
INSERT INTO orders (id, email, note, n, tags, id_new, "email_new") SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags", 7, lower((("o"."email")::character varying(5))) FROM orders o

--# A volatile default is drawn for each row, behind ORDER BY.
INSERT INTO orders (email, note) SELECT $1, b FROM x ORDER BY b RETURNING id
--> rewritten
INSERT INTO orders (email, note, "id", "id_new", "email_new") SELECT $1, "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((($1)::character varying(5))) FROM (SELECT "pgtandem rows".*, nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" FROM (SELECT NULL, b FROM x ORDER BY b) AS "pgtandem rows" ("pgtandem rows 1", "pgtandem rows 2") OFFSET 0) AS "pgtandem" RETURNING id

--# With a star.
INSERT INTO orders (email) SELECT * FROM x ON CONFLICT DO NOTHING
--> rewritten
INSERT INTO orders (email, "id", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 1")::character varying(5))) FROM (SELECT "pgtandem rows".*, nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" FROM (SELECT * FROM x) AS "pgtandem rows" ("pgtandem rows 1") OFFSET 0) AS "pgtandem" ON CONFLICT DO NOTHING

--# A function that is not known is evaluated once, and a constant beside it stays outside.
INSERT INTO orders (id, email) (SELECT f(a), 'x' FROM x) ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING id
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", 'x', ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((('x')::character varying(5))) FROM ((SELECT f(a), 'x' FROM x) OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2") ON CONFLICT (id) DO UPDATE SET email = excluded.email, "email_new" = lower(((excluded.email)::character varying(5))) RETURNING id

--# Too many or too few columns are the server's error to tell.
INSERT INTO orders (id, email) SELECT 1
--> unchanged

--# INTO is refused by the server.
INSERT INTO orders (id) SELECT 1 INTO y
--> unchanged

--# A collation of a constant.
INSERT INTO orders (id, email) SELECT f(1), 'a' COLLATE "C"
--> guarded collate

--# A parameter and its label.
INSERT INTO orders (email, id) SELECT $1 AS "from", f(2) one FROM x
--> rewritten
INSERT INTO orders (email, id, "id_new", "email_new") SELECT $1, "pgtandem"."pgtandem rows 2", ((("pgtandem"."pgtandem rows 2")::integer))::bigint, lower((($1)::character varying(5))) FROM (SELECT NULL AS "from", f(2) one FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# USING merges columns.
INSERT INTO orders SELECT * FROM (SELECT 1 AS a, 'x' AS b) s JOIN (SELECT 1 AS a, 'n' AS c) u USING (a)
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM (SELECT 1 AS a, 'x' AS b) s JOIN (SELECT 1 AS a, 'n' AS c) u USING (a) OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# A function that gives one column, and one of which the columns are listed.
INSERT INTO orders (id, email) SELECT f(a), 'x' FROM y; INSERT INTO orders SELECT * FROM generate_series(1, 3) WITH ORDINALITY; INSERT INTO orders SELECT * FROM g() AS s (a integer, b text)
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", 'x', ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((('x')::character varying(5))) FROM (SELECT f(a), 'x' FROM y OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2"); INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM generate_series(1, 3) WITH ORDINALITY OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2"); INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM g() AS s (a integer, b text) OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")
