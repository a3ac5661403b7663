-- table: public.users, guard: repair
-- column: id integer, not null
-- column: name text
-- column: first text, hidden
-- column: last text, hidden
-- pair: first = split_part(@name, ' '::text, 1), back: name = ((@first || ' '::text) || @last), every update
-- pair: last = split_part(@name, ' '::text, 2), back: name = ((@first || ' '::text) || @last), every update

--# One lead, two follow columns.
INSERT INTO users (id, name) VALUES (1, 'Ada Lovelace')
--> rewritten
INSERT INTO users (id, name, "first", "last") VALUES (1, 'Ada Lovelace', split_part((('Ada Lovelace')::text), ' '::text, 1), split_part((('Ada Lovelace')::text), ' '::text, 2))

--# The new application gives both.
INSERT INTO users (id, first, last) VALUES (1, 'Ada', $1)
--> rewritten
INSERT INTO users (id, first, last, "name") VALUES (1, 'Ada', $1, (((('Ada')::text) || ' '::text) || (($1)::text)))

--# Or one of them.
UPDATE users SET first = 'Ada' WHERE id = 1
--> rewritten
UPDATE users SET first = 'Ada', "name" = (((('Ada')::text) || ' '::text) || ("public"."users"."last")), "last" = split_part((((((('Ada')::text) || ' '::text) || ("public"."users"."last")))::text), ' '::text, 2) WHERE id = 1

--# Neither, while rows are not filled.
UPDATE users SET id = 2
--> rewritten
UPDATE users SET id = 2, "first" = split_part(("public"."users"."name"), ' '::text, 1), "last" = split_part(("public"."users"."name"), ' '::text, 2)

--# DEFAULT VALUES.
INSERT INTO users DEFAULT VALUES
--> rewritten
INSERT INTO users ("first", "last") VALUES (split_part(((NULL)::text), ' '::text, 1), split_part(((NULL)::text), ' '::text, 2))

--# What is made from two subselects is the guard's.
UPDATE users SET (first, id) = (SELECT a, 1 FROM x), (last) = (SELECT b FROM y)
--> guarded subselect

--# So is what is made from a function and a subselect.
UPDATE users SET first = f(), (last, id) = (SELECT b, 2 FROM y)
--> guarded subselect

--# DEFAULT VALUES of MERGE.
MERGE INTO users USING x ON true WHEN NOT MATCHED THEN INSERT DEFAULT VALUES
--> rewritten
MERGE INTO users USING x ON true WHEN NOT MATCHED THEN INSERT ("first", "last") VALUES (split_part(((NULL)::text), ' '::text, 1), split_part(((NULL)::text), ' '::text, 2))
