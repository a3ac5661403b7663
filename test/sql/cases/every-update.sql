-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer, every update
-- pair: email_new = lower(@email), every update

--# While rows may not be filled, an UPDATE of another column fills the row.
UPDATE orders SET note = 'n' WHERE id = 1
--> rewritten
UPDATE orders SET note = 'n', "id_new" = (("public"."orders"."id"))::bigint, "email_new" = lower(("public"."orders"."email")) WHERE id = 1

--# By the alias.
UPDATE orders o SET note = 'n' FROM x WHERE o.id = x.id
--> rewritten
UPDATE orders o SET note = 'n', "id_new" = (("o"."id"))::bigint, "email_new" = lower(("o"."email")) FROM x WHERE o.id = x.id

--# ON CONFLICT too.
INSERT INTO orders (id, email) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET note = 'n'
--> rewritten
INSERT INTO orders (id, email, "id_new", "email_new") VALUES (1, 'a', '1', lower((('a')::character varying(5)))) ON CONFLICT (id) DO UPDATE SET note = 'n', "id_new" = (("public"."orders"."id"))::bigint, "email_new" = lower(("public"."orders"."email"))

--# A lead that is assigned is not what the row held.
UPDATE orders SET id = 5
--> rewritten
UPDATE orders SET id = 5, "id_new" = (((5)::integer))::bigint, "email_new" = lower(("public"."orders"."email"))
