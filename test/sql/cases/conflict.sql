-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# EXCLUDED is an expression like any other.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET email = excluded.email
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET email = excluded.email, "email_new" = lower(((excluded.email)::character varying(5)))

--# The row that is there, by the alias; WHERE and RETURNING follow the SET list.
INSERT INTO orders AS o (id, email) VALUES (1, 'a') ON CONFLICT ON CONSTRAINT orders_pkey DO UPDATE SET email = o.email || excluded.email, note = 'n' WHERE o.n IS DISTINCT FROM 1 RETURNING o.id
--> rewritten
INSERT INTO orders AS o (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT ON CONSTRAINT orders_pkey DO UPDATE SET email = o.email || excluded.email, note = 'n', "email_new" = lower(((o.email || excluded.email)::character varying(5))) WHERE o.n IS DISTINCT FROM 1 RETURNING o.id

--# The insert can be the guard's and the update not.
INSERT INTO orders (email, note) VALUES ('a', f()) ON CONFLICT (id) DO UPDATE SET (email, note) = ROW (excluded.email, 'x')
--> rewritten
INSERT INTO orders ("email", "note", "id", "id_new", "email_new") SELECT 'a', "pgtandem"."pgtandem 2", "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint, lower((('a')::character varying(5))) FROM (SELECT nextval('public.orders_id_seq'::regclass) AS "pgtandem 1", f() AS "pgtandem 2", "pgtandem alone"."column1" FROM (VALUES (1)) AS "pgtandem alone" OFFSET 0) AS "pgtandem" ON CONFLICT (id) DO UPDATE SET (email, note) = ROW (excluded.email, 'x'), "email_new" = lower(((excluded.email)::character varying(5)))

--# DO NOTHING.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT DO NOTHING
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT DO NOTHING

--# The lead set to its default.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET email = DEFAULT
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET email = DEFAULT, "email_new" = lower((('X'::character varying)::character varying(5)))
