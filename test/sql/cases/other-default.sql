-- table: public.people, guard: none
-- column: id integer
-- column: name text, default: 'nobody'::text
-- column: full_name text, hidden
-- column: n integer, volatile, default: nextval('public.s'::regclass)
-- column: number integer, hidden
-- pair: full_name = @name, back: name = @full_name
-- pair: number = @n, back: n = @number

--# DEFAULT under the new name of a rename is the default of the column.
INSERT INTO people (id, full_name, n) VALUES (1, DEFAULT, 2)
--> rewritten
INSERT INTO people (id, full_name, n, "name", "number") VALUES (1, (('nobody'::text)::text), 2, (((('nobody'::text)::text))::text), ((2)::integer))

--# In one row of several.
INSERT INTO people (full_name, n) VALUES ('x', 1), (DEFAULT, 2)
--> rewritten
INSERT INTO people (full_name, n, "name", "number") VALUES ('x', 1, (('x')::text), ((1)::integer)), ((('nobody'::text)::text), 2, (((('nobody'::text)::text))::text), ((2)::integer))

--# A default that is drawn is drawn once.
INSERT INTO people (number, name) VALUES (DEFAULT, 'x')
--> rewritten
INSERT INTO people ("number", "name", "n", "full_name") SELECT "pgtandem"."pgtandem 1", 'x', (("pgtandem"."pgtandem 1")::integer), (('x')::text) FROM (SELECT ((nextval('public.s'::regclass))::integer) AS "pgtandem 1" OFFSET 0) AS "pgtandem"

--# In some rows.
INSERT INTO people (number, name) VALUES (DEFAULT, 'x'), (7, 'y')
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (((nextval('public.s'::regclass))::integer))) INSERT INTO people (number, name, "n", "full_name") VALUES ((SELECT column1 FROM "pgtandem 1"), 'x', (((SELECT column1 FROM "pgtandem 1"))::integer), (('x')::text)), (7, 'y', ((7)::integer), (('y')::text))

--# Both are given: nothing is implied.
INSERT INTO people (name, full_name, n) VALUES ('a', DEFAULT, 1)
--> rewritten
INSERT INTO people (name, full_name, n, "number") VALUES ('a', DEFAULT, 1, 1)

--# In SET.
UPDATE people SET full_name = DEFAULT WHERE id = 1
--> rewritten
UPDATE people SET full_name = (('nobody'::text)::text), "name" = (((('nobody'::text)::text))::text) WHERE id = 1

--# In a row of SET.
UPDATE people SET (id, full_name) = (2, DEFAULT)
--> rewritten
UPDATE people SET (id, full_name) = (2, (('nobody'::text)::text)), "name" = (((('nobody'::text)::text))::text)

--# Drawn once for each row.
UPDATE people SET number = DEFAULT
--> rewritten
UPDATE people SET ("number", "n") = (SELECT "pgtandem"."pgtandem 1", (("pgtandem"."pgtandem 1")::integer) FROM (VALUES (((nextval('public.s'::regclass))::integer)) OFFSET 0) AS "pgtandem" ("pgtandem 1") WHERE ("public"."people"."number" IS NULL) IS NOT NULL)

--# In ON CONFLICT.
INSERT INTO people (id, name, n) VALUES (1, 'a', 2) ON CONFLICT (id) DO UPDATE SET full_name = DEFAULT
--> rewritten
INSERT INTO people (id, name, n, "full_name", "number") VALUES (1, 'a', 2, 'a', 2) ON CONFLICT (id) DO UPDATE SET full_name = (('nobody'::text)::text), "name" = (((('nobody'::text)::text))::text)

--# In MERGE.
MERGE INTO people USING x ON true WHEN MATCHED THEN UPDATE SET full_name = DEFAULT
  WHEN NOT MATCHED THEN INSERT (id, full_name, n) VALUES (1, DEFAULT, 4)
--> rewritten
MERGE INTO people USING x ON true WHEN MATCHED THEN UPDATE SET full_name = (('nobody'::text)::text), "name" = (((('nobody'::text)::text))::text)
  WHEN NOT MATCHED THEN INSERT (id, full_name, n, "name", "number") VALUES (1, (('nobody'::text)::text), 4, (((('nobody'::text)::text))::text), ((4)::integer))
