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

--# Every action that writes is given the other columns; those of WHEN and CASE are told apart.
MERGE INTO orders AS o USING x ON o.id = x.id WHEN MATCHED AND CASE WHEN x.a THEN true END THEN UPDATE SET email = CASE WHEN x.b THEN 'a' ELSE 'b' END, note = 'n' WHEN NOT MATCHED AND x.a THEN INSERT (id, email) VALUES (x.id, 'c') WHEN NOT MATCHED THEN DO NOTHING
--> rewritten
MERGE INTO orders AS o USING x ON o.id = x.id WHEN MATCHED AND CASE WHEN x.a THEN true END THEN UPDATE SET email = CASE WHEN x.b THEN 'a' ELSE 'b' END, note = 'n', "email_new" = lower(((CASE WHEN x.b THEN 'a' ELSE 'b' END)::character varying(5))) WHEN NOT MATCHED AND x.a THEN INSERT (id, email, "id_new", "email_new") VALUES (x.id, 'c', (((x.id)::integer))::bigint, lower((('c')::character varying(5)))) WHEN NOT MATCHED THEN DO NOTHING

--# By source, and DELETE.
MERGE INTO orders USING x ON orders.id = x.id WHEN NOT MATCHED BY SOURCE AND orders.n > 1 THEN UPDATE SET email = 'a' WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN MATCHED THEN DELETE
--> rewritten
MERGE INTO orders USING x ON orders.id = x.id WHEN NOT MATCHED BY SOURCE AND orders.n > 1 THEN UPDATE SET email = 'a', "email_new" = lower((('a')::character varying(5))) WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN MATCHED THEN DELETE

--# Without a column list the visible columns are listed, as many as there are values.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT VALUES (x.id, x.email, DEFAULT)
--> rewritten
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT ("id", "email", "note", "id_new", "email_new") VALUES (x.id, x.email, DEFAULT, (((x.id)::integer))::bigint, lower(((x.email)::character varying(5))))

--# DEFAULT VALUES becomes a list of what is added; a volatile default is the guard's, since an action has no place for what is evaluated once.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT DEFAULT VALUES
--> guarded volatile

--# So is a volatile value of an INSERT, and the other actions are rewritten all the same.
MERGE INTO orders o USING x ON o.id = x.id WHEN NOT MATCHED THEN INSERT (id, email) VALUES (f(x.id), 'a') WHEN MATCHED THEN UPDATE SET email = 'b'
--> guarded volatile
MERGE INTO orders o USING x ON o.id = x.id WHEN NOT MATCHED THEN INSERT (id, email) VALUES (f(x.id), 'a') WHEN MATCHED THEN UPDATE SET email = 'b', "email_new" = lower((('b')::character varying(5)))

--# In an UPDATE it is evaluated once.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = f(x.a), note = 'n'
--> rewritten
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f(x.a)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("o"."email" IS NULL) IS NOT NULL), note = 'n'

--# The same of several columns.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET (email, n) = (SELECT a, b FROM y)
--> rewritten
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET (email, n, "email_new") = (WITH "pgtandem 0 of" ("pgtandem 1", "pgtandem 2") AS MATERIALIZED (SELECT a, b FROM y) SELECT "pgtandem 0 of"."pgtandem 1", "pgtandem 0 of"."pgtandem 2", lower((("pgtandem 0 of"."pgtandem 1")::character varying(5))) FROM (VALUES (1)) AS "pgtandem one" LEFT JOIN "pgtandem 0 of" ON true)

--# Of two actions that set columns from subselects the server takes one for the other, and crashes: the guard's.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = f(x.a), note = 'n' WHEN MATCHED THEN UPDATE SET (email, n) = (SELECT a, b FROM y)
--> guarded volatile

--# RETURNING: a bare star is the source's columns, then the table's.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN DELETE RETURNING merge_action(), *, o.*
--> rewritten
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN DELETE RETURNING merge_action(), "x".*, "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags", "o"."id", "o"."email", "o"."note", "o"."n", "o"."tags"

--# In WITH, up to the parenthesis.
WITH m AS (MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = 'a' RETURNING o.id) SELECT * FROM m
--> rewritten
WITH m AS (MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = 'a', "email_new" = lower((('a')::character varying(5))) RETURNING o.id) SELECT * FROM m

--# OVERRIDING stays.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email) OVERRIDING SYSTEM VALUE VALUES (1, 'a')
--> rewritten
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email, "id_new", "email_new") OVERRIDING SYSTEM VALUE VALUES (1, 'a', (((1)::integer))::bigint, lower((('a')::character varying(5))))

--# Part of a lead is the guard's; of another column it is not.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email[1]) VALUES (1, 'a') WHEN MATCHED THEN UPDATE SET tags[1] = 'a', email = 'b'
--> guarded indirection
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email[1]) VALUES (1, 'a') WHEN MATCHED THEN UPDATE SET tags[1] = 'a', email = 'b', "email_new" = lower((('b')::character varying(5)))

--# A row that does not fit the list is the server's error to tell.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id, email) VALUES (1)
--> unchanged

--# Only the follow column given: the lead is derived.
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id_new, email) VALUES (x.a, 'a') WHEN MATCHED THEN UPDATE SET id_new = x.a
--> rewritten
MERGE INTO orders USING x ON true WHEN NOT MATCHED THEN INSERT (id_new, email, "id", "email_new") VALUES (x.a, 'a', (((x.a)::bigint))::integer, lower((('a')::character varying(5)))) WHEN MATCHED THEN UPDATE SET id_new = x.a, "id" = (((x.a)::bigint))::integer
