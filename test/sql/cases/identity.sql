-- table: public.things, guard: repair
-- column: id integer, not null, identity by default
-- column: "Größe" integer
-- column: area integer, generated
-- column: id_new bigint, hidden
-- column: size_new bigint, hidden
-- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer
-- pair: size_new = (@Größe)::bigint

--# An identity column that is left out is the guard's.
INSERT INTO things ("Größe") VALUES (1)
--> guarded identity

--# Given, it is a column like any other.
INSERT INTO things (id, "Größe") VALUES (1, 2)
--> rewritten
INSERT INTO things (id, "Größe", "id_new", "size_new") VALUES (1, 2, '1', '2')

--# Names outside ASCII.
UPDATE things SET "Größe" = 'ä'::text::integer RETURNING *
--> rewritten
UPDATE things SET "Größe" = 'ä'::text::integer, "size_new" = ((('ä'::text::integer)::integer))::bigint RETURNING "public"."things"."id", "public"."things"."Größe", "public"."things"."area"

--# COPY leaves generated columns out.
COPY things TO STDOUT
--> rewritten
COPY things ("id", "Größe") TO STDOUT

--# OVERRIDING USER VALUE: what is given for an identity column is not what it holds.
INSERT INTO things (id, "Größe") OVERRIDING USER VALUE VALUES (1, 2)
--> guarded overriding

--# It concerns no other column.
INSERT INTO things ("Größe", id_new) OVERRIDING USER VALUE VALUES (1, 2)
--> rewritten
INSERT INTO things ("Größe", id_new, "id", "size_new") OVERRIDING USER VALUE VALUES (1, 2, (((2)::bigint))::integer, (((1)::integer))::bigint)
