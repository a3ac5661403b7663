-- table: public.orders, guard: repair
-- column: id integer
-- column: tags text[], default: '{x}'::text[]
-- column: spot public.place
-- column: n integer[]
-- column: labels text[], hidden
-- column: locus public.place, hidden
-- column: n_new bigint[], hidden
-- pair: labels = @tags, back: tags = @labels
-- pair: locus = @spot, back: spot = @locus
-- pair: n_new = (@n)::bigint[], back: n = (@n_new)::integer[]

--# What is the same under another name is given the same parts; the server begins with NULL.
INSERT INTO orders (id, tags[1], tags[3], spot.x, n) VALUES (1, 'a', $1, 2 + 3, '{}')
--> rewritten
INSERT INTO orders (id, tags[1], tags[3], spot.x, n, "labels"[1], "labels"[3], "locus".x, "n_new") VALUES (1, 'a', $1, 2 + 3, '{}', 'a', $1, 2 + 3, ((('{}')::integer[]))::bigint[])

--# Several rows; parts of parts; slices.
INSERT INTO orders (spot.at [1] .y, tags[2:$1], tags[:], n) VALUES (1, '{a}', NULL, '{}'), (2, '{b}', $2, '{1}')
--> rewritten
INSERT INTO orders (spot.at [1] .y, tags[2:$1], tags[:], n, "locus".at [1] .y, "labels"[2:$1], "labels"[:], "n_new") VALUES (1, '{a}', NULL, '{}', 1, '{a}', NULL, ((('{}')::integer[]))::bigint[]), (2, '{b}', $2, '{1}', 2, '{b}', $2, ((('{1}')::integer[]))::bigint[])

--# A query whose targets are known.
INSERT INTO orders (tags["id"], spot . "X y", n) SELECT 'a', q.b, q.c FROM q
--> rewritten
INSERT INTO orders (tags["id"], spot . "X y", n, "labels"["id"], "locus". "X y", "n_new") SELECT 'a', q.b, q.c, 'a', q.b, (((q.c)::integer[]))::bigint[] FROM q

--# By the new name.
INSERT INTO orders (id, labels[1], locus.x, n) VALUES (1, 'a', 2, NULL)
--> rewritten
INSERT INTO orders (id, labels[1], locus.x, n, "tags"[1], "spot".x, "n_new") VALUES (1, 'a', 2, NULL, 'a', 2, (((NULL)::integer[]))::bigint[])

--# Both given: they are left.
INSERT INTO orders (tags[1], labels[1], spot, n) VALUES ('a', 'b', NULL, NULL)
--> rewritten
INSERT INTO orders (tags[1], labels[1], spot, n, "locus", "n_new") VALUES ('a', 'b', NULL, NULL, ((NULL)::public.place), (((NULL)::integer[]))::bigint[])

--# Part of what is made by a cast: it is made from what the column will hold.
INSERT INTO orders (id, n[1]) VALUES (1, 2)
--> rewritten
INSERT INTO orders (id, n[1], "labels", "locus", "n_new") VALUES (1, 2, (('{x}'::text[])::text[]), ((NULL)::public.place), ((((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ((NULL)::integer[]) AS a, ((1)::integer) AS i, ((2)::integer) AS v) AS q) AS p WHERE p.i IS NOT NULL))::integer[]))::bigint[])

--# In an UPDATE, of rows that are the same under both names: the same parts.
UPDATE orders SET tags[1] = 'a', spot.x = 2, spot.at[$1] = $2, labels = labels
--> rewritten
UPDATE orders SET tags[1] = 'a', spot.x = 2, spot.at[$1] = $2, labels = labels, "locus".x = 2, "locus".at[$1] = $2

--# The same; a slice of an array may have more dimensions, and is made by the guard then.
UPDATE orders SET spot.x = 2 + 3, tags[2] = DEFAULT, n[1:2] = '{1,2}' WHERE id = 1
--> guarded indirection

--# Field, slice, element; several of one column.
UPDATE orders SET spot.x = 2 + 3, tags[1:2] = '{a,b}', tags[$1] = upper($2) WHERE id = 1
--> rewritten
UPDATE orders SET spot.x = 2 + 3, tags[1:2] = '{a,b}', tags[$1] = upper($2), "locus".x = 2 + 3, "labels"[1:2] = '{a,b}', "labels"[$1] = upper($2) WHERE id = 1

--# By the new name, and where a row conflicts.
INSERT INTO orders (id, tags, spot, n) VALUES (1, NULL, NULL, NULL) ON CONFLICT (id) DO UPDATE SET labels[1] = excluded.tags[1]
--> rewritten
INSERT INTO orders (id, tags, spot, n, "labels", "locus", "n_new") VALUES (1, NULL, NULL, NULL, NULL, NULL, (((NULL)::integer[]))::bigint[]) ON CONFLICT (id) DO UPDATE SET labels[1] = excluded.tags[1], "tags"[1] = excluded.tags[1]

--# Both given: they are left.
UPDATE orders SET tags[1] = 'a', labels[1] = 'b'
--> unchanged

--# Something that may be computed once only.
UPDATE orders SET tags[1] = f()
--> guarded indirection

--# The same of where it goes.
UPDATE orders SET tags[f()] = 'a'
--> guarded indirection

--# A part among several columns.
UPDATE orders SET (tags[1], id) = ('a', 1)
--> guarded indirection

--# A subscript of several dimensions, where the other column is made by a cast.
UPDATE orders SET n[1][2] = 3
--> guarded indirection

--# A part that may be computed once only, or where it goes.
INSERT INTO orders (tags[1], n) VALUES (f(), NULL)
--> guarded indirection

--# The same.
INSERT INTO orders (tags[f()], n) VALUES ('a', NULL)
--> guarded indirection

--# Another value of that kind moves all of them.
INSERT INTO orders (tags[1], n) VALUES ('a', f())
--> guarded indirection

--# A query to which no targets can be added.
INSERT INTO orders (tags[1], n) SELECT DISTINCT a, b FROM q
--> guarded indirection

--# A part has no default: the server says so.
INSERT INTO orders (labels[1], n) VALUES (DEFAULT, NULL)
--> unchanged

--# Given in whole and in part: the server's error to tell.
INSERT INTO orders (tags, tags[1], n) VALUES ('{}', 'a', NULL)
--> unchanged
