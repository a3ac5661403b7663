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

--# Rows of which one draws a volatile default: all other values stay where they are.
INSERT INTO orders (id, email, n) VALUES (1, $1, '5'), (DEFAULT, $2, 2.5)
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))) INSERT INTO orders (id, email, n, "id_new", "email_new") VALUES (1, $1, '5', (((1)::integer))::bigint, lower((($1)::character varying(5)))), ((SELECT column1 FROM "pgtandem 1"), $2, 2.5, ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((($2)::character varying(5))))

--# A function that is not known: in VALUES the server refuses sets and aggregates in the same words.
INSERT INTO orders (id, email) VALUES (1, f('a')), (2, 'b') RETURNING id
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (f('a'))) INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, (SELECT column1 FROM "pgtandem 1"), (((1)::integer))::bigint, lower((((SELECT column1 FROM "pgtandem 1"))::character varying(5)))), (2, 'b', (((2)::integer))::bigint, lower((('b')::character varying(5)))) RETURNING id

--# The WITH query is the last of those that there are.
WITH w AS (SELECT 1 AS a) INSERT INTO orders (id, email) VALUES ((SELECT a FROM w), 'a'), (f(2), 'b') ON CONFLICT DO NOTHING
--> rewritten
WITH w AS (SELECT 1 AS a), "pgtandem 1" AS MATERIALIZED (VALUES ((SELECT a FROM w))), "pgtandem 2" AS MATERIALIZED (VALUES (f(2))) INSERT INTO orders (id, email, "id_new", "email_new") VALUES ((SELECT column1 FROM "pgtandem 1"), 'a', ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((('a')::character varying(5)))), ((SELECT column1 FROM "pgtandem 2"), 'b', ((((SELECT column1 FROM "pgtandem 2"))::integer))::bigint, lower((('b')::character varying(5)))) ON CONFLICT DO NOTHING

--# Within WITH.
WITH w AS (INSERT INTO orders (email, n) VALUES (f(), 1), ('b', '2') RETURNING *) SELECT * FROM w
--> rewritten
WITH w AS (WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))), "pgtandem 2" AS MATERIALIZED (VALUES (f())), "pgtandem 3" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))) INSERT INTO orders (email, n, "id", "id_new", "email_new") VALUES ((SELECT column1 FROM "pgtandem 2"), 1, (SELECT column1 FROM "pgtandem 1"), ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((((SELECT column1 FROM "pgtandem 2"))::character varying(5)))), ('b', '2', (SELECT column1 FROM "pgtandem 3"), ((((SELECT column1 FROM "pgtandem 3"))::integer))::bigint, lower((('b')::character varying(5)))) RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", "public"."orders"."tags") SELECT * FROM w

--# EXPLAIN.
EXPLAIN INSERT INTO orders (id, email) VALUES (f(1), 'a'), (2, DEFAULT)
--> rewritten
EXPLAIN WITH "pgtandem 1" AS MATERIALIZED (VALUES (f(1))) INSERT INTO orders (id, email, "id_new", "email_new") VALUES ((SELECT column1 FROM "pgtandem 1"), 'a', ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((('a')::character varying(5)))), (2, DEFAULT, (((2)::integer))::bigint, lower((('X'::character varying)::character varying(5))))

--# Part of another column is given.
INSERT INTO orders (tags[1], tags[2], email) VALUES ('a', 'b', 'c')
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))) INSERT INTO orders (tags[1], tags[2], email, "id", "id_new", "email_new") VALUES ('a', 'b', 'c', (SELECT column1 FROM "pgtandem 1"), ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((('c')::character varying(5))))

--# A window function is refused by the server, in VALUES only.
INSERT INTO orders (id, email) VALUES (row_number() OVER (), 'a')
--> unchanged

--# A row that takes its column's type stays where it stands.
INSERT INTO orders (id, email) VALUES (1, ROW (f())), (2, 'a')
--> guarded row

--# A star stands for any number of values.
INSERT INTO orders (id, email) VALUES (1, x.*)
--> guarded star

--# One row alone may be made of several by a function that gives a set.
INSERT INTO orders (id, email, note) VALUES (f(1), 'a', g(2))
--> rewritten
INSERT INTO orders ("id", "email", "note", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", 'a', "pgtandem"."pgtandem 2", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT f(1) AS "pgtandem 1", g(2) AS "pgtandem 2", "pgtandem alone"."column1" FROM (VALUES (1)) AS "pgtandem alone" OFFSET 0) AS "pgtandem"

--# Beside a parameter of which the type is its column's.
INSERT INTO orders (id, email) VALUES (f($1), $2)
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", $2, ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((($2)::character varying(5))) FROM (SELECT f($1) AS "pgtandem 1", "pgtandem alone"."column1" FROM (VALUES (1)) AS "pgtandem alone" OFFSET 0) AS "pgtandem"
