-- table: public.orders, guard: repair
-- column: n numeric(6,2)
-- column: n_text text, hidden
-- pair: n_text = (@n)::text

--# A numeric that is not certain to be printed right is NULL, which the guard repairs.
COPY orders FROM STDIN
--> rewritten
COPY orders ("n", "n_text") FROM STDIN

--# Of a numeric in binary the proxy knows nothing.
COPY orders FROM STDIN (FORMAT binary)
--> guarded copy-expression
COPY orders ("n") FROM STDIN (FORMAT binary)
