-- table: public.orders, guard: repair
-- column: tags text[]
-- column: codes character varying(3)[]
-- column: some text[], hidden
-- column: words text[], hidden
-- pair: some = pg_catalog.array_remove(@tags, 'x')
-- pair: words = @codes

--# Of one type, and yet computed.
INSERT INTO orders (tags[1], codes) VALUES ('a', NULL)
--> rewritten
INSERT INTO orders (tags[1], codes, "some", "words") VALUES ('a', NULL, pg_catalog.array_remove((((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ((NULL)::text[]) AS a, ((1)::integer) AS i, (('a')::text) AS v) AS q) AS p WHERE p.i IS NOT NULL))::text[]), 'x'), ((NULL)::character varying(3)[]))

--# Not computed, but of another type: a part might not fit the one and fit the other.
INSERT INTO orders (codes[1], tags) VALUES ('a', NULL)
--> rewritten
INSERT INTO orders (codes[1], tags, "some", "words") VALUES ('a', NULL, pg_catalog.array_remove(((NULL)::text[]), 'x'), (((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ((NULL)::character varying(3)[]) AS a, ((1)::integer) AS i, (('a')::character varying(3)) AS v) AS q) AS p WHERE p.i IS NOT NULL))::character varying(3)[]))
