-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# A volatile default is drawn once, and both columns are made from it.
INSERT INTO orders (email, note) VALUES ($1, 'n')
--> rewritten
INSERT INTO orders ("email", "note", "id", "id_new", "email_new") SELECT $1, 'n', "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((($1)::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" OFFSET 0) AS "pgtandem"

--# DEFAULT VALUES.
INSERT INTO orders DEFAULT VALUES RETURNING *
--> rewritten
INSERT INTO orders ("id", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('X'::character varying)::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" OFFSET 0) AS "pgtandem" RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n"

--# Columns that say DEFAULT are left out.
INSERT INTO orders (id, email, note, n) VALUES (DEFAULT, 'a', DEFAULT, 5)
--> rewritten
INSERT INTO orders ("email", "n", "id", "id_new", "email_new") SELECT 'a', 5, "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" OFFSET 0) AS "pgtandem"

--# Several rows: each draws its own, and literals and parameters are given their column's type.
INSERT INTO orders (email, note, n) VALUES ('a', $1, 1), ($2, 'y', 2.5) ON CONFLICT DO NOTHING RETURNING id
--> rewritten
INSERT INTO orders ("email", "note", "n", "id", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 3", "pgtandem"."pgtandem 4", ((("pgtandem"."pgtandem 4")::integer))::bigint, lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 4", "pgtandem rows"."pgtandem rows 1" AS "pgtandem 1", "pgtandem rows"."pgtandem rows 2" AS "pgtandem 2", "pgtandem rows"."pgtandem rows 3" AS "pgtandem 3" FROM (VALUES (('a')::character varying, ($1)::text, 1), (($2)::character varying, ('y')::text, 2.5)) AS "pgtandem rows" ("pgtandem rows 1", "pgtandem rows 2", "pgtandem rows 3") OFFSET 0) AS "pgtandem" ON CONFLICT DO NOTHING RETURNING id

--# A column of NULLs is given its type too.
INSERT INTO orders (n, note) VALUES (NULL, now()), (NULL, now())
--> rewritten
INSERT INTO orders ("n", "note", "id", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 3", ((("pgtandem"."pgtandem 3")::integer))::bigint, lower((('X'::character varying)::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 3", "pgtandem rows"."pgtandem rows 2" AS "pgtandem 2", "pgtandem rows"."pgtandem rows 1" AS "pgtandem 1" FROM (VALUES ((NULL)::numeric, now()), ((NULL)::numeric, now())) AS "pgtandem rows" ("pgtandem rows 1", "pgtandem rows 2") OFFSET 0) AS "pgtandem"

--# Several rows with values of which the type is not certain are the guard's.
INSERT INTO orders (email, n) VALUES ('a', 1), ('b', '2')
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))), "pgtandem 2" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))) INSERT INTO orders (email, n, "id", "id_new", "email_new") VALUES ('a', 1, (SELECT column1 FROM "pgtandem 1"), ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((('a')::character varying(5)))), ('b', '2', (SELECT column1 FROM "pgtandem 2"), ((((SELECT column1 FROM "pgtandem 2"))::integer))::bigint, lower((('b')::character varying(5))))

--# One parameter for two columns could not have both types: its casts would hide that.
INSERT INTO orders (email, n) VALUES ($1, $1), ('a', $2)
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))), "pgtandem 2" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))) INSERT INTO orders (email, n, "id", "id_new", "email_new") VALUES ($1, $1, (SELECT column1 FROM "pgtandem 1"), ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((($1)::character varying(5)))), ('a', $2, (SELECT column1 FROM "pgtandem 2"), ((((SELECT column1 FROM "pgtandem 2"))::integer))::bigint, lower((('a')::character varying(5))))

--# Several rows with DEFAULT in some of them are the guard's.
INSERT INTO orders (id, email) VALUES (1, 'a'), (DEFAULT, 'b')
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (nextval('public.orders_id_seq'::regclass))) INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', (((1)::integer))::bigint, lower((('a')::character varying(5)))), ((SELECT column1 FROM "pgtandem 1"), 'b', ((((SELECT column1 FROM "pgtandem 1"))::integer))::bigint, lower((('b')::character varying(5))))

--# A volatile value is evaluated once.
INSERT INTO orders (id, email) VALUES (nextval('other'), 'a')
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", 'a', ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT nextval('other') AS "pgtandem 1" OFFSET 0) AS "pgtandem"

--# So is a subselect.
INSERT INTO orders (id, email) VALUES ((SELECT max(x) FROM y), 'a')
--> rewritten
INSERT INTO orders ("id", "email", "id_new", "email_new") SELECT "pgtandem"."pgtandem 1", 'a', ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT (SELECT max(x) FROM y) AS "pgtandem 1" OFFSET 0) AS "pgtandem"

--# A function that is not known could return a set, or be an aggregate: the guard's.
INSERT INTO orders (email, note) VALUES ('a', f(1))
--> rewritten
INSERT INTO orders ("email", "note", "id", "id_new", "email_new") SELECT 'a', "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1", f(1) AS "pgtandem 2", "pgtandem alone"."column1" FROM (VALUES (1)) AS "pgtandem alone" OFFSET 0) AS "pgtandem"

--# It may be beside leads that need no single evaluation.
INSERT INTO orders (id, email, note) VALUES (1, 'a', f(1))
--> rewritten
INSERT INTO orders (id, email, note, "id_new", "email_new") VALUES (1, 'a', f(1), '1', lower((('a')::character varying(5))))

--# A star to be spelled out within the values stays where it is.
INSERT INTO orders (email, note) VALUES ('a', (SELECT s.note FROM (SELECT * FROM orders) s))
--> rewritten
INSERT INTO orders ("email", "note", "id", "id_new", "email_new") SELECT 'a', "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1", (SELECT s.note FROM (SELECT "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n" FROM orders) s) AS "pgtandem 2" OFFSET 0) AS "pgtandem"

--# The alias and the rest of the statement stay.
INSERT INTO orders AS o (email /* ) */) VALUES ('a') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING o.id
--> rewritten
INSERT INTO orders AS o ("email", "id", "id_new", "email_new") SELECT 'a', "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1" OFFSET 0) AS "pgtandem" ON CONFLICT (id) DO UPDATE SET email = excluded.email, "email_new" = lower(((excluded.email)::character varying(5))) RETURNING o.id
