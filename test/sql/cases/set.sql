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

--# What may be evaluated only once is, for each row: the condition is always true, and reads the row.
UPDATE orders SET email = f($1), note = 'n' WHERE id = 1
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f($1)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("id" IS NULL) IS NOT NULL), note = 'n' WHERE id = 1

--# By a column that is read anyway; not by one of another table.
UPDATE orders o SET email = f(x.a) FROM x WHERE x.id = o.n
--> rewritten
UPDATE orders o SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f(x.a)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("o"."n" IS NULL) IS NOT NULL) FROM x WHERE x.id = o.n

--# All values that can't be given twice are moved, in the order of the table's columns.
UPDATE orders SET n = random(), note = 'n', email = f(), id = nextval('s')
--> rewritten
UPDATE orders SET ("id", "email", "n", "id_new", "email_new") = (SELECT "pgtandem"."pgtandem 1", "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 3", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((("pgtandem"."pgtandem 2")::character varying(5))) FROM (VALUES (nextval('s'), f(), random()) OFFSET 0) AS "pgtandem" ("pgtandem 1", "pgtandem 2", "pgtandem 3") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL), note = 'n'

--# A row of values.
UPDATE orders SET (note, email, n) = ('n', f(), DEFAULT), id = 4
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f()) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL), "note" = 'n', "n" = DEFAULT, id = 4, "id_new" = (((4)::integer))::bigint

--# A row of which all is moved.
UPDATE orders SET note = 'n', (email, n) = ROW (f(), g()), id = h()
--> rewritten
UPDATE orders SET note = 'n', ("id", "email", "n", "id_new", "email_new") = (SELECT "pgtandem"."pgtandem 1", "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 3", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((("pgtandem"."pgtandem 2")::character varying(5))) FROM (VALUES (h(), f(), g()) OFFSET 0) AS "pgtandem" ("pgtandem 1", "pgtandem 2", "pgtandem 3") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL)

--# A volatile default.
UPDATE orders SET note = 'n', id = DEFAULT
--> rewritten
UPDATE orders SET note = 'n', ("id", "id_new") = (SELECT "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint FROM (VALUES (nextval('public.orders_id_seq'::regclass)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL)

--# A subselect of one column, which the server computes once for all rows when it reads nothing of them.
UPDATE orders SET email = (SELECT max(b) FROM x)
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES ((SELECT max(b) FROM x)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL)

--# A subselect of several columns; where it gives no row all are NULL.
UPDATE orders SET note = 'n', (id, email) = (SELECT a, 'b' FROM x WHERE x.c = orders.n)
--> rewritten
UPDATE orders SET note = 'n', (id, email, "id_new", "email_new") = (WITH "pgtandem 1 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED (SELECT a, 'b' FROM x WHERE x.c = orders.n) SELECT "pgtandem 1 of"."pgtandem 1", "pgtandem 1 of"."pgtandem 2", ((("pgtandem 1 of"."pgtandem 1")::integer))::bigint, lower((("pgtandem 1 of"."pgtandem 2")::character varying(5))) FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 1 of" ON true)

--# One with a star, in two pairs of parentheses.
UPDATE orders SET (id, email) = ((SELECT * FROM x LIMIT 1))
--> rewritten
UPDATE orders SET (id, email, "id_new", "email_new") = (WITH "pgtandem 0 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED ((SELECT * FROM x LIMIT 1)) SELECT "pgtandem 0 of".*, ((("pgtandem 0 of"."pgtandem 1")::integer))::bigint, lower((("pgtandem 0 of"."pgtandem 2")::character varying(5))) FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 0 of" ON true)

--# Two of them.
UPDATE orders SET (id, note) = (SELECT a, b FROM x), (n, email) = (SELECT c, d FROM y)
--> rewritten
UPDATE orders SET (id, note, "id_new") = (WITH "pgtandem 0 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED (SELECT a, b FROM x) SELECT "pgtandem 0 of"."pgtandem 1", "pgtandem 0 of"."pgtandem 2", ((("pgtandem 0 of"."pgtandem 1")::integer))::bigint FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 0 of" ON true), (n, email, "email_new") = (WITH "pgtandem 1 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED (SELECT c, d FROM y) SELECT "pgtandem 1 of"."pgtandem 1", "pgtandem 1 of"."pgtandem 2", lower((("pgtandem 1 of"."pgtandem 2")::character varying(5))) FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 1 of" ON true)

--# A star of the table within it.
UPDATE orders SET (id, email, note, n, tags) = (SELECT * FROM orders WHERE id = 3)
--> rewritten
UPDATE orders SET (id, email, note, n, tags, "id_new", "email_new") = (WITH "pgtandem 0 of" ("pgtandem 1", "pgtandem 2", "pgtandem 3", "pgtandem 4", "pgtandem 5") AS MATERIALIZED (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", "public"."orders"."tags" FROM orders WHERE id = 3) SELECT "pgtandem 0 of".*, ((("pgtandem 0 of"."pgtandem 1")::integer))::bigint, lower((("pgtandem 0 of"."pgtandem 2")::character varying(5))) FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 0 of" ON true)

--# In ON CONFLICT the row that was proposed is read.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET email = f(excluded.email) WHERE orders.n > 1
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f(excluded.email)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("excluded"."id" IS NULL) IS NOT NULL) WHERE orders.n > 1

--# Both sides given, in whatever way.
UPDATE orders SET (email, email_new) = (SELECT a, b FROM x)
--> unchanged

--# Only the follow column given.
UPDATE orders SET id_new = f()
--> rewritten
UPDATE orders SET ("id_new", "id") = (SELECT "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::bigint))::integer FROM (VALUES (f()) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."id_new" IS NULL) IS NOT NULL)

--# Only the follow column given, by a subselect.
UPDATE orders SET (id_new, note) = (SELECT a, b FROM x)
--> rewritten
UPDATE orders SET (id_new, note, "id") = (WITH "pgtandem 0 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED (SELECT a, b FROM x) SELECT "pgtandem 0 of"."pgtandem 1", "pgtandem 0 of"."pgtandem 2", ((("pgtandem 0 of"."pgtandem 1")::bigint))::integer FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 0 of" ON true)

--# A row of its own is one value, and not several.
UPDATE orders SET email = x.* FROM x
--> guarded row

--# A row that has to take its column's type stays where it stands.
UPDATE orders SET email = ROW (f(), 1)
--> guarded row

--# A star in a row stands for any number of values.
UPDATE orders SET (id, email) = ROW (x.*) FROM x
--> guarded row

--# What is neither a row nor a subselect is the server's error to tell.
UPDATE orders SET (id, email) = 5
--> unchanged

--# So is a column that is given twice.
UPDATE orders SET email = 'a', email = 'b'
--> unchanged

--# Part of another column.
UPDATE orders SET tags[1] = 'a', tags[2] = 'b', email = 'c'
--> rewritten
UPDATE orders SET tags[1] = 'a', tags[2] = 'b', email = 'c', "email_new" = lower((('c')::character varying(5)))

--# Comments and brackets.
UPDATE orders SET email /* = ( */ = f('a', ')') -- b
, note = 'c'
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f('a', ')')) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL) -- b
, note = 'c'

--# A row stays where it stands beside what is moved, too.
UPDATE orders SET tags = ROW (g()), email = f()
--> rewritten
UPDATE orders SET tags = ROW (g()), ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f()) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL)

--# In an item of its own list, the comma before it goes.
UPDATE orders SET id = f(), note = 'n', n = g()
--> rewritten
UPDATE orders SET ("id", "n", "id_new") = (SELECT "pgtandem"."pgtandem 1", "pgtandem"."pgtandem 2", ((("pgtandem"."pgtandem 1")::integer))::bigint FROM (VALUES (f(), g()) OFFSET 0) AS "pgtandem" ("pgtandem 1", "pgtandem 2") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL), note = 'n'

--# An element of an array is given twice, as an expression like any other.
UPDATE orders SET email = tags[1], id = (tags[n:2])[1]
--> rewritten
UPDATE orders SET email = tags[1], id = (tags[n:2])[1], "id_new" = ((((tags[n:2])[1])::integer))::bigint, "email_new" = lower(((tags[1])::character varying(5)))

--# A row of what can be given twice is, too; with a field of a value it is not certain.
UPDATE orders SET email = ROW ('a', 1), id = (o).x
--> rewritten
UPDATE orders SET email = ROW ('a', 1), ("id", "id_new") = (SELECT "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint FROM (VALUES ((o).x) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL), "email_new" = lower(((ROW ('a', 1))::character varying(5)))

--# The star of another table, whose columns the alias gives names to, or VALUES.
UPDATE orders SET (email, id) = ROW (v.*) FROM (VALUES ('a', 2)) AS v (i, "J") WHERE v.i = note
--> rewritten
UPDATE orders SET (email, id) = ROW (v.*), "id_new" = ((("v"."J")::integer))::bigint, "email_new" = lower((("v"."i")::character varying(5))) FROM (VALUES ('a', 2)) AS v (i, "J") WHERE v.i = note

--# The same.
UPDATE orders SET (email, n, id) = (f(), v.*) FROM (VALUES (1, 2)) v
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f()) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."email" IS NULL) IS NOT NULL), "n" = "v"."column1", "id" = "v"."column2", "id_new" = ((("v"."column2")::integer))::bigint FROM (VALUES (1, 2)) v

--# The alias gives a name to some of them, to two the same, or the table has more: it is not known which they are.
UPDATE orders SET (email, id) = ROW (v.*) FROM (SELECT 1, 2) v (i)
--> guarded row

--# The same.
UPDATE orders SET (email, id) = ROW (v.*) FROM (VALUES (1, 2)) v (i, i)
--> guarded row

--# The same.
UPDATE orders SET (email, id) = ROW (v.*) FROM x v (i, j)
--> guarded row

--# The same.
UPDATE orders SET (email, id) = ROW (v.*) FROM (VALUES (1, 2)) v, (VALUES (1, 2)) v
--> guarded row

--# There are more of them than columns, as the server will say.
UPDATE orders SET (email, id) = ROW (v.*) FROM (VALUES (1, 2, 3)) v
--> unchanged
