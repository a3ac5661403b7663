-- table: public.orders, guard: repair
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: email_new text, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: email_new = lower(@email)

--# The follow column is assigned what it is made from.
UPDATE orders SET email = 'Ab' WHERE id = 1
--> rewritten
UPDATE orders SET email = 'Ab', "email_new" = lower((('Ab')::character varying(5))) WHERE id = 1

--# An alias, FROM, and IS DISTINCT FROM, which does not end the list.
UPDATE ONLY orders AS o SET email = x.b, id = CASE WHEN x.a IS DISTINCT FROM 3 THEN 1 ELSE o.id + 1 END FROM x WHERE o.id = x.id RETURNING o.*, x.b
--> rewritten
UPDATE ONLY orders AS o SET email = x.b, id = CASE WHEN x.a IS DISTINCT FROM 3 THEN 1 ELSE o.id + 1 END, "id_new" = (((CASE WHEN x.a IS DISTINCT FROM 3 THEN 1 ELSE o.id + 1 END)::integer))::bigint, "email_new" = lower(((x.b)::character varying(5))) FROM x WHERE o.id = x.id RETURNING "o"."id", "o"."email", "o"."note", "o"."n", x.b

--# Both sides given are left alone; so is a statement that gives neither.
UPDATE orders SET id = 1, id_new = 2, note = 'n'
--> unchanged

--# Only the follow column given: the lead is derived.
UPDATE orders SET id_new = id_new + 1 WHERE id = $1
--> rewritten
UPDATE orders SET id_new = id_new + 1, "id" = (((id_new + 1)::bigint))::integer WHERE id = $1

--# A row of values.
UPDATE orders SET (note, email) = ($1, $2), n = 1
--> rewritten
UPDATE orders SET (note, email) = ($1, $2), n = 1, "email_new" = lower((($2)::character varying(5)))

--# A row of values by ROW, with DEFAULT.
UPDATE orders SET (email, n) = ROW (DEFAULT, 1)
--> rewritten
UPDATE orders SET (email, n) = ROW (DEFAULT, 1), "email_new" = lower((('X'::character varying)::character varying(5)))

--# A subselect for several columns is the guard's.
UPDATE orders SET (note, email) = (SELECT a, b FROM x)
--> rewritten
UPDATE orders SET (note, email, "email_new") = (WITH "pgtandem 0 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED (SELECT a, b FROM x) SELECT "pgtandem 0 of"."pgtandem 1", "pgtandem 0 of"."pgtandem 2", lower((("pgtandem 0 of"."pgtandem 2")::character varying(5))) FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 0 of" ON true)

--# A subselect for columns that are no leads is not.
UPDATE orders SET (note, n) = (SELECT a, b FROM x), email = 'a'
--> rewritten
UPDATE orders SET (note, n) = (SELECT a, b FROM x), email = 'a', "email_new" = lower((('a')::character varying(5)))

--# A value that may be evaluated only once is the guard's.
UPDATE orders SET email = f(email)
--> rewritten
UPDATE orders SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f(email)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("email" IS NULL) IS NOT NULL)

--# The same, and the stars are spelled out all the same.
UPDATE orders SET id = nextval('s') RETURNING *
--> rewritten
UPDATE orders SET ("id", "id_new") = (SELECT "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint FROM (VALUES (nextval('s')) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL) RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n"

--# DEFAULT.
UPDATE orders SET email = DEFAULT
--> rewritten
UPDATE orders SET email = DEFAULT, "email_new" = lower((('X'::character varying)::character varying(5)))

--# A volatile default is the guard's.
UPDATE orders SET id = DEFAULT
--> rewritten
UPDATE orders SET ("id", "id_new") = (SELECT "pgtandem"."pgtandem 1", ((("pgtandem"."pgtandem 1")::integer))::bigint FROM (VALUES (nextval('public.orders_id_seq'::regclass)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."orders"."id" IS NULL) IS NOT NULL)

--# Part of a column is the guard's.
UPDATE orders SET email[1] = 'a'
--> guarded indirection

--# WHERE CURRENT OF.
UPDATE orders SET email = 'a' WHERE CURRENT OF c
--> rewritten
UPDATE orders SET email = 'a', "email_new" = lower((('a')::character varying(5))) WHERE CURRENT OF c

--# In WITH, up to the parenthesis.
WITH x AS (UPDATE orders SET email = 'a') SELECT 1
--> rewritten
WITH x AS (UPDATE orders SET email = 'a', "email_new" = lower((('a')::character varying(5)))) SELECT 1

--# A quoted name in other letters is another table.
UPDATE "Orders" SET email = 'a'
--> untouched

--# A name in Unicode escapes is the table.
UPDATE U&"ord\0065rs" SET U&"em!0061il" UESCAPE '!' = 'a' RETURNING note
--> rewritten
UPDATE U&"ord\0065rs" SET U&"em!0061il" UESCAPE '!' = 'a', "email_new" = lower((('a')::character varying(5))) RETURNING note

--# DELETE writes nothing; its stars are spelled out.
DELETE FROM orders o USING x WHERE o.id = x.id RETURNING o.*
--> rewritten
DELETE FROM orders o USING x WHERE o.id = x.id RETURNING "o"."id", "o"."email", "o"."note", "o"."n"

--# RETURNING * of a DELETE with USING.
DELETE FROM orders USING x WHERE orders.id = x.id RETURNING *
--> rewritten
DELETE FROM orders USING x WHERE orders.id = x.id RETURNING "public"."orders"."id", "public"."orders"."email", "public"."orders"."note", "public"."orders"."n", "x".*

--# MERGE is the guard's.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = 'a' WHEN NOT MATCHED THEN INSERT VALUES (1)
--> rewritten
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = 'a', "email_new" = lower((('a')::character varying(5))) WHEN NOT MATCHED THEN INSERT ("id", "id_new", "email_new") VALUES (1, (((1)::integer))::bigint, lower((('X'::character varying)::character varying(5))))

--# MERGE from the table writes something else.
MERGE INTO x USING orders o ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = o.email
--> unchanged
