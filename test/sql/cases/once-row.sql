-- table: public.things, guard: repair
-- column: id integer, not null, identity by default
-- column: spot public.spot
-- column: note text
-- column: note_new text, hidden
-- pair: note_new = lower(@note)

--# A row takes the type of its column in VALUES alone; a function that may give several values cannot be taken out of it.
INSERT INTO things (id, spot, note) OVERRIDING USER VALUE VALUES (1, (2, 'q'), f())
--> guarded volatile

--# With its type it can.
INSERT INTO things (id, spot, note) OVERRIDING USER VALUE VALUES (1, (2, 'q')::public.spot, f())
--> rewritten
INSERT INTO things ("id", "spot", "note", "note_new") OVERRIDING USER VALUE SELECT 1, (2, 'q')::public.spot, "pgtandem"."pgtandem 1", lower((("pgtandem"."pgtandem 1")::text)) FROM (SELECT f() AS "pgtandem 1", "pgtandem alone"."column1" FROM (VALUES (1)) AS "pgtandem alone" OFFSET 0) AS "pgtandem"

--# Beside what gives one value it stays in VALUES.
INSERT INTO things (id, spot, note) OVERRIDING USER VALUE VALUES (1, (2, 'q'), random()::text)
--> rewritten
WITH "pgtandem 1" AS MATERIALIZED (VALUES (random()::text)) INSERT INTO things (id, spot, note, "note_new") OVERRIDING USER VALUE VALUES (1, (2, 'q'), (SELECT column1 FROM "pgtandem 1"), lower((((SELECT column1 FROM "pgtandem 1"))::text)))
