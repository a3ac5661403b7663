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

--# Where a row may be missing it is NULL, which a row of its columns is not.
SELECT o::text FROM x LEFT JOIN orders o ON true
--> guarded whole-row

--# A column of another table could be meant.
SELECT o::text FROM orders o, x
--> guarded whole-row

--# Its type, or the names of its columns, would be seen.
SELECT o, row_to_json(o) FROM orders o
--> guarded whole-row

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

--# As whole rows.
DELETE FROM orders RETURNING old
--> guarded whole-row

--# An alias of that name comes first.
UPDATE orders SET note = 'n' FROM x AS old WHERE old.a = orders.n RETURNING old.*, new.*
--> rewritten
UPDATE orders SET note = 'n' FROM x AS old WHERE old.a = orders.n RETURNING old.*, "new"."id", "new"."email", "new"."note", "new"."n", "new"."tags"

--# A row that may be missing, spelled with a star.
SELECT (o.*)::text FROM x LEFT JOIN orders o ON true
--> guarded whole-row
