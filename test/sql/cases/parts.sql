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

--# Part of what is made by a cast: nobody knows of which type that is.
INSERT INTO orders (id, n[1]) VALUES (1, 2)
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
