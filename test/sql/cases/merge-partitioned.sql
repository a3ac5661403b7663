-- table: public.orders, guard: repair
-- column: id integer, not null
-- column: email character varying(5)
-- column: n integer
-- column: email_new text, hidden
-- pair: email_new = lower(@email)
-- partition: orders_1

--# A row may be inserted into a partition that was not read: then the server has no place for a subselect in SET (XX000), though it is not taken. The guard's.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = f(x.a) WHEN NOT MATCHED THEN INSERT (id, email) VALUES (x.id, 'a')
--> guarded volatile
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = f(x.a) WHEN NOT MATCHED THEN INSERT (id, email, "email_new") VALUES (x.id, 'a', lower((('a')::character varying(5))))

--# Without one it is rewritten.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = 'b' WHEN NOT MATCHED THEN INSERT (id, email) VALUES (x.id, 'a')
--> rewritten
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = 'b', "email_new" = lower((('b')::character varying(5))) WHEN NOT MATCHED THEN INSERT (id, email, "email_new") VALUES (x.id, 'a', lower((('a')::character varying(5))))

--# So is one that inserts nothing.
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET email = f(x.a) WHEN NOT MATCHED THEN DO NOTHING
--> rewritten
MERGE INTO orders o USING x ON o.id = x.id WHEN MATCHED THEN UPDATE SET ("email", "email_new") = (SELECT "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::character varying(5))) FROM (VALUES (f(x.a)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("o"."email" IS NULL) IS NOT NULL) WHEN NOT MATCHED THEN DO NOTHING
