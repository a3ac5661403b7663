-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# COPY FROM: the hidden columns are not in the data; what another text must be computed for is the guard's.
COPY orders FROM STDIN
--> guarded copy-expression
COPY orders ("id", "email", "note", "n") FROM STDIN

--# With a list it stays as it is.
COPY public.orders (id, email) FROM STDIN WITH (FORMAT csv)
--> guarded copy-expression

--# COPY TO.
COPY orders TO STDOUT
--> rewritten
COPY orders ("id", "email", "note", "n") TO STDOUT

--# COPY of a query.
COPY (SELECT * FROM orders) TO STDOUT
--> rewritten
COPY (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders) TO STDOUT

--# COPY of what a write returns.
COPY (INSERT INTO orders (id, email) VALUES (7, 'A') RETURNING *) TO STDOUT
--> rewritten
COPY (INSERT INTO orders (id, email, "id_new", "email_new") VALUES (7, 'A', '7', lower((('A')::character varying(5)))) RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n") TO STDOUT

--# COPY of what an update returns.
COPY (UPDATE orders SET id = 7 WHERE id = 8 RETURNING id, note) TO STDOUT (FORMAT csv)
--> rewritten
COPY (UPDATE orders SET id = 7, "id_new" = (((7)::integer))::bigint WHERE id = 8 RETURNING id, note) TO STDOUT (FORMAT csv)
