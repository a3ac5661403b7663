-- table: public.orders, guard: repair
-- column: id integer, not null
-- column: note text
-- column: id_new bigint, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- relation: "x" column o, 0
-- relation: "s"."x" column o, 1
-- relation: "x" column old, 0
-- relation: "x" column new, 1
-- relation: "x", 2

--# A name alone beside another table: it is a row if that has no column of the name.
SELECT o, x.* FROM orders o, x
--> rewritten
SELECT ROW("o"."id", "o"."note")::pg_catalog.record AS "o", x.* FROM orders o, x

--# It has one.
SELECT o FROM orders o JOIN s.x ON true
--> guarded whole-row

--# It is called so there.
SELECT o FROM orders o, x AS x (a, o)
--> guarded whole-row

--# It is a column of a row on the outside only when there is none within.
SELECT id FROM orders o WHERE EXISTS (SELECT FROM x WHERE o = ROW (x.a, x.b))
--> rewritten
SELECT id FROM orders o WHERE EXISTS (SELECT FROM x WHERE ROW("o"."id", "o"."note")::pg_catalog.record = ROW (x.a, x.b))

--# A WITH query of that name is another thing.
WITH x AS (SELECT 1) SELECT o FROM orders o, x
--> guarded whole-row

--# So is a query, or a function.
SELECT o FROM orders o, (SELECT * FROM x) q
--> guarded whole-row

--# What it was, beside a table that has no such column; what it is, beside one that has.
MERGE INTO orders t USING x ON t.id = x.a WHEN MATCHED THEN UPDATE SET note = 'n' RETURNING old
--> rewritten
MERGE INTO orders t USING x ON t.id = x.a WHEN MATCHED THEN UPDATE SET note = 'n' RETURNING (CASE WHEN "old".* IS DISTINCT FROM NULL THEN ROW("old"."id", "old"."note")::pg_catalog.record END) AS "old"

--# The same.
MERGE INTO orders t USING x ON t.id = x.a WHEN MATCHED THEN UPDATE SET note = 'n' RETURNING new
--> guarded whole-row

--# Beyond ASCII it is not asked what a relation is.
SELECT o FROM orders o, "é"
--> guarded whole-row
