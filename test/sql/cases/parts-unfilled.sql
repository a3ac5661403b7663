-- table: public.orders, guard: none
-- column: id integer
-- column: tags character varying(3)[]
-- column: data jsonb
-- column: spot public.place
-- column: codes character varying(3)[], hidden
-- column: facts jsonb, hidden
-- column: locus public.place, hidden
-- pair: codes = @tags, back: tags = @codes, every update
-- pair: facts = @data, back: data = @facts, every update

--# An element: the array is put together again, with the bounds that it has.
UPDATE orders SET tags[2] = 'a' WHERE id = 1
--> rewritten
UPDATE orders SET tags[2] = 'a', "codes" = (((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ("public"."orders"."tags") AS a, ((2)::integer) AS i, (('a')::character varying(3)) AS v) AS q) AS p WHERE p.i IS NOT NULL))::character varying(3)[]), "facts" = ("public"."orders"."data") WHERE id = 1

--# Two, one in the other.
UPDATE orders AS o SET tags[$1] = $2, tags[id + 1] = o.tags[1]
--> rewritten
UPDATE orders AS o SET tags[$1] = $2, tags[id + 1] = o.tags[1], "codes" = (((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ("o"."tags") AS a, (($1)::integer) AS i, (($2)::character varying(3)) AS v) AS q) AS p WHERE p.i IS NOT NULL)) AS a, ((id + 1)::integer) AS i, ((o.tags[1])::character varying(3)) AS v) AS q) AS p WHERE p.i IS NOT NULL))::character varying(3)[]), "facts" = ("o"."data")

--# By the other name.
UPDATE orders SET codes[1] = 'a'
--> rewritten
UPDATE orders SET codes[1] = 'a', "tags" = (((SELECT pg_catalog.array_cat(pg_catalog.array_fill(CASE WHEN p.l OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[p.l] END, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT CASE WHEN s.n::integer OPERATOR(pg_catalog.=) p.i THEN p.v ELSE p.a[s.n::integer] END FROM pg_catalog.generate_series(p.l::bigint OPERATOR(pg_catalog.+) 1, p.h) AS s (n))) FROM (SELECT q.a, q.i, q.v, LEAST(pg_catalog.array_lower(q.a, 1), q.i) AS l, CASE WHEN (GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint OPERATOR(pg_catalog.-) LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint) OPERATOR(pg_catalog.<) 134217728 THEN GREATEST(pg_catalog.array_upper(q.a, 1), q.i)::bigint ELSE LEAST(pg_catalog.array_lower(q.a, 1), q.i)::bigint END AS h FROM (SELECT ("public"."orders"."codes") AS a, ((1)::integer) AS i, (('a')::character varying(3)) AS v) AS q) AS p WHERE p.i IS NOT NULL))::character varying(3)[]), "facts" = ("public"."orders"."data")

--# A key of jsonb.
UPDATE orders SET data['a'] = '1'
--> rewritten
UPDATE orders SET data['a'] = '1', "codes" = ("public"."orders"."tags"), "facts" = (((SELECT (SELECT COALESCE(q0.b, '{}') OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('a'::text, q0.n) FROM (SELECT b0.b, p.v AS n FROM (SELECT p.b AS b) AS b0) AS q0) FROM (SELECT ("public"."orders"."data") AS b, COALESCE((('1')::jsonb), 'null') AS v) AS p))::jsonb)

--# A path with numbers in it.
UPDATE orders SET data['a'][2]['it''s'] = $1
--> rewritten
UPDATE orders SET data['a'][2]['it''s'] = $1, "codes" = ("public"."orders"."tags"), "facts" = (((SELECT (SELECT COALESCE(q0.b, '{}') OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('a'::text, q0.n) FROM (SELECT b0.b, (SELECT CASE WHEN pg_catalog.jsonb_typeof(q1.b) OPERATOR(pg_catalog.=) 'object' THEN q1.b OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('2'::text, q1.n) WHEN q1.b IS NULL OR pg_catalog.jsonb_typeof(q1.b) OPERATOR(pg_catalog.=) 'array' THEN pg_catalog.jsonb_set(COALESCE(q1.b, '[]') OPERATOR(pg_catalog.||) pg_catalog.to_jsonb(pg_catalog.array_fill(NULL::integer, ARRAY[GREATEST(2 OPERATOR(pg_catalog.-) COALESCE(pg_catalog.jsonb_array_length(q1.b), 0), 0)])), ARRAY['2'::text], q1.n, true) ELSE q1.b END FROM (SELECT b1.b, (SELECT COALESCE(q2.b, '{}') OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('it''s'::text, q2.n) FROM (SELECT b2.b, p.v AS n FROM (SELECT COALESCE(b1.b OPERATOR(pg_catalog.->) '2'::text, b1.b OPERATOR(pg_catalog.->) 2) AS b) AS b2) AS q2) AS n FROM (SELECT b0.b OPERATOR(pg_catalog.->) 'a'::text AS b) AS b1) AS q1) AS n FROM (SELECT p.b AS b) AS b0) AS q0) FROM (SELECT ("public"."orders"."data") AS b, COALESCE((($1)::jsonb), 'null') AS v) AS p))::jsonb)

--# INSERT begins with NULL.
INSERT INTO orders (id, data['a']) VALUES (1, '2')
--> rewritten
INSERT INTO orders (id, data['a'], "facts"['a'], "codes") VALUES (1, '2', '2', ((NULL)::character varying(3)[]))

--# A slice may be of an array of several dimensions: only a guard could put that right.
UPDATE orders SET tags[1:2] = '{a,b}'
--> refused indirection
this statement cannot be rewritten for table "public.orders", which is under migration (indirection)

--# A key that looks like a number is one of an array.
UPDATE orders SET data['1'] = '2'
--> refused indirection
this statement cannot be rewritten for table "public.orders", which is under migration (indirection)

--# Too far to be filled up.
UPDATE orders SET data[200000] = '2'
--> refused indirection
this statement cannot be rewritten for table "public.orders", which is under migration (indirection)

--# A key of which neither type nor value is known.
UPDATE orders SET data[id] = '2'
--> refused indirection
this statement cannot be rewritten for table "public.orders", which is under migration (indirection)

--# A constant of another type, for the server to refuse.
UPDATE orders SET data['a'] = 1
--> refused type
this statement cannot be rewritten for table "public.orders", which is under migration (type)

--# A function that is not known.
UPDATE orders SET tags[1] = f()
--> refused indirection
this statement cannot be rewritten for table "public.orders", which is under migration (indirection)
