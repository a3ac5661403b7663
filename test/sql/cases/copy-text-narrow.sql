-- table: public.orders, guard: repair
-- column: id integer
-- column: n numeric(6,2)
-- column: id_text character varying(10), hidden
-- pair: id_text = (@id)::character varying

--# A text of fewer characters than the longest integer.
COPY orders FROM STDIN
--> guarded copy-expression
COPY orders ("id", "n") FROM STDIN
