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

--# Whole rows that are compared.
INSERT INTO orders AS i (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET email = excluded.email WHERE i.* IS DISTINCT FROM excluded.*
--> rewritten
INSERT INTO orders AS i (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET email = excluded.email, "email_new" = lower(((excluded.email)::character varying(5))) WHERE ROW("i"."id", "i"."email", "i"."note", "i"."n", "i"."tags")::pg_catalog.record IS DISTINCT FROM ROW("excluded"."id", "excluded"."email", "excluded"."note", "excluded"."n", "excluded"."tags")::pg_catalog.record

--# Turned to text; the target keeps its name.
SELECT o::text, md5(cast(o.* AS text)), (o.*)::text AS t FROM orders o WHERE o IS NOT NULL
--> rewritten
SELECT ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags")::text AS "o", md5(cast(ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") AS text)), (ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags"))::text AS t FROM orders o WHERE ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") IS NOT NULL

--# With a row, and another whole row.
SELECT count(*) FROM orders o, orders p WHERE o = p AND o <> ROW (1, 'a', 'n', 2, NULL)
--> rewritten
SELECT count(*) FROM orders o, orders p WHERE ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags")::pg_catalog.record = ROW("p"."id", "p"."email", "p"."note", "p"."n", "p"."tags")::pg_catalog.record AND ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags")::pg_catalog.record <> ROW (1, 'a', 'n', 2, NULL)

--# Behind a name alone, a column of another table could be meant.
SELECT o::text FROM x LEFT JOIN orders o ON true
--> guarded whole-row

--# A column of another table could be meant.
SELECT o::text FROM orders o, x
--> guarded whole-row

--# Sent to the client, and where the names of its columns are seen.
SELECT o, row_to_json(o) FROM orders o
--> rewritten
SELECT ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags")::pg_catalog.record AS "o", row_to_json((SELECT "pgtandem row" FROM (SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") AS "pgtandem row")) FROM orders o

--# OLD and NEW.
UPDATE orders SET note = 'n' RETURNING old.*, new.id, *
--> rewritten
UPDATE orders SET note = 'n' RETURNING "old"."id", "old"."email", "old"."note", "old"."n", "old"."tags", new.id, "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", "public"."orders"."tags"

--# By names of their own.
UPDATE orders SET note = 'n' RETURNING WITH (OLD AS "O", NEW AS b) "O".*, b.*
--> rewritten
UPDATE orders SET note = 'n' RETURNING WITH (OLD AS "O", NEW AS b) "O"."id", "O"."email", "O"."note", "O"."n", "O"."tags", "b"."id", "b"."email", "b"."note", "b"."n", "b"."tags"

--# An alias of that name is the table.
UPDATE orders AS old SET note = 'n' RETURNING old.*
--> rewritten
UPDATE orders AS old SET note = 'n' RETURNING "old"."id", "old"."email", "old"."note", "old"."n", "old"."tags"

--# As whole rows: the one or the other may be missing.
DELETE FROM orders RETURNING old
--> rewritten
DELETE FROM orders RETURNING (CASE WHEN "old".* IS DISTINCT FROM NULL THEN ROW("old"."id", "old"."email", "old"."note", "old"."n", "old"."tags")::pg_catalog.record END) AS "old"

--# An alias of that name comes first.
UPDATE orders SET note = 'n' FROM x AS old WHERE old.a = orders.n RETURNING old.*, new.*
--> rewritten
UPDATE orders SET note = 'n' FROM x AS old WHERE old.a = orders.n RETURNING old.*, "new"."id", "new"."email", "new"."note", "new"."n", "new"."tags"

--# A row that may be missing is NULL, which a row of its columns is not.
SELECT (o.*)::text FROM x LEFT JOIN orders o ON true
--> rewritten
SELECT ((CASE WHEN "o".* IS DISTINCT FROM NULL THEN ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") END))::text AS "o" FROM x LEFT JOIN orders o ON true

--# What counts rows sees nothing of them; what collects them sees the names of their columns.
SELECT count(o), json_agg(o ORDER BY o.id), jsonb_build_object('o', o.*) FROM orders o
--> rewritten
SELECT count(o), json_agg((SELECT "pgtandem row" FROM (SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") AS "pgtandem row") ORDER BY o.id), jsonb_build_object('o', (SELECT "pgtandem row" FROM (SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") AS "pgtandem row")) FROM orders o

--# Columns of a row.
SELECT (o).id, (o.*).note FROM orders o WHERE (o).n > 1
--> unchanged

--# A star of a row in parentheses, and in a row.
SELECT (o).*, ROW (o.*, 1), 1 FROM orders o WHERE (o.*, 2) <> ROW (1, 'a', 'n', 2, NULL, 2)
--> rewritten
SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags", ROW ("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags", 1), 1 FROM orders o WHERE ("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags", 2) <> ROW (1, 'a', 'n', 2, NULL, 2)

--# Grouped: whether the row may be named there the server says.
SELECT to_json(o), o::text FROM orders o GROUP BY o.id
--> rewritten
SELECT to_json((CASE WHEN "o".* IS DISTINCT FROM NULL THEN (SELECT "pgtandem row" FROM (SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") AS "pgtandem row") END)), (CASE WHEN "o".* IS DISTINCT FROM NULL THEN ROW("o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") END)::text AS "o" FROM orders o GROUP BY o.id

--# An aggregate is made of all rows of a group.
SELECT json_agg(o) FROM orders o GROUP BY o.note
--> rewritten
SELECT json_agg((SELECT "pgtandem row" FROM (SELECT "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags") AS "pgtandem row")) FROM orders o GROUP BY o.note

--# By the row itself: a row of its columns would be another one.
SELECT to_json(o), o FROM orders o GROUP BY o
--> guarded whole-row

--# Where its type is used.
SELECT o FROM orders o UNION ALL SELECT o FROM orders o
--> guarded whole-row

--# The same: a table is made of it.
SELECT o INTO x FROM orders o
--> guarded whole-row

--# The same, within the statement.
WITH w AS (UPDATE orders SET note = 'n' RETURNING orders) SELECT (w.orders).id FROM w
--> guarded whole-row

--# A function that is not the server's.
SELECT public.to_json(o) FROM orders o
--> guarded whole-row

--# A star of the row that was proposed, in a row of SET.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET (id, email, note, n, tags) = ROW (excluded.*)
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET (id, email, note, n, tags) = ROW ("excluded"."id", "excluded"."email", "excluded"."note", "excluded"."n", "excluded"."tags"), "id_new" = ((("excluded"."id")::integer))::bigint, "email_new" = lower((("excluded"."email")::character varying(5)))

--# Among others; not as many as there are columns is the server's to say.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET (id, email, note, n, tags, id) = ROW (excluded.*, 1, upper('x'))
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET (id, email, note, n, tags, id) = ROW ("excluded"."id", "excluded"."email", "excluded"."note", "excluded"."n", "excluded"."tags", 1, upper('x'))
