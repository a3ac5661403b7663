-- table: public.orders, guard: repair
-- column: tags text[]
-- column: codes character varying(3)[]
-- column: some text[], hidden
-- column: words text[], hidden
-- pair: some = pg_catalog.array_remove(@tags, 'x')
-- pair: words = @codes

--# Of one type, and yet computed.
INSERT INTO orders (tags[1], codes) VALUES ('a', NULL)
--> guarded indirection

--# Not computed, but of another type: a part might not fit the one and fit the other.
INSERT INTO orders (codes[1], tags) VALUES ('a', NULL)
--> guarded indirection
