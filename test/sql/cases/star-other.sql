-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)
-- relation: "x", 3
-- relation: "s"."x", 2
-- relation: "wide", 4
-- relation: "gone", 0

--# Of another table it is known how many columns it has: the server was asked.
INSERT INTO orders SELECT * FROM x
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# In a schema; fewer columns, so that the last has its default.
INSERT INTO orders SELECT * FROM s.x WHERE true RETURNING *
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM s.x WHERE true OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2") RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note"

--# By its alias, beside others; TABLE.
INSERT INTO orders SELECT x.*, y.c FROM s.x, y
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT x.*, y.c FROM s.x, y OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3") WHERE true OR EXISTS (VALUES ("pgtandem".*), ("pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3"))

--# The same.
INSERT INTO orders TABLE x
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (TABLE x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# A constant beside it.
INSERT INTO orders SELECT *, 'c' FROM s.x
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT *, ('c')::text FROM s.x OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3") WHERE true OR EXISTS (VALUES ("pgtandem".*), ("pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3"))

--# Several, each with its place in the text.
INSERT INTO orders SELECT 1, x.*, y.* FROM (SELECT 'a') AS x, (SELECT 'b') AS y
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem"."pgtandem rows 1", "pgtandem"."pgtandem rows 2", "pgtandem"."pgtandem rows 3", ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT 1, x.*, y.* FROM (SELECT 'a') AS x, (SELECT 'b') AS y OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3")

--# The one and the other of a join; a subselect; a set operation.
INSERT INTO orders SELECT a.* FROM (SELECT * FROM s.x) AS a UNION ALL SELECT b.* FROM s.x AS b
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT a.* FROM (SELECT * FROM s.x) AS a UNION ALL SELECT b.* FROM s.x AS b OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# With USING columns are merged.
INSERT INTO orders SELECT * FROM s.x JOIN s.x AS y USING (a)
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (SELECT * FROM s.x JOIN s.x AS y USING (a) OFFSET 0) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Too many are the server's error to tell.
INSERT INTO orders SELECT * FROM wide
--> rewritten
INSERT INTO orders ("id", "email", "note") SELECT * FROM wide

--# A WITH query of that name is what is meant.
WITH x AS (SELECT 1 AS a) INSERT INTO orders SELECT * FROM x
--> rewritten
WITH x AS (SELECT 1 AS a) INSERT INTO orders ("id", "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((('X'::character varying)::character varying(5))) FROM (SELECT * FROM x OFFSET 0) AS "pgtandem" ("pgtandem rows 1")

--# There is no such relation.
INSERT INTO orders SELECT * FROM gone
--> guarded star

--# It is not known.
INSERT INTO orders SELECT * FROM y
--> guarded star

--# The star of another table in a row, whose columns an alias gives names to: all that it has, or not all.
UPDATE orders SET (id, note) = ROW (v.*) FROM "s"."x" v (i, j)
--> rewritten
UPDATE orders SET (id, note) = ROW (v.*), "id_new" = ((("v"."i")::integer))::bigint FROM "s"."x" v (i, j)

--# The same.
UPDATE orders SET (id, note) = ROW (v.*) FROM "s"."x" v (i, j, k)
--> guarded row
