-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# The value of a lead is copied, cast to the column's exact type, into the follow column.
INSERT INTO orders (id, email) VALUES (1, 'Ab')
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'Ab', '1', lower((('Ab')::character varying(5))))

--# A parameter is not renumbered, and its copy says the type that it has anyway.
INSERT INTO orders (id, email, note) VALUES ($3, $1, $2) RETURNING id
--> rewritten
INSERT INTO orders (id, email, note, "id_new", "email_new") VALUES ($3, $1, $2, ((($3)::integer))::bigint, lower((($1)::character varying(5)))) RETURNING id

--# Every row of several is given its own.
INSERT INTO orders (id, email) VALUES (1, 'a'), (2, upper('b')) , (3, NULL)
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))), (2, upper('b'), '2', lower(((upper('b'))::character varying(5)))) , (3, NULL, '3', lower(((NULL)::character varying(5))))

--# Without a column list the visible columns are listed, as many as there are values.
INSERT INTO orders VALUES (1, 'a', 'n')
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") VALUES (1, 'a', 'n', '1', lower((('a')::character varying(5))))

--# More values than visible columns stay an error, and fill no hidden column.
INSERT INTO orders VALUES (1, 'a', 'n', 2, 3)
--> rewritten
INSERT INTO orders ("id", "email", "note", "n") VALUES (1, 'a', 'n', 2, 3)

--# DEFAULT for a lead is its default.
INSERT INTO orders (id, email) VALUES (1, DEFAULT)
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, DEFAULT, '1', lower((('X'::character varying)::character varying(5))))

--# A lead that is left out takes its default, and so does its follow column.
INSERT INTO orders (id) VALUES (1)
--> rewritten
INSERT INTO orders (id, "id_new", "email_new") VALUES (1, '1', lower((('X'::character varying)::character varying(5))))

--# Both sides given are left alone.
INSERT INTO orders (id, id_new, email, email_new) VALUES (1, 2, 'a', 'b')
--> unchanged

--# Only the follow column given: the lead is derived.
INSERT INTO orders (id_new, email) VALUES (7, 'a')
--> rewritten
INSERT INTO orders (id_new, email, "id", "email_new") VALUES (7, 'a', (((7)::bigint))::integer, lower((('a')::character varying(5))))

--# Only the follow column given, and nothing to derive the lead with: the guard's.
INSERT INTO orders (id, email_new) VALUES (7, 'a')
--> guarded follow-only

--# The alias is not taken for anything else.
INSERT INTO public.orders AS o (id, email) VALUES (1, 'a') RETURNING o.*
--> rewritten
INSERT INTO public.orders AS o (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) RETURNING "o"."id", "o"."email", "o"."note", "o"."n"

--# OVERRIDING SYSTEM VALUE stays; with USER VALUE the given value would not be the value.
INSERT INTO orders (id, email) OVERRIDING SYSTEM VALUE VALUES (1, 'a')
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") OVERRIDING SYSTEM VALUE VALUES (1, 'a', '1', lower((('a')::character varying(5))))

--# OVERRIDING USER VALUE is the guard's.
INSERT INTO orders (id, email) OVERRIDING USER VALUE VALUES (1, 'a')
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") OVERRIDING USER VALUE VALUES (1, 'a', '1', lower((('a')::character varying(5))))

--# A row that does not fit the list is the server's error to tell.
INSERT INTO orders (id, email) VALUES (1)
--> unchanged

--# Comments and newlines in a copied value are copied, and quotes and brackets in them do not count.
INSERT INTO orders (id, email) VALUES (1 -- it's, one )
  + /* ( */ 2, 'a'
  'b') -- done
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1 -- it's, one )
  + /* ( */ 2, 'a'
  'b', (((1 -- it's, one )
  + /* ( */ 2)::integer))::bigint, lower((('a'
  'b')::character varying(5)))) -- done

--# A constant of a type that cannot be cast at all is the server's error to tell.
INSERT INTO orders (id, email) VALUES (true, 'a')
--> guarded type

--# Part of a column that is not a lead may be given.
INSERT INTO orders (id, email, note[1]) VALUES (1, 'a', 'b')
--> rewritten
INSERT INTO orders (id, email, note[1], "id_new", "email_new") VALUES (1, 'a', 'b', '1', lower((('a')::character varying(5))))

--# Part of a lead is the guard's.
INSERT INTO orders (id, email[1]) VALUES (1, 'a')
--> guarded indirection

--# EXPLAIN is of the statement that would run.
EXPLAIN (ANALYZE) INSERT INTO orders (id, email) VALUES (1, 'a')
--> rewritten
EXPLAIN (ANALYZE) INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5))))

--# An INSERT in WITH, and one below another table's.
WITH x AS (INSERT INTO orders (id, email) VALUES (1, 'a') RETURNING *) INSERT INTO log SELECT id FROM x
--> rewritten
WITH x AS (INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n") INSERT INTO log SELECT id FROM x

--# VALUES with more to it is the guard's.
INSERT INTO orders (id, email) VALUES (1, 'a') ORDER BY 1 LIMIT 1
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") SELECT "pgtandem".*, ((("pgtandem"."pgtandem rows 1")::integer))::bigint, lower((("pgtandem"."pgtandem rows 2")::character varying(5))) FROM (VALUES (1, 'a') ORDER BY 1 LIMIT 1) AS "pgtandem" ("pgtandem rows 1", "pgtandem rows 2")

--# Another schema's table is another table.
INSERT INTO audit.orders (id) VALUES (1)
--> untouched

--# Non-ASCII text before and in a copied value.
INSERT INTO orders (note, id, email) VALUES ('é€𝄞', 1, 'ü' || 'é')
--> rewritten
INSERT INTO orders (note, id, email, "id_new", "email_new") VALUES ('é€𝄞', 1, 'ü' || 'é', '1', lower((('ü' || 'é')::character varying(5))))

--# A column that is given twice is the server's error to tell.
INSERT INTO orders (id, id, email) VALUES (1, 2, 'a')
--> unchanged
