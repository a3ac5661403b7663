-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# COPY FROM: the hidden columns are not in the data; what is written is the guard's.
COPY orders FROM STDIN
--> guarded copy
COPY orders ("id", "email", "note", "n") FROM STDIN

--# With a list it stays as it is.
COPY public.orders (id, email) FROM STDIN WITH (FORMAT csv)
--> guarded copy

--# COPY TO.
COPY orders TO STDOUT
--> rewritten
COPY orders ("id", "email", "note", "n") TO STDOUT

--# COPY of a query.
COPY (SELECT * FROM orders) TO STDOUT
--> rewritten
COPY (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders) TO STDOUT
