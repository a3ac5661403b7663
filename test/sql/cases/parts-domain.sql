-- table: public.orders, guard: repair
-- column: id public.number, under integer
-- column: list public.list, under integer[]
-- column: marks public.mark[], under integer[]
-- column: many public.many, under public.mark[]
-- column: list_text text, hidden
-- column: marks_new public.mark[], hidden
-- pair: list_text = (@list)::text, every update
-- pair: marks_new = @marks, back: marks = @marks_new, every update

--# An element of a domain over an array.
UPDATE orders SET list[2] = 5
--> rewritten
UPDATE orders SET list[2] = 5, "list_text" = ((((SELECT CASE WHEN pg_catalog.array_ndims(p.a) OPERATOR(pg_catalog.>) 1 THEN p.a ELSE pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) END FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ("public"."orders"."list") AS a, ((2)::integer) AS i, ((5)::integer) AS v) AS q) AS p))::public.list))::text, "marks_new" = ("public"."orders"."marks")

--# An element that is of a domain.
UPDATE orders SET marks[1] = 5
--> rewritten
UPDATE orders SET marks[1] = 5, "list_text" = (("public"."orders"."list"))::text, "marks_new" = (((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ("public"."orders"."marks") AS a, ((1)::integer) AS i, ((5)::public.mark) AS v) AS q) AS p WHERE p.i IS NOT NULL))::public.mark[])

--# INSERT begins with NULL, of the type under the domain.
INSERT INTO orders (list[2]) VALUES (5)
--> rewritten
INSERT INTO orders (list[2], "list_text", "marks_new") VALUES (5, ((((SELECT CASE WHEN pg_catalog.array_ndims(p.a) OPERATOR(pg_catalog.>) 1 THEN p.a ELSE pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) END FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ((NULL)::integer[]) AS a, ((2)::integer) AS i, ((5)::integer) AS v) AS q) AS p))::public.list))::text, ((NULL)::public.mark[]))

--# Where it goes is to be known before a check of the domain can fail.
UPDATE orders SET list[id] = 5
--> guarded indirection

--# A slice.
UPDATE orders SET list[1:2] = '{1,2}'
--> guarded indirection

--# An array of a domain's has no text that the proxy knows.
COPY orders (list, marks) FROM STDIN
--> guarded copy-expression
